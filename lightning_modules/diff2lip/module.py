"""Diff2Lip: lip synchronisation by a diffusion model that hears (thesis chapter 6.2)."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from typing_extensions import override

from lightning_modules.adversarial import frozen
from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from lightning_modules.diff2lip.audio_network import AudioOptions
from lightning_modules.diff2lip.diffusion import Diffusion, DiffusionOptions, frame_noise, window_noise
from lightning_modules.diff2lip.dubbing import DubbingModule, ReferenceFrame
from lightning_modules.diff2lip.experts import ExpertOptions
from lightning_modules.diff2lip.exporting import diffusion
from lightning_modules.diff2lip.loss import l2_loss, simple_loss, snr_weight
from lightning_modules.diff2lip.loss_options import LossOptions
from lightning_modules.diff2lip.masks import Mask
from lightning_modules.diff2lip.mouth_view import MouthView
from lightning_modules.diff2lip.network import COLOURS, Conditions, LipNetwork, UNetOptions
from lightning_modules.diff2lip.official import load_network
from lightning_modules.diff2lip.sampling import SamplingOptions, SamplingStep, Trace, chosen, guided, sampled
from lightning_modules.diff2lip.sequence_discriminator import SequenceDiscriminatorOptions
from lightning_modules.diff2lip.windows import Frames, Windows
from lightning_modules.origin import told_by_file
from networks.face_region import FaceRegion
from networks.sync_network import precise
from visionscapes.checks import ImageSize, NonNegativeInt, check_options
from visionscapes.errors import UserError
from visionscapes.exporting.parts import Exportable
from visionscapes.options import group_of


class Denoised(NamedTuple):
    """What the network says of noised training windows.

    Attributes:
        prediction: (N, 5, 3, h, w), see ``prediction`` of `DiffusionOptions`.
        target: (N, 5, 3, h, w), what it was to be.
        frames: (N, 5, 3, h, w), the estimate of the frames themselves, clamped as the losses on it see it.
        step: (N,) int64, t.
    """

    prediction: Tensor
    target: Tensor
    frames: Tensor
    step: Tensor


class Diff2Lip(DubbingModule):
    """Gives faces the mouths of a sound: a diffusion model paints their lower halves anew, frame by frame (6.2).

    The UNet sees the noised frame, the frame with noise in place of its lower half, and another frame of the person,
    and hears the sound of the frame. In training the frames of a window share a step t of the diffusion, so that losses
    on sequences see five frames that are as noisy as each other. Values whose source is not named are those of the
    authors' code, or ours where it has none; it has no training. For the batches see `DubbingModule`.

    Args:
        face_size: S, side of the faces in pixels (6.2.2: 128).
        region: the part of a face that the network sees; the whole in the thesis.
        mask: what it generates: the "lower" half of the region (6.2.1.2), or what lies below the nose by "landmarks".
        unet: what the UNet is made of.
        audio: how sound is encoded.
        diffusion: what is predicted.
        losses: the weights of Eq. 6.13.
        experts: the frozen networks of Eq. 6.10 and 6.11.
        discriminator: of sequences, Eq. 6.12.
        adversarial: the game of Eq. 6.12.
        optimizer: Adam for both networks.
        hardware: what makes it faster.
        sampling: how faces are dubbed.
        reference: in prediction, whose face shows the person: that of the "input" frame itself, or of the "first" of
            its video. That of the input shows its own mouth, which a network has to have learned not to copy.
        single_frames: steps at the start that take one frame of each window, and so more of the data; those
            that follow take all five of a fifth of the windows. 0 for whole windows throughout, as in the thesis.
        weights: file with the weights of the network, ours or the authors', to start from or to dub with.

    Raises:
        UserError: an option out of its bounds, a size that the UNet cannot halve often enough, more steps of sampling
            than there are, guidance of a network without audio dropout, or files of weights that are missing or do not
            fit; in ``setup``, data that do not fit.
    """

    generator: LipNetwork

    def __init__(
        self,
        face_size: ImageSize = 128,
        region: FaceRegion = FaceRegion(),
        mask: Mask = "lower",
        unet: UNetOptions = UNetOptions(),
        audio: AudioOptions = AudioOptions(),
        diffusion: DiffusionOptions = DiffusionOptions(),
        losses: LossOptions = LossOptions(),
        experts: ExpertOptions = ExpertOptions(),
        discriminator: SequenceDiscriminatorOptions = SequenceDiscriminatorOptions(),
        adversarial: AdversarialOptions = AdversarialOptions(),
        optimizer: OptimizerOptions = OptimizerOptions(lr=1e-4, beta1=0.9, decay_epochs=0.0),
        hardware: HardwareOptions = HardwareOptions(),
        sampling: SamplingOptions = SamplingOptions(),
        reference: ReferenceFrame = "input",
        single_frames: NonNegativeInt = 0,
        weights: str | None = None,
    ):
        check_options(Diff2Lip, locals())
        region, unet, audio = (
            group_of(Diff2Lip, "region", region),
            group_of(Diff2Lip, "unet", unet),
            group_of(Diff2Lip, "audio", audio),
        )
        view = MouthView(face_size, region, mask)
        view.check(unet.smallest)
        super().__init__(
            LipNetwork(unet, audio),
            view,
            losses=group_of(Diff2Lip, "losses", losses),
            experts=group_of(Diff2Lip, "experts", experts),
            discriminator=group_of(Diff2Lip, "discriminator", discriminator),
            adversarial=group_of(Diff2Lip, "adversarial", adversarial),
            optimizer=group_of(Diff2Lip, "optimizer", optimizer),
            hardware=group_of(Diff2Lip, "hardware", hardware),
        )
        self.save_hyperparameters()
        self.keep_plain_hyperparameters()
        self.losses: LossOptions
        self.diffusion = Diffusion(group_of(Diff2Lip, "diffusion", diffusion))
        self.audio_dropout = audio.dropout
        self.sampling: SamplingOptions = group_of(Diff2Lip, "sampling", sampling)
        if self.sampling.steps > self.diffusion.options.steps:
            raise UserError(
                f"--model.sampling.steps is {self.sampling.steps}; there are {self.diffusion.options.steps} steps of "
                "the diffusion, --model.diffusion.steps"
            )
        if self.sampling.guidance != 1 and not audio.dropout:
            raise UserError(
                f"--model.sampling.guidance is {self.sampling.guidance}, and this network never learned to do without "
                "sound: train it with --model.audio.dropout above 0, such as 0.1, or leave the guidance at 1"
            )
        self.reference, self.chunk, self.single_frames = reference, self.sampling.batch, single_frames
        if weights is not None:
            load_network(self.generator, weights, unet)
            self.know_origin(told_by_file(weights))
            self.begin_average()

    @property
    @override
    def purpose(self) -> str:
        return f"{super().purpose} whose diffusion.prediction is {self.diffusion.options.prediction}"

    # ------------------------------------------------------------------------------------------------ training

    @override
    def training_step(self, batch: Mapping[str, Any], batch_idx: int) -> None:
        windows = self.windows_of(batch)
        denoised = self.denoise(windows)
        losses = self.discriminator_losses(windows, denoised.frames)
        with frozen(self.discriminator):
            losses |= self.generator_losses(windows, denoised)
        self.learn(losses, batch_idx, batch_size=len(batch["faces"]))

    def generator_losses(self, windows: Windows, denoised: Denoised) -> dict[str, Tensor]:
        """Return the terms of Eq. 6.13, weighted, by name; those that have not begun are left out."""
        prediction, target, frames, step = denoised
        weight = snr_weight(self.diffusion.alphas[step], self.losses.l2_weighting)
        terms = {  # Eq. 6.13, summed by `learn` of lightning_modules/adversarial.py
            "l2": lambda: l2_loss(frames, windows.truth, windows.mask, weight),
            "sync": lambda: self.sync_term(windows, frames),
            "perceptual": lambda: self.perceptual_term(windows, frames),
            "gan": lambda: self.gan_term(windows, frames),
        }
        return {"simple": simple_loss(prediction, target, windows.mask)} | self.weighted(terms)

    def denoise(self, windows: Windows) -> Denoised:
        """Return what the network says of windows at steps t, one a window, drawn uniformly (6.2.1.2)."""
        truth, kind = windows.truth, self.diffusion.options.noise
        step = torch.randint(self.diffusion.options.steps, (len(truth),)).to(truth.device)
        noise = window_noise(truth, kind)
        noised = self.diffusion.noised(truth, noise, step[:, None])
        masked = windows.outside_true(window_noise(truth, kind))
        sound = self.generator.embed(windows.frame_mel.flatten(0, 1))
        if self.audio_dropout:
            heard = (torch.rand(len(truth)) >= self.audio_dropout).to(sound)
            sound = sound * heard.repeat_interleave(truth.shape[1])[:, None]
        predicted = self.generator(
            self._laid_out(noised.flatten(0, 1)),
            step.repeat_interleave(truth.shape[1]),
            sound,
            conditions=self._conditions(
                masked.flatten(0, 1), windows.reference.flatten(0, 1), windows.mask.flatten(0, 1)
            ),
        )
        prediction = precise(predicted[:, :COLOURS]).unflatten(0, truth.shape[:2])
        estimate = self.diffusion.estimate(prediction, noised, step[:, None])
        target = self.diffusion.target(truth, noise, step[:, None])
        return Denoised(prediction, target, frames=self.diffusion.clamped(estimate.sample), step=step)

    def backbone_state(self) -> dict[str, Tensor]:
        """Return the network's weights, which ``callbacks.BackboneWriter`` keeps and ``weights`` takes."""
        return self.shown.state_dict()

    # ------------------------------------------------------------------------------------------------ dubbing

    @override
    def make(self, frames: Frames) -> Tensor:
        last: Tensor = frames.input
        for stage in self.stages(frames):
            last = stage.before
        return last

    def stages(self, frames: Frames, least: int = 1) -> Iterator[SamplingStep]:
        """Yield the steps of DDIM (Eq. 6.8) in which frames are made; sound and conditions are computed once.

        Args:
            frames: to make.
            least: steps, where ``sampling`` has fewer.
        """
        options, network = self.sampling, self.shown
        noise = frame_noise(self.view.shape, frames.numbers, seed=options.noise_seed, kind=options.noise)
        noise = self._laid_out(noise.to(frames.input.device))
        masked = torch.where(frames.mask > 0, noise, frames.input)
        conditions = self._conditions(masked, frames.reference, frames.mask)
        sound = network.embed(frames.frame_mel)

        def predict(noised: Tensor, step: int) -> Tensor:
            at = torch.full((), step, device=noised.device)
            return network(noised, at, sound, conditions=conditions)

        def without(noised: Tensor, step: int) -> Tensor:
            at = torch.full((), step, device=noised.device)
            return network(noised, at, torch.zeros_like(sound), conditions=conditions)

        scheduler = self.diffusion.scheduler(max(options.steps, least), options.spacing)
        return sampled(guided(predict, without, options.guidance), noise, scheduler)

    def exportable(self) -> list[Exportable]:
        """Return sound encoder and UNet to export, with the steps of the sampling that they are called in."""
        options, scheduler = self.sampling, self.diffusion.scheduler(self.sampling.steps, self.sampling.spacing)
        alphas, stride = scheduler.alphas_cumprod.tolist(), self.diffusion.options.steps // options.steps
        schedule = [(t, alphas[t], alphas[t - stride] if t >= stride else 1.0) for t in scheduler.timesteps.tolist()]
        about = {
            "prediction": self.diffusion.options.prediction,
            "steps": self.diffusion.options.steps,
            "guidance": options.guidance,
            "trained_on_drawn_faces": self.trained_on_drawn,
        }
        return diffusion(self.shown, self.view, schedule, about)

    @torch.no_grad()
    def trace(
        self, faces: Tensor, reference: Tensor, frame_mel: Tensor, *, steps: int = 8, landmarks: Tensor | None = None
    ) -> Trace:
        """Return how faces come out of noise (figure 6.11): x_t and the estimates of the frames at some steps.

        Args:
            faces: (T, 3, S, S) in [0, 1].
            reference: (T, 3, S, S).
            frame_mel: (T, 80, 16).
            steps: K, how many steps are shown, at uniform intervals; of the sampling's, or as many if it has fewer.
            landmarks: (T, 68, 2), for a mask that follows them.

        Raises:
            UserError: landmarks are needed and missing.
        """
        inputs = self.view.signed(faces)
        mask = self.view.masks(inputs, landmarks)
        numbers = torch.arange(len(faces))
        frames = Frames(inputs, self.view.signed(reference), mask, frame_mel=frame_mel, numbers=numbers)
        training = self.shown.training
        self.shown.eval()
        try:
            found = chosen(list(self.stages(frames, least=steps)), steps)
        finally:
            self.shown.train(training)
        noised, samples = (torch.where(mask > 0, each, inputs) for each in (found.noised, found.samples))
        return Trace(found.steps, noised, samples)

    def _conditions(self, masked: Tensor, reference: Tensor, mask: Tensor) -> Conditions:
        return Conditions(self._laid_out(masked), self._laid_out(reference), mask)

    def _laid_out(self, images: Tensor) -> Tensor:
        """Return images in the order of memory that the network is quickest with."""
        return images.to(memory_format=self.memory_format)
