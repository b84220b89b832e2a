"""LSR: few-shot talking heads from learned spatial layouts (thesis chapter 6.1), the full pipeline."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.adversarial import AdversarialOptions, HardwareOptions, OptimizerOptions, Scores, frozen
from lightning_modules.lsr.experts import HeadExpertOptions
from lightning_modules.lsr.heads import EvaluationOptions, HeadModule
from lightning_modules.lsr.layout import OPTIMIZER, labels_of, layout_losses
from lightning_modules.lsr.loss import latent_penalty, pixel_loss
from lightning_modules.lsr.loss_options import HeadLossOptions
from lightning_modules.lsr.network import HeadNetwork, HeadNetworkOptions, Latents, RenderedHead, Spatial
from lightning_modules.lsr.stage_files import load_stage, told_by
from networks.gan.discriminators import DiscriminatorOptions
from visionscapes.checks import ImageSize, PositiveInt, check_options
from visionscapes.options import group_of

DISCRIMINATOR = DiscriminatorOptions(architecture="residual", base=7168, stddev_group=None)


class LSR(HeadModule):
    """Reenacts people: shots and landmarks give a spatial layout, and layout and style an image (Eq. 6.3 and 6.4).

    The layout is the softmax of the predicted logits, and the losses of the image teach it; the discriminator sees the
    drawing of the landmarks beside the image. The other spatial inputs are the rows of table 6.2. For the batches see
    `HeadModule`. Values whose source is not named are those of the official code.

    Args:
        classes: C, labels of the layout; 19 of CelebAMask-HQ.
        image_size: S in pixels.
        spatial: what SPADE sees: the latent "layout" (ours), the learned "segmentation", whose cross-entropy with the
            oracle stays on and which the losses of the image do not reach, label maps of the "oracle" (upper bound), or
            the "landmarks"; "none" is the baseline, a U-Net with AdaIN, FSTH's set-up (6.1.2.4).
        network: what encoders and generators are made of.
        losses: the weights of Eq. 6.4.
        experts: the frozen networks of the losses.
        discriminator: what the discriminator is made of.
        adversarial: the game of the two.
        optimizer: Adam for both.
        hardware: what makes it faster.
        evaluation: how people are reenacted in validation and test.
        layout_weights: file of the pre-trained layout predictor: a checkpoint or weights of `LSRLayout`.

    Raises:
        UserError: an option out of its bounds, a size that cannot be halved as often, or a file of weights that is
            missing or does not fit; in ``setup``, data that do not fit, or a network of a loss that cannot be had.
    """

    generator: HeadNetwork
    losses: HeadLossOptions

    def __init__(
        self,
        classes: PositiveInt = 19,
        image_size: ImageSize = 224,
        spatial: Spatial = "layout",
        network: HeadNetworkOptions = HeadNetworkOptions(),
        losses: HeadLossOptions = HeadLossOptions(),
        experts: HeadExpertOptions = HeadExpertOptions(),
        discriminator: DiscriminatorOptions = DISCRIMINATOR,
        adversarial: AdversarialOptions = AdversarialOptions(r1=10.0, r2=10.0),
        optimizer: OptimizerOptions = OPTIMIZER,
        hardware: HardwareOptions = HardwareOptions(),
        evaluation: EvaluationOptions = EvaluationOptions(),
        layout_weights: str | None = None,
    ):
        check_options(LSR, locals())
        network, losses = group_of(LSR, "network", network), group_of(LSR, "losses", losses)
        discriminator = group_of(LSR, "discriminator", discriminator)
        super().__init__(
            HeadNetwork(classes, image_size, spatial=spatial, options=network),
            discriminator.build(6, image_size, most=network.most) if losses.lambda_gan else None,
            classes=classes,
            image_size=image_size,
            losses=losses,
            experts=group_of(LSR, "experts", experts),
            evaluation=group_of(LSR, "evaluation", evaluation),
            adversarial=group_of(LSR, "adversarial", adversarial),
            optimizer=group_of(LSR, "optimizer", optimizer),
            hardware=group_of(LSR, "hardware", hardware),
        )
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        if layout_weights is not None:
            self.load_layout(layout_weights)

    def load_layout(self, path: str) -> None:
        """Take encoder and layout predictor from a file of the first stage.

        Args:
            path: of a checkpoint, or of the weights alone.

        Raises:
            UserError: the file is missing or does not fit, or the model predicts no layout.
        """
        self.know_origin(told_by(path))
        load_stage(self.generator.layout, path, "LSRLayout")
        self.begin_average()

    @override
    def call_experts(self) -> None:
        rgb = self.losses.lambda_rgb if self.generator.spatial == "segmentation" else 0
        if (self.losses.lambda_vgg or rgb) and self.perceptual is None:
            self.perceptual = self.experts.perceptual_distance().to(self.device)
        if (self.losses.lambda_vggface or self.losses.lambda_id) and self.faces is None:
            self.faces = self.experts.face_distance().to(self.device)

    # ------------------------------------------------------------------------------------------------ training

    @override
    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        truth = self.to_network(batch["image"])
        latents = self.generator.encode(batch["shots"], batch["shot_drawings"])
        head = self.generator.render(batch["drawing"], latents, batch.get("labels"))  # Eq. 6.3
        scores = self.scores_beside(batch["drawing"])
        losses = {} if scores is None else self.discriminator_terms(scores, truth, head.image.detach())
        with frozen(self.discriminator):
            losses |= self.generator_losses(head, truth, latents, scores=scores)
        if head.predicted is not None and self.generator.spatial == "segmentation":
            losses |= layout_losses(
                head.predicted, labels_of(batch), truth, losses=self.losses, perceptual=self.perceptual
            )
        self.learn(losses, batch_idx, batch_size=len(truth))

    def generator_losses(
        self, head: RenderedHead, truth: Tensor, latents: Latents, *, scores: Scores | None
    ) -> dict[str, Tensor]:
        """Return the terms of Eq. 6.4, weighted, by name.

        Args:
            head: what was made.
            truth: (B, 3, S, S) in [-1, 1], the targets.
            latents: z^l and z^s, averaged over the shots.
            scores: what the discriminator says of images with the landmarks of the targets; None for none.
        """
        losses = self.losses
        terms = self.reconstruction_losses(head.image, truth)  # Eq. 6.4, summed by `learn` of adversarial.py
        if scores is not None:
            terms["adversarial"] = losses.lambda_gan * self.adversarial_loss(scores(head.image))
        codes = [code for code in latents if code is not None]
        penalty = torch.stack([latent_penalty(code, losses.latent_penalty) for code in codes]).sum()
        return terms | {"latent": losses.lambda_z * penalty}

    def reconstruction_losses(self, image: Tensor, truth: Tensor) -> dict[str, Tensor]:
        """Return the terms of L_rec in Eq. 6.4, weighted, by name, of images (B, 3, S, S) in [-1, 1]."""
        losses = self.losses
        terms = {"l1": losses.lambda_l1 * pixel_loss(image, truth)}
        if losses.lambda_vgg:
            assert self.perceptual is not None
            terms["vgg"] = losses.lambda_vgg * self.perceptual(image, truth)
        if losses.lambda_vggface or losses.lambda_id:
            assert self.faces is not None
            layers, identity = self.faces(image, truth)
            terms |= {"vggface": losses.lambda_vggface * layers, "identity": losses.lambda_id * identity}
        return terms

    def scores_beside(self, drawing: Tensor) -> Scores | None:
        """Return what the discriminator says of images beside drawings (B, 3, S, S) in [0, 1]; None without one."""
        if self.discriminator is None:
            return None
        return partial(scores_of, self.discriminator, self.to_network(drawing))

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights that ``callbacks.BackboneWriter`` keeps, those of generator and discriminator."""
        return weights_of(self.shown, self.discriminator)

    # ---------------------------------------------------------------------------------------------- reenacting

    @override
    def codes(self, network: Any, shots: Tensor, drawings: Tensor) -> Latents:
        return network.encode(shots, drawings)

    @override
    def made(
        self, network: Any, drawing: Tensor, codes: Latents, labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        head: RenderedHead = network.render(drawing, codes.of(len(drawing)), labels)
        return head.image, head.layout


def scores_of(discriminator: Any, drawing: Tensor, image: Tensor) -> Any:
    """Return what a discriminator says of images (B, 3, S, S) beside drawings, both in [-1, 1]."""
    return discriminator(torch.cat([image, drawing], 1))


def weights_of(generator: Any, discriminator: Any) -> dict[str, Tensor]:
    """Return the weights of both networks by the names that `load_pair` of stage_files.py knows."""
    parts = {"generator": generator} | ({} if discriminator is None else {"discriminator": discriminator})
    return {f"{part}.{name}": value for part, network in parts.items() for name, value in network.state_dict().items()}
