"""LSR: few-shot talking heads from learned spatial layouts (thesis chapter 6.1), the full pipeline."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.adversarial import frozen
from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.lsr.experts import HeadExpertOptions
from lightning_modules.lsr.fine_tuning import FineTuningOptions, OwnShots, fine_tune, with_identity
from lightning_modules.lsr.heads import EvaluationOptions, HeadModule
from lightning_modules.lsr.layout import OPTIMIZER, labels_of, layout_losses
from lightning_modules.lsr.loss_options import HeadLossOptions
from lightning_modules.lsr.network import HeadNetwork, HeadNetworkOptions, Latents, RenderedHead, Spatial
from lightning_modules.lsr.objective import Objective, scores_beside
from lightning_modules.lsr.people import Person, checked_shots, evaluating
from lightning_modules.lsr.stage_files import load_stage, told_by
from networks.gan.discriminators import DiscriminatorOptions
from visionscapes.checks import ImageSize, PositiveInt, check_options
from visionscapes.options import group_of
from visionscapes.processes import is_first
from visionscapes.progress import say

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
        finetune: how the network is fine-tuned on the shots of one person, where prediction or evaluation asks for it.
        layout_weights: file of the pre-trained layout predictor: a checkpoint or weights of `LSRLayout`.

    Raises:
        UserError: an option out of its bounds, a size that cannot be halved as often, or a file of weights that is
            missing or does not fit; in ``setup``, data that do not fit, or a network of a loss that cannot be had.
    """

    generator: HeadNetwork
    losses: HeadLossOptions

    started_from: ClassVar[str] = "layout_weights"  # the option that names the file of the earlier stage

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
        finetune: FineTuningOptions = FineTuningOptions(),
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
        self.finetune: FineTuningOptions = group_of(LSR, "finetune", finetune)
        if layout_weights is not None:
            self.load_layout(layout_weights)

    @classmethod
    @override
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Return the module of a checkpoint, which holds all weights: the file it started from may be gone.

        Args:
            checkpoint_path: path of the checkpoint, or an open file.
            args: see ``GroupedOptions.load_from_checkpoint``.
            kwargs: likewise.
        """
        return super().load_from_checkpoint(checkpoint_path, *args, **{cls.started_from: None} | kwargs)

    def load_layout(self, path: str) -> None:
        """Take encoder and layout predictor from a file of the first stage.

        Args:
            path: of a checkpoint, or of the weights alone.

        Raises:
            UserError: the file is missing or does not fit, or the model predicts no layout.
        """
        self.know_origin(told_by(path, "LSRLayout", self.started_from))
        load_stage(self.generator.layout, path, "LSRLayout")
        self.begin_average()

    @override
    def call_experts(self, losses: HeadLossOptions | None = None) -> None:
        """Get the frozen networks that losses ask, those of the training if none are named.

        Raises:
            UserError: one cannot be had.
        """
        losses = self.losses if losses is None else losses
        rgb = losses.lambda_rgb if self.generator.spatial == "segmentation" else 0
        if (losses.lambda_vgg or rgb) and self.perceptual is None:
            self.perceptual = self.experts.perceptual_distance().to(self.device)
        if (losses.lambda_vggface or losses.lambda_id) and self.faces is None:
            self.faces = self.experts.face_distance().to(self.device)

    # ------------------------------------------------------------------------------------------------ training

    @override
    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        truth = self.to_network(batch["image"])
        latents = self.generator.encode(batch["shots"], batch["shot_drawings"])
        head = self.generator.render(batch["drawing"], latents, batch.get("labels"))  # Eq. 6.3
        losses = self.losses_of(head, truth, batch["drawing"], latents=latents)
        if head.predicted is not None and self.generator.spatial == "segmentation":
            losses |= layout_losses(
                head.predicted, labels_of(batch), truth, losses=self.losses, perceptual=self.perceptual
            )
        self.learn(losses, batch_idx, batch_size=len(truth))

    def losses_of(self, head: RenderedHead, truth: Tensor, drawing: Tensor, *, latents: Latents) -> dict[str, Tensor]:
        """Return the losses of both networks, Eq. 6.4, weighted, by name.

        Args:
            head: what was made.
            truth: (B, 3, S, S) in [-1, 1], the targets.
            drawing: (B, 3, S, S) in [0, 1], of their landmarks, which the discriminator sees too.
            latents: z^l and z^s, averaged over the shots.
        """
        scores = scores_beside(self.discriminator, self.to_network(drawing))
        losses = {} if scores is None else self.discriminator_terms(scores, truth, head.image.detach())
        with frozen(self.discriminator):
            return losses | self.objective().generator_losses(head.image, truth, latents, scores=scores)

    def objective(self) -> Objective:
        """Return Eq. 6.4 and the networks that it asks."""
        return Objective(self.losses, self.gan_loss, perceptual=self.perceptual, faces=self.faces)

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the weights that ``callbacks.BackboneWriter`` keeps and fine-tuning starts from, of both networks."""
        networks = {"generator": self.shown, "discriminator": self.discriminator}
        states = {part: network.state_dict() for part, network in networks.items() if network is not None}
        return {f"{part}.{name}": value for part, state in states.items() for name, value in state.items()}

    # ---------------------------------------------------------------------------------------------- reenacting

    @override
    def codes(self, network: Any, shots: Tensor, drawings: Tensor) -> Latents:
        return network.encode(shots, drawings)

    @override
    def meet_tuned(self, shots: Tensor, drawings: Tensor, source: str = "") -> Person:
        """Return a person that the networks were fine-tuned on (6.1.1.5); they are copied for it.

        Args:
            shots: (K, 3, S, S) in [0, 1], or of bytes.
            drawings: (K, 3, S, S) in [0, 1], or of bytes, of their landmarks.
            source: the name of the person.

        Raises:
            UserError: images have another shape, the network is given label maps, or an expert cannot be had.
        """
        shots, drawings = checked_shots(shots, drawings, self.image_size)
        losses = with_identity(self.losses, self.finetune)
        with torch.inference_mode(False):
            self.call_experts(losses)
        tuned = fine_tune(
            self.shown,
            self.discriminator,
            OwnShots(shots, drawings),
            objective=self.objective()._replace(losses=losses),
            adversarial=self.adversarial,
            options=self.finetune,
        )
        if source and is_first():
            say(f"fine-tuned on {len(shots)} {'picture' if len(shots) == 1 else 'pictures'} of {source}: {tuned}")
        with torch.no_grad(), evaluating(tuned.network):
            codes = self.codes(tuned.network, shots[None], drawings[None])
        return Person(self, tuned.network, codes, source=source, shots=len(shots), fine_tuned=True)

    @override
    def made(
        self, network: Any, drawing: Tensor, codes: Latents, labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        head: RenderedHead = network.render(drawing, codes.of(len(drawing)), labels)
        return head.image, head.layout
