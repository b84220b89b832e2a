"""Binary cross-entropy over a sample of the classes, for data sets that annotate a few classes a picture (LVIS)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from visionscapes.errors import UserError


def sample_classes(labels: Tensor, weights: Tensor, count: int, generator: torch.Generator | None = None) -> Tensor:
    """Choose the classes that a batch's loss covers: those present, and others drawn without replacement.

    Zhou et al., "Joint COCO and LVIS workshop at ECCV 2020: LVIS challenge track technical report: CenterNet2".
    There as here ``count`` is the number of classes; in Detectron2's and X-Paste's code the background, where present,
    counts as one of them.

    Args:
        labels: (N,) int64 in [0, K]; K stands for background.
        weights: (K,) not negative: chances to be drawn are proportional to them. A class of weight 0 never is.
        count: number of classes to choose; more if more are present, fewer if too few have a weight.
        generator: source of randomness, on the device of ``weights``; torch's global one if None.

    Returns:
        (K,) bool.
    """
    present = torch.zeros(len(weights) + 1, dtype=torch.bool, device=weights.device)
    present[labels] = True
    chosen = present[:-1].clone()
    candidates = weights.float().masked_fill(chosen, 0)
    missing = min(count - int(chosen.sum()), int((candidates > 0).sum()))
    if missing > 0:
        chosen[torch.multinomial(candidates, missing, replacement=False, generator=generator)] = True
    return chosen


def federated_loss(logits: Tensor, labels: Tensor, classes: Tensor, label_weights: Tensor | None = None) -> Tensor:
    """Return the binary cross-entropy of the boxes, summed over ``classes``; (N,) float32.

    Args:
        logits: (N, K).
        labels: (N,) int64 in [0, K]; K stands for background, which is no class of its own: all targets are 0.
        classes: (K,) bool, the classes to sum over.
        label_weights: (N,), factors of the boxes; 1 if None.
    """
    target = F.one_hot(labels, logits.shape[1] + 1)[:, :-1].float()
    loss = F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none")
    loss = torch.where(classes, loss, 0).sum(1)
    return loss if label_weights is None else loss * label_weights


class FederatedLoss(nn.Module):
    """Classification loss of a box head of mmdet: sigmoid cross-entropy over sampled classes.

    Divided by the number of boxes and not by the number of classes, as in X-Paste's code.

    Args:
        num_sampled: classes a batch and head; None for all classes, which needs no frequencies.
        power: exponent that turns the number of a class's pictures into its weight; 0 makes all classes equal.
        frequencies: number of training pictures of every class. Usually given later, by ``set_frequencies``.
        loss_weight: factor.

    Raises:
        UserError: in ``forward``, if frequencies are needed and missing.
    """

    # What mmdet's BBoxHead asks a loss for.
    custom_cls_channels = True
    custom_activation = True

    frequencies: Tensor | None

    def __init__(
        self,
        num_sampled: int | None = 50,
        power: float = 0.5,
        frequencies: Sequence[float] | None = None,
        loss_weight: float = 1.0,
    ):
        super().__init__()
        self.num_sampled, self.power, self.loss_weight = num_sampled, power, loss_weight
        counts = None if frequencies is None else torch.as_tensor(frequencies, dtype=torch.float32)
        self.register_buffer("frequencies", counts, persistent=False)

    @override
    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Return the loss as a scalar; arguments as mmdet hands them over.

        Args:
            cls_score: (N, K) logits.
            label: (N,) int64 in [0, K], K for background.
            weight: (N,), factors of the boxes.
            avg_factor: what the sum over boxes is divided by; N if None.
            reduction_override: "none" for one loss a box.
        """
        loss = self.loss_weight * federated_loss(cls_score, label, self._classes(cls_score, label), weight)
        return loss if reduction_override == "none" else loss.sum() / (avg_factor or max(len(loss), 1))

    def get_cls_channels(self, num_classes: int) -> int:
        """Return the number of logits: background has none."""
        return num_classes

    def get_activation(self, cls_score: Tensor) -> Tensor:
        """Return probabilities (N, K + 1); the last column, mmdet's background, is 0."""
        return F.pad(cls_score.float().sigmoid(), (0, 1))

    def get_accuracy(self, cls_score: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the share of the objects' boxes whose class has the highest logit, as "acc_classes"; 0 if none."""
        objects = labels < cls_score.shape[1]
        hits = cls_score[objects].argmax(1) == labels[objects]
        return {"acc_classes": hits.sum() / max(len(hits), 1)}

    def _classes(self, cls_score: Tensor, labels: Tensor) -> Tensor:
        everything = cls_score.new_ones(cls_score.shape[1])
        if self.num_sampled is None:
            return everything.bool()
        if self.power == 0:
            return sample_classes(labels, everything, self.num_sampled)
        if self.frequencies is None:
            raise UserError(
                "the federated loss draws classes by how many pictures they have, which it was not told: call "
                "networks.detection.federated_loss.set_frequencies, or set loss_cls.power to 0 to draw all alike"
            )
        if len(self.frequencies) != len(everything):
            raise UserError(
                f"the federated loss was given frequencies of {len(self.frequencies)} classes, but the detector has "
                f"{len(everything)}: give those of the training set"
            )
        return sample_classes(labels, self.frequencies**self.power, self.num_sampled)


def set_frequencies(detector: nn.Module, frequencies: Sequence[float] | Tensor) -> int:
    """Tell every ``FederatedLoss`` of a detector how many training pictures show each class.

    Args:
        detector: any module.
        frequencies: one number a class, for LVIS "image_count".

    Returns:
        How many losses there are.
    """
    losses = [module for module in detector.modules() if isinstance(module, FederatedLoss)]
    for loss in losses:
        device = next(detector.parameters()).device
        loss.frequencies = torch.as_tensor(frequencies, dtype=torch.float32, device=device)
    return len(losses)
