"""Learning to make mouths from windows of five frames: what Diff2Lip and what it is compared with share."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.adversarial import AdversarialModule
from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.diff2lip.experts import ExpertOptions, sync_logits
from lightning_modules.diff2lip.loss import perceptual_loss, sync_loss
from lightning_modules.diff2lip.loss_options import ScheduledLosses
from lightning_modules.diff2lip.mouth_view import MouthView
from lightning_modules.diff2lip.sequence_discriminator import SequenceDiscriminatorOptions
from lightning_modules.diff2lip.windows import Windows
from networks.companion import Companion, as_in
from visionscapes.errors import UserError

SEQUENCE_LOSSES = ("sync", "gan")


class WindowLosses(AdversarialModule):
    """The losses on generated windows, each from its step on, and the networks that they ask.

    Training batches, task "sync", hold W windows of each of B clips: "faces" (B, W, 5, 3, S, S) float32 RGB in [0, 1],
    "mel" (B, W, 80, 16) and "frame_mel" (B, W, 5, 80, 16) in [-4, 4], "landmarks" (B, W, 5, 68, 2) in pixels of the
    faces. Every window is a target, and the next one of its clip its reference, which begins at another frame.

    Args:
        generator: the network that makes mouths.
        view: what it sees of a face.
        losses: the weight of each loss, "sync", "perceptual" and "gan" among them.
        experts: the frozen networks of the losses.
        discriminator: of sequences; built where the weight of "gan" is above 0.
        adversarial: the game of the two.
        optimizer: how both step.
        hardware: what makes it faster.

    Attributes:
        single_frames: steps at the start that take one frame of each window; those that follow take all five of a fifth
            of the windows, as many frames. Frames of a window are alike: the same number out of more windows teaches
            more. Losses on sequences begin behind them at the earliest.

    Raises:
        UserError: a network of a loss cannot be had.
    """

    single_frames = 0

    def __init__(
        self,
        generator: nn.Module,
        view: MouthView,
        *,
        losses: ScheduledLosses,
        experts: ExpertOptions,
        discriminator: SequenceDiscriminatorOptions,
        adversarial: AdversarialOptions,
        optimizer: OptimizerOptions,
        hardware: HardwareOptions,
    ):
        super().__init__(
            generator,
            discriminator.build() if losses.most("gan") else None,
            adversarial=adversarial,
            optimizer=optimizer,
            hardware=hardware,
        )
        self.view, self.losses, self.experts, self.judged = view, losses, experts, discriminator
        self.sync_expert: Companion | None = None
        self.perceptual_distance: Companion | None = None

    def call_experts(self) -> None:
        """Get the frozen networks of the losses, which training needs and dubbing does not.

        Raises:
            UserError: one cannot be had, or the region is too small for it.
        """
        if self.losses.most("sync") and self.sync_expert is None:
            self.sync_expert = self.experts.sync_expert().to(self.device)
        if self.losses.most("perceptual") and self.perceptual_distance is None:
            self.perceptual_distance = self.experts.perceptual_distance(self.view.shape).to(self.device)

    def windows_of(self, batch: Mapping[str, Any]) -> Windows:
        """Return the windows of a training batch, N = B W; of single frames or fewer if ``single_frames`` asks so.

        Raises:
            UserError: the batch lacks the sound of single frames, or a second window of its clips.
        """
        faces = batch["faces"]
        if "frame_mel" not in batch:
            raise UserError(
                "the data have no sound of single frames: take a datamodule for dubbing, such as "
                "datamodules.DubbingWorld"
            )
        if faces.shape[1] < 2:
            raise UserError(
                "a window's reference is another one of its clip, and the data have one each: give --data.windows 2 or "
                "more"
            )
        truth = self.view.signed(faces)
        mask = self.view.masks(truth, batch.get("landmarks"))
        parts = (faces, truth, truth.roll(-1, 1), mask, batch["frame_mel"], batch["mel"])
        windows = Windows(*(part.flatten(0, 1) for part in parts))
        if not self.single_frames:
            return windows
        return windows.single() if self._takes_single_frames() else windows.every(windows.truth.shape[1])

    def _takes_single_frames(self) -> bool:
        return self.steps_taken() < self.single_frames

    def steps_taken(self) -> int:
        """Return how many steps each optimiser has taken."""
        return self._batches() // self.accumulate

    def weight_of(self, name: str) -> float:
        """Return the weight of a loss at this step, 0 if it has not begun."""
        waits = name in SEQUENCE_LOSSES and self._takes_single_frames()
        return 0.0 if waits else self.losses.weight(name, self.steps_taken())

    def weighted(self, terms: Mapping[str, Callable[[], Tensor]]) -> dict[str, Tensor]:
        """Return the losses that have begun, each times its weight.

        Args:
            terms: how each is computed, by name.
        """
        weights = {name: self.weight_of(name) for name in terms}
        return {name: weights[name] * term() for name, term in terms.items() if weights[name] > 0}

    def discriminator_losses(self, windows: Windows, frames: Tensor) -> dict[str, Tensor]:
        """Return the discriminator's side of Eq. 6.12, by name.

        Args:
            windows: the training windows.
            frames: (N, 5, 3, h, w), what was generated of them.
        """
        if self.discriminator is None:
            return {}
        if not self._gan_has_begun():
            # A parameter that takes no part in a step's loss would be an error on several processes.
            return {"discriminator": 0 * torch.stack([each.sum() for each in self.discriminator.parameters()]).sum()}
        fake = windows.outside_true(frames.detach())
        return self.discriminator_terms(
            self.discriminator, self._seen(windows.truth, windows), self._seen(fake, windows)
        )

    def gan_term(self, windows: Windows, frames: Tensor) -> Tensor:
        """Return the generator's side of Eq. 6.12."""
        return self.adversarial_loss(self.discriminator(self._seen(windows.outside_true(frames), windows)))

    def _seen(self, frames: Tensor, windows: Windows) -> Tensor:
        seen = self.judged.seen(frames, windows.mask, self.view.mask)
        weight = next(self.discriminator.parameters())
        return seen.to(weight.dtype, memory_format=self.memory_format)

    def _gan_has_begun(self) -> bool:
        return self.weight_of("gan") > 0

    def sync_term(self, windows: Windows, frames: Tensor) -> Tensor:
        """Return L_sync, Eq. 6.10, of frames (N, 5, 3, h, w): the SyncNet sees whole faces with them in place."""
        self.call_experts()
        assert self.sync_expert is not None
        faces = self.view.pasted(windows.faces, frames, windows.mask)
        return sync_loss(sync_logits(self.sync_expert, faces, windows.mel))

    def perceptual_term(self, windows: Windows, frames: Tensor) -> Tensor:
        """Return L_lpips, Eq. 6.11, of frames (N, 5, 3, h, w) whose rest is true."""
        self.call_experts()
        assert self.perceptual_distance is not None
        ours, truth = windows.outside_true(frames).flatten(0, 1), windows.truth.flatten(0, 1)
        ours, truth = as_in(self.perceptual_distance, ours, truth)
        return perceptual_loss(ours, truth, self.perceptual_distance)

    @override
    def on_before_optimizer_step(self, optimizer: torch.optim.Optimizer) -> None:
        """Clip the gradients, and leave a discriminator alone that has not begun: zeros would move Adam's averages."""
        super().on_before_optimizer_step(optimizer)
        if self.discriminator is not None and not self._gan_has_begun():
            own = {id(each) for each in self.discriminator.parameters()}
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if id(parameter) in own:
                        parameter.grad = None
