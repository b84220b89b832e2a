"""Linear classifiers on frozen features."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from callbacks.results.array_store import Arrays
from callbacks.results.presentation import SHARE, Presentation
from callbacks.vit_analysis.feature_bank import INTEGER, Column, FeatureBank, class_numbers
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from networks.vit_layers import BlockView, Layered, Observer
from visionscapes.checks import Among, AnyInt, Bounds, PositiveFloat, PositiveInt, check_options
from visionscapes.errors import UserError

# Key of the arrays: column of the features, whether they are normalised, name of the figure.
PROBES = {
    "cls": ("cls", False, "probe CLS"),
    "spatial": ("spatial", False, "probe Spat."),
    "cls_bn": ("cls", True, "probe CLS+BN"),
    "spatial_bn": ("spatial", True, "probe Spat.+BN"),
}
RATES = [1e-4, 3e-4, 1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0]  # read only
LEAST_SAMPLES = 10  # one is held out, and batch normalisation needs more than one of the rest
_LOGITS_AT_ONCE = 2**24  # bounds the memory of an evaluation: samples times learning rates times classes


class LinearProbe(LayerEvaluation):
    """Top-1 accuracy of a linear classifier on the class token and on the mean of the spatial tokens of one block.

    Trained on task "knn-train", tested on "knn-test"; both once as the features are and once behind batch
    normalisation without scale and offset (MAE). Samples with label -1 are left out; a test sample whose class the
    training samples do not have counts as wrong.

    The thesis gives 20 epochs and the blocks; the rest is ours: zero at first, cross entropy, SGD with momentum 0.9, no
    weight decay, a cosine from the learning rate to zero. A tenth of the training samples is held out to choose the
    learning rate, then the classifier is trained again on all of them; test samples choose nothing. The features are
    fixed and not augmented.

    Args:
        layer: block from 1; None for the ViT's ``probe_layer`` if it has one (the thesis: 8 for BEiT), otherwise the
            last.
        lrs: learning rates to choose from. One that diverges is not chosen; too large ones are what the asterisk in
            Table 2.6 is about.
        epochs: of training.
        batch_size: at most this many samples, at least 2; the last, shorter batch of an epoch is left out.
        seed: of the order and of what is held out.

    Raises:
        UserError: settings out of range; a model with fewer blocks than ``layer``; too few samples.

    Thesis 2.7.6.4, Table 2.6.
    """

    protocol = "probe"
    presentation = Presentation("Linear probes", SHARE)
    tasks = ("knn-train", "knn-test")

    def __init__(
        self,
        layer: PositiveInt | None = None,
        lrs: list[Annotated[PositiveFloat, Among(1)]] = RATES,
        epochs: PositiveInt = 20,
        batch_size: Annotated[int, Bounds(least=2)] = 256,
        seed: AnyInt = 0,
    ):
        check_options(LinearProbe, locals())
        super().__init__()
        self.layer, self.lrs, self.epochs, self.batch_size, self.seed = layer, list(lrs), epochs, batch_size, seed

    def layer_of(self, vit: Layered) -> int:
        """Return the block that is probed, from 1.

        Raises:
            UserError: the model has no such block.
        """
        layer = int(self.layer or getattr(vit, "probe_layer", None) or vit.depth)
        if not 1 <= layer <= vit.depth:
            raise UserError(f"there is no block {layer} to probe in a ViT of {vit.depth}: choose one from 1 on")
        return layer

    @override
    def new_state(self, vit: Layered) -> FeatureBank:
        features = Column((vit.dim,), torch.float32)
        columns = {"index": INTEGER, "label": INTEGER, "cls": features, "spatial": features}
        return FeatureBank(dict.fromkeys(self.tasks, columns), partial(self.summary, layer=self.layer_of(vit)))

    @override
    def observer(self, state: FeatureBank, vit: Layered, batch: Mapping[str, Any]) -> Observer:  # type: ignore[override]
        task, layer = batch["task"], self.layer_of(vit)

        def keep(view: BlockView) -> None:
            if view.layer == layer - 1:
                spatial = view.patches.float().mean(1)
                labelled = {"index": batch["index"], "label": batch["label"]}
                state.update(task, labelled | {"cls": view.cls, "spatial": spatial})

        return keep

    def summary(self, bank: FeatureBank, layer: int) -> dict[str, Any]:
        """Return the accuracy () by key of ``PROBES``, "<key>_lr" () the learning rate chosen, and "layer" ().

        Raises:
            UserError: too few samples, or no learning rate with which training stays finite.
        """
        train, test = (bank.labelled(task) for task in self.tasks)
        if len(train) < LEAST_SAMPLES or not len(test):
            raise UserError(
                f"LinearProbe has {len(train)} labelled samples of task knn-train and {len(test)} of knn-test: give it "
                f"both tasks, and at least {LEAST_SAMPLES} of the first"
            )
        known, asked = (bank.raw(task, "label")[rows] for task, rows in zip(self.tasks, (train, test), strict=True))
        known, asked, classes = class_numbers(known, asked)
        arrays = {"layer": np.array(layer)}
        # Trainer.test runs in inference mode, whose tensors take no part in training: those made here do.
        with torch.inference_mode(False), torch.enable_grad():
            labels, wanted = known.clone().to(bank.device), asked.clone().to(bank.device)
            for key, (column, batch_norm, _) in PROBES.items():
                features, queries = (
                    bank.raw(task, column)[rows.clone()].clone().to(bank.device)
                    for task, rows in zip(self.tasks, (train, test), strict=True)
                )
                head, lr = self.best_head(features, labels, classes, batch_norm)
                accuracy, _ = head.evaluate(queries, wanted)
                arrays |= {key: accuracy.cpu().numpy()[0], f"{key}_lr": np.array(lr)}
        return {key: np.asarray(value, dtype=np.float32) for key, value in arrays.items()}

    def best_head(
        self, features: Tensor, labels: Tensor, classes: int, batch_norm: bool
    ) -> tuple["LinearHeads", float]:
        """Return the classifier that was trained on everything, and its learning rate, chosen on a tenth.

        Args:
            features: (N, C) float32, N >= 10.
            labels: (N,) in [0, classes).
            classes: number of classes.
            batch_norm: whether to normalise the features.

        Raises:
            UserError: training diverges with every learning rate.
        """
        generator = torch.Generator().manual_seed(self.seed)
        order = torch.randperm(len(features), generator=generator).to(features.device)
        held, rest = order[: len(order) // 10], order[len(order) // 10 :]
        heads = self._trained(features[rest], labels[rest], classes, batch_norm, self.lrs, generator)
        accuracy, loss = heads.evaluate(features[held], labels[held])
        finite = loss.isfinite() & heads.finite()
        if not finite.any():
            raise UserError(f"LinearProbe diverges with every one of lrs={self.lrs}: add smaller ones")
        accuracy, loss = accuracy.where(finite, -1), loss.where(finite, torch.inf)
        best = min(range(len(self.lrs)), key=lambda number: (-float(accuracy[number]), float(loss[number])))
        lr = self.lrs[best]
        return self._trained(features, labels, classes, batch_norm, [lr], generator), lr

    def _trained(
        self,
        features: Tensor,
        labels: Tensor,
        classes: int,
        batch_norm: bool,
        lrs: list[float],
        generator: torch.Generator,
    ) -> "LinearHeads":
        heads = LinearHeads(len(lrs), features.shape[1], classes, batch_norm=batch_norm).to(features.device)
        rates = torch.tensor(lrs, device=features.device)
        size = min(self.batch_size, len(features))
        batches = len(features) // size
        for epoch in range(self.epochs):
            order = torch.randperm(len(features), generator=generator).to(features.device)
            for step, some in enumerate(order[: size * batches].split(size)):
                done = (epoch * batches + step) / (self.epochs * batches)
                heads.losses(features[some], labels[some]).sum().backward()
                heads.descend(rates * (1 + math.cos(math.pi * done)) / 2)
        return heads.eval()

    @override
    def figures(self, arrays: Arrays) -> dict[str, np.ndarray]:
        return {name: arrays[key] for key, (_, _, name) in PROBES.items()}


class LinearHeads(nn.Module):
    """Linear classifiers that are trained next to each other on the same features, each as if it were alone.

    Args:
        count: number of classifiers R.
        dim: channels C.
        classes: number of classes K.
        batch_norm: normalise the features first; without parameters, so that one does for all. Its statistics are the
            means over all training steps, as the features do not change meanwhile.
    """

    def __init__(self, count: int, dim: int, classes: int, batch_norm: bool):
        super().__init__()
        self.norm = nn.BatchNorm1d(dim, eps=1e-6, momentum=None, affine=False) if batch_norm else nn.Identity()
        self.weights = nn.Parameter(torch.zeros(count, dim, classes))
        self.biases = nn.Parameter(torch.zeros(count, 1, classes))
        self._velocities = [torch.tensor(0.0), torch.tensor(0.0)]

    def finite(self) -> Tensor:
        """Return which classifiers have only finite weights, (R,) bool."""
        return self.weights.isfinite().all(-1).all(-1) & self.biases.isfinite().all(-1).all(-1)

    @override
    def forward(self, features: Tensor) -> Tensor:
        """Return logits (R, n, K) of features (n, C)."""
        return torch.einsum("nc,rck->rnk", self.norm(features), self.weights) + self.biases

    @torch.no_grad()
    def descend(self, rates: Tensor, momentum: float = 0.9) -> None:
        """Do a step of SGD and forget the gradients; torch.optim has one learning rate for a whole parameter.

        Args:
            rates: (R,), learning rate of each classifier.
            momentum: as in torch.optim.SGD.
        """
        for number, parameter in enumerate((self.weights, self.biases)):
            assert parameter.grad is not None, "losses(...).sum().backward() comes first"
            velocity = momentum * self._velocities[number].to(rates.device) + parameter.grad
            parameter.sub_(rates[:, None, None] * velocity)
            self._velocities[number], parameter.grad = velocity, None

    def losses(self, features: Tensor, labels: Tensor) -> Tensor:
        """Return the mean cross entropy of each classifier, (R,), on features (n, C) and labels (n,)."""
        logits = self(features)
        return F.cross_entropy(logits.transpose(1, 2), labels.expand(len(logits), -1), reduction="none").mean(1)

    @torch.no_grad()
    def evaluate(self, features: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return accuracy (R,) and mean cross entropy (R,) on features (n, C).

        Args:
            features: of at least one sample.
            labels: (n,); a negative one cannot be right, and adds nothing to the cross entropy.
        """
        count, classes = len(self.weights), self.weights.shape[2]
        right = features.new_zeros(count)
        loss = features.new_zeros(count)
        chunk = max(1, _LOGITS_AT_ONCE // (count * classes))
        for some, own in zip(features.split(chunk), labels.split(chunk), strict=True):
            logits = self(some)
            right += (logits.argmax(-1) == own).sum(1)
            wanted = own.expand(count, -1)
            loss += F.cross_entropy(logits.transpose(1, 2), wanted, ignore_index=-1, reduction="none").sum(1)
        return right / len(features), loss / len(features)
