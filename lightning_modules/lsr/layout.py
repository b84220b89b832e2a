"""The first stage of LSR: a layout predictor that learns to segment people in other poses (thesis 6.1.1.2)."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from typing_extensions import override

from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.lsr.experts import HeadExpertOptions
from lightning_modules.lsr.heads import EvaluationOptions, HeadModule
from lightning_modules.lsr.loss import latent_penalty, segmentation_loss
from lightning_modules.lsr.loss_options import LayoutLossOptions
from lightning_modules.lsr.network import HeadNetworkOptions, LayoutNetwork, PredictedLayout, seen_as
from networks.companion import as_in
from visionscapes.checks import ImageSize, PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.options import group_of

OPTIMIZER = OptimizerOptions(warmup=500, decay_epochs=0.0, decay_floor=0.01, decay="hyperbolic", clip=1.0)


def layout_losses(
    predicted: PredictedLayout, labels: Tensor, truth: Tensor, *, losses: LayoutLossOptions, perceptual: Any
) -> dict[str, Tensor]:
    """Return the terms of Eq. 6.2, weighted, by name.

    Args:
        predicted: what G^l gives.
        labels: (B, S, S) integers, the oracle's.
        truth: (B, 3, S, S) in [-1, 1], the target.
        losses: their weights.
        perceptual: L_R, a distance of two batches of images; not asked where its weight is 0.
    """
    terms = {"segmentation": losses.lambda_seg * segmentation_loss(predicted.logits, labels)}  # Eq. 6.2
    if losses.lambda_rgb:
        terms["rgb"] = losses.lambda_rgb * perceptual(*as_in(perceptual, predicted.rgb, truth))
    return terms


def labels_of(batch: Mapping[str, Any]) -> Tensor:
    """Return the label maps of a training batch.

    Raises:
        UserError: it has none.
    """
    if "labels" not in batch:
        raise UserError(
            "the data have no label maps, which the cross-entropy with an oracle's segmentation needs: give data with "
            "label maps of a face parser"
        )
    return batch["labels"]


class LSRLayout(HeadModule):
    """Learns to predict the segmentation of a person in another pose from shots and landmarks (Eq. 6.1 and 6.2).

    Without it the image generator learns to ignore the layout (6.1.1.2). The image that is predicted beside the layout
    makes up for the oracle's noise. For the batches see `HeadModule`; reenacting gives that image and the softmax of
    the layout. Values whose source is not named are those of the official code.

    Args:
        classes: C, labels of the layout; 19 of CelebAMask-HQ.
        image_size: S in pixels.
        network: what encoder and layout predictor are made of.
        losses: the weights of Eq. 6.2.
        experts: the frozen networks of the losses.
        optimizer: Adam for the network.
        hardware: what makes it faster.
        evaluation: how people are reenacted in validation and test.

    Raises:
        UserError: an option out of its bounds, or a size that cannot be halved as often; in ``setup``, data that do not
            fit, or a network of a loss that cannot be had.
    """

    generator: LayoutNetwork

    def __init__(
        self,
        classes: PositiveInt = 19,
        image_size: ImageSize = 224,
        network: HeadNetworkOptions = HeadNetworkOptions(),
        losses: LayoutLossOptions = LayoutLossOptions(),
        experts: HeadExpertOptions = HeadExpertOptions(),
        optimizer: OptimizerOptions = OPTIMIZER,
        hardware: HardwareOptions = HardwareOptions(),
        evaluation: EvaluationOptions = EvaluationOptions(),
    ):
        check_options(LSRLayout, locals())
        super().__init__(
            LayoutNetwork(classes, image_size, group_of(LSRLayout, "network", network)),
            None,
            classes=classes,
            image_size=image_size,
            losses=group_of(LSRLayout, "losses", losses),
            experts=group_of(LSRLayout, "experts", experts),
            evaluation=group_of(LSRLayout, "evaluation", evaluation),
            adversarial=AdversarialOptions(),
            optimizer=group_of(LSRLayout, "optimizer", optimizer),
            hardware=group_of(LSRLayout, "hardware", hardware),
        )
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()

    @override
    def call_experts(self) -> None:
        if self.losses.lambda_rgb and self.perceptual is None:
            self.perceptual = self.experts.perceptual_distance().to(self.device)

    @override
    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        truth = self.to_network(batch["image"])
        code = self.generator.encode(batch["shots"], batch["shot_drawings"])
        predicted = self.generator(batch["drawing"], code)  # Eq. 6.1
        losses = layout_losses(
            predicted, labels_of(batch), truth, losses=self.losses, perceptual=self.perceptual
        )  # Eq. 6.2, summed by `learn` of lightning_modules/adversarial.py
        losses["latent"] = self.losses.lambda_z * latent_penalty(code, self.losses.latent_penalty)
        self.learn(losses, batch_idx, batch_size=len(truth))

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the network's weights, which ``callbacks.BackboneWriter`` keeps and LSR's ``layout_weights`` takes."""
        return self.shown.state_dict()

    @override
    def codes(self, network: Any, shots: Tensor, drawings: Tensor) -> Tensor:
        return network.encode(shots, drawings)

    @override
    def made(self, network: Any, drawing: Tensor, codes: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        predicted: PredictedLayout = network(drawing, codes.expand(len(drawing), -1))
        return predicted.rgb, seen_as(predicted.logits, "softmax")
