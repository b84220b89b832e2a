"""A network after Wav2Lip, the baseline of table 6.4 that can be trained: mouths in one pass, without diffusion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torchmetrics.aggregation import MeanMetric
from typing_extensions import override

from lightning_modules.adversarial import frozen
from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.diff2lip.audio_network import AudioOptions
from lightning_modules.diff2lip.dubbing import DubbingModule, ReferenceFrame
from lightning_modules.diff2lip.experts import ExpertOptions, sync_logits
from lightning_modules.diff2lip.exporting import one_pass
from lightning_modules.diff2lip.loss import masked_mean, sync_loss
from lightning_modules.diff2lip.loss_options import ScheduledLosses
from lightning_modules.diff2lip.masks import Mask
from lightning_modules.diff2lip.mouth_view import MouthView
from lightning_modules.diff2lip.network import COLOURS, Conditions, LipNetwork, UNetOptions
from lightning_modules.diff2lip.sequence_discriminator import SequenceDiscriminatorOptions
from lightning_modules.diff2lip.windows import Frames, Windows
from networks.audio import WINDOW_FRAMES, mel_windows, whole_windows
from networks.face_region import FaceRegion
from networks.sync_network import precise
from visionscapes.checks import (
    ImageSize,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Share,
    check_options,
)
from visionscapes.errors import UserError
from visionscapes.exporting.parts import Exportable
from visionscapes.options import group_of

BLACK = -1.0  # in place of what is to be generated; Diff2Lip has noise there


@dataclass(frozen=True)
class OnePassLosses(ScheduledLosses):
    """The losses of Wav2Lip, whose weights add up to 1: what is left goes to L1.

    Args:
        lambda_sync: of the SyncNet once it counts.
        lambda_gan: of the discriminator; 0 for none, as in Wav2Lip without the GAN.
        sync_threshold: the SyncNet counts from when on its loss on held-out pairs has been below this; None for not
            until ``sync_start``.
        sync_start: step of the optimiser from which on it counts in any case; None for not before the threshold.
        gan_start: likewise of the discriminator.

    Raises:
        UserError: an option out of its bounds, weights of more than 1, or a SyncNet that would never count.
    """

    lambda_sync: Share = 0.03
    lambda_gan: Share = 0.07
    sync_threshold: PositiveFloat | None = 0.75
    sync_start: NonNegativeInt | None = None
    gan_start: NonNegativeInt = 0

    def __post_init__(self) -> None:
        check_options(OnePassLosses, vars(self))
        if self.lambda_sync + self.lambda_gan > 1:
            raise UserError(
                f"OnePassLosses.lambda_sync {self.lambda_sync} and lambda_gan {self.lambda_gan} are more than 1 "
                "together, and leave nothing for L1: lower one"
            )
        if self.lambda_sync and self.sync_threshold is None and self.sync_start is None:
            raise UserError(
                "OnePassLosses.sync_threshold and sync_start are both null, so that the SyncNet would never count: "
                "give one of them, or lambda_sync=0"
            )

    @override
    def most(self, name: str) -> float:
        return 0.0 if name == "perceptual" else super().most(name)

    @override
    def weight(self, name: str, step: int) -> float:
        begun = name != "sync" or (self.sync_start is not None and step >= self.sync_start)
        return self.most(name) if begun and (name != "gan" or step >= self.gan_start) else 0.0


class Wav2Lip(DubbingModule):
    """Gives faces the mouths of a sound in one pass, as Wav2Lip does (Prajwal et al., ACM Multimedia 2020).

    Its network is that of Diff2Lip, sound encoder included, at the step 0 of the diffusion and with black in place of
    noise: what differs is that it has one attempt, and the losses: L1, the SyncNet, and the discriminator of sequences
    for Wav2Lip's own, which sees single frames. Defaults are Wav2Lip's. For the batches see `DubbingModule`; those of
    validation tell when the SyncNet begins to count.

    Args:
        face_size: S, side of the faces in pixels.
        region: the part of a face that the network sees.
        mask: what it generates: the "lower" half of the region, or what lies below the nose by "landmarks".
        unet: what the network is made of.
        audio: how sound is encoded; its dropout is not used.
        objective: the losses.
        experts: the frozen SyncNet.
        discriminator: of sequences.
        adversarial: the game of the two.
        optimizer: Adam for both networks.
        hardware: what makes it faster.
        reference: in prediction, whose face shows the person: that of the "input" frame, or of the "first".
        batch: frames that are dubbed at a time.
        single_frames: steps at the start that take one frame of each window, as of `Diff2Lip`.

    Raises:
        UserError: an option out of its bounds, a size that the network cannot halve often enough, or a SyncNet that is
            missing.
    """

    generator: LipNetwork

    def __init__(
        self,
        face_size: ImageSize = 128,
        region: FaceRegion = FaceRegion(),
        mask: Mask = "lower",
        unet: UNetOptions = UNetOptions(),
        audio: AudioOptions = AudioOptions(),
        objective: OnePassLosses = OnePassLosses(),
        experts: ExpertOptions = ExpertOptions(),
        discriminator: SequenceDiscriminatorOptions = SequenceDiscriminatorOptions(),
        adversarial: AdversarialOptions = AdversarialOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(lr=1e-4, beta1=0.5, decay_epochs=0.0),
        hardware: HardwareOptions = HardwareOptions(),
        reference: ReferenceFrame = "input",
        batch: PositiveInt = 32,
        single_frames: NonNegativeInt = 0,
    ):
        check_options(Wav2Lip, locals())
        region, unet, audio = (
            group_of(Wav2Lip, "region", region),
            group_of(Wav2Lip, "unet", unet),
            group_of(Wav2Lip, "audio", audio),
        )
        losses = group_of(Wav2Lip, "objective", objective)
        view = MouthView(face_size, region, mask)
        view.check(unet.smallest)
        super().__init__(
            LipNetwork(unet, audio),
            view,
            losses=losses,
            experts=group_of(Wav2Lip, "experts", experts),
            discriminator=group_of(Wav2Lip, "discriminator", discriminator),
            adversarial=group_of(Wav2Lip, "adversarial", adversarial),
            optimizer=group_of(Wav2Lip, "optimizer", optimizer),
            hardware=group_of(Wav2Lip, "hardware", hardware),
        )
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        self.objective: OnePassLosses = losses
        self.reference, self.chunk, self.single_frames = reference, batch, single_frames
        self.below_threshold = False  # whether the held-out sync loss has been
        self.held_out_sync = MeanMetric()

    # ------------------------------------------------------------------------------------------------ training

    @override
    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        windows = self.windows_of(batch)
        inputs, reference, mask, frame_mel = (
            each.flatten(0, 1) for each in (windows.truth, windows.reference, windows.mask, windows.frame_mel)
        )
        made = self.one_pass(self.generator, inputs, reference, mask=mask, frame_mel=frame_mel)
        frames = made.unflatten(0, windows.truth.shape[:2])
        losses = self.discriminator_losses(windows, frames)
        with frozen(self.discriminator):
            losses |= self.generator_losses(windows, frames)
        self.learn(losses, batch_idx, batch_size=len(batch["faces"]))

    @override
    def weight_of(self, name: str) -> float:
        below = name == "sync" and self.below_threshold and not self._takes_single_frames()
        return self.losses.most(name) if below else super().weight_of(name)

    def generator_losses(self, windows: Windows, frames: Tensor) -> dict[str, Tensor]:
        """Return the weighted losses of frames (N, 5, 3, h, w) in [-1, 1] that have begun, by name."""
        sync, gan = self.weight_of("sync"), self.weight_of("gan")
        # Of colours in [0, 1], as in Wav2Lip, whose mean is over the whole face.
        losses = {"l1": (1 - sync - gan) * masked_mean((frames - windows.truth).abs() / 2, windows.mask)}
        if sync:
            losses["sync"] = sync * self.sync_term(windows, frames)
        if gan:
            losses["gan"] = gan * self.gan_term(windows, frames)
        return losses

    def one_pass(
        self, network: LipNetwork, inputs: Tensor, reference: Tensor, *, mask: Tensor, frame_mel: Tensor
    ) -> Tensor:
        """Return the mouths (T, 3, h, w) in [-1, 1] that a network makes.

        Args:
            network: which.
            inputs: (T, 3, h, w) in [-1, 1], of which it does not see the masked part.
            reference: (T, 3, h, w) in [-1, 1].
            mask: (T, 1, h, w), 1 where it generates.
            frame_mel: (T, 80, 16).
        """
        masked = torch.where(mask > 0, torch.full_like(inputs, BLACK), inputs)
        masked, reference = (each.to(memory_format=self.memory_format) for each in (masked, reference))
        step = torch.zeros(len(masked), dtype=torch.int64, device=masked.device)
        conditions = Conditions(masked, reference, mask)
        made = network(masked, step, network.embed(frame_mel), conditions=conditions)
        return precise(made[:, :COLOURS]).tanh()

    def exportable(self) -> list[Exportable]:
        """Return the generator to export, from frames and sound to mouths."""
        return one_pass(self.shown, self.view, BLACK)

    # ------------------------------------------------------------------------------------------------- dubbing

    @override
    def make(self, frames: Frames) -> Tensor:
        return self.one_pass(self.shown, frames.input, frames.reference, mask=frames.mask, frame_mel=frames.frame_mel)

    @override
    def validation_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Any:
        dubbed = super().validation_step(batch, batch_idx, dataloader_idx)
        if dubbed is not None and self.sync_expert is not None:
            faces, mel = windows_of_clip(dubbed.faces, batch["mel"][0])
            if len(faces):
                self.held_out_sync.update(sync_loss(sync_logits(self.sync_expert, faces, mel)), weight=len(faces))
        return dubbed

    @override
    def on_validation_epoch_start(self) -> None:
        self.held_out_sync.reset()

    @override
    def on_validation_epoch_end(self) -> None:
        """Log the SyncNet's loss on held-out pairs, and let it count from now on if that is below the threshold."""
        if self.sync_expert is None:
            return
        loss = self.held_out_sync.compute()
        self.log("val/sync", loss, sync_dist=False)
        limit = self.objective.sync_threshold
        if not self.trainer.sanity_checking and limit is not None and float(loss) < limit:
            self.below_threshold = True

    @override
    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Any:
        return super().validation_step(batch, batch_idx, dataloader_idx)

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["below_threshold"] = self.below_threshold

    @override
    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_load_checkpoint(checkpoint)
        self.below_threshold = checkpoint.get("below_threshold", False)


def windows_of_clip(faces: Tensor, mel: Tensor) -> tuple[Tensor, Tensor]:
    """Return the windows (V, 5, 3, S, S) of a clip that follow on each other, and the sound (V, 80, 16) of each.

    Args:
        faces: (T, 3, S, S).
        mel: (80, M), from the first frame on; windows beyond its end are left out.
    """
    starts = list(range(0, whole_windows(len(faces), mel.shape[-1]), WINDOW_FRAMES))
    pictures = faces[: len(starts) * WINDOW_FRAMES].unflatten(0, (len(starts), WINDOW_FRAMES))
    return pictures, mel_windows(mel, starts)
