"""The diffusion process: how frames are noised, and what a prediction says of the frame before (6.2.1.1)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NamedTuple, Self

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn
from typing_extensions import override

from networks.sync_network import precise
from visionscapes.checks import PositiveInt, check_options
from visionscapes.seeding import derived_seed

Prediction = Literal["eps", "v", "sample"]
Clamp = Literal["hard", "soft", "none"]
Noise = Literal["shared", "mixed", "independent"]
_NAMES = {"eps": "epsilon", "v": "v_prediction", "sample": "sample"}  # of diffusers
FIRST_BETA, LAST_BETA = 1e-4, 0.02  # of the authors' code; linear between


@dataclass(frozen=True)
class DiffusionOptions:
    """What is predicted of noised frames, and what the losses on the estimate of the frame itself see.

    Args:
        steps: T (6.2.2).
        prediction: "eps", the noise (6.2.1.1), "v" (Salimans & Ho, ICLR 2022) or "sample", the frame itself, which the
            thesis says "leads to worse image quality".
        clamp: of the estimate of a frame that the losses on it see: "hard" to [-1, 1], as in sampling, has no gradient
            beyond, where most of an estimate from "eps" is at large t; "soft" grows as the logarithm there; or "none",
            which magnifies errors of "eps" by up to 157.
        noise: "independent" for every frame of a training window (6.2.1.2), "shared" by its frames, or "mixed", half of
            the variance each (Ge et al., "Preserve your own correlation", ICCV 2023).

    Raises:
        UserError: an option out of its bounds.
    """

    steps: PositiveInt = 1000
    prediction: Prediction = "eps"
    clamp: Clamp = "hard"
    noise: Noise = "independent"

    def __post_init__(self) -> None:
        check_options(DiffusionOptions, vars(self))


class Unmixed(NamedTuple):
    """What a prediction says of noised frames.

    Attributes:
        sample: (N, 3, h, w), of the frames themselves, not clamped.
        noise: (N, 3, h, w), that was added to them.
    """

    sample: Tensor
    noise: Tensor


class Diffusion(nn.Module):
    """The noise scales of T steps, and the equations that need them.

    The scales stay in float32 whatever the module is converted to.

    Args:
        options: T and what is predicted.

    Attributes:
        alphas: (T,) float32, the cumulative products that the thesis calls alpha-bar.
    """

    alphas: Tensor

    def __init__(self, options: DiffusionOptions = DiffusionOptions()):
        super().__init__()
        self.options = options
        self._make_constants(torch.get_default_device())

    def _make_constants(self, device: torch.device) -> None:
        alphas = self.scheduler(1).alphas_cumprod if device.type != "meta" else torch.empty(self.options.steps)
        self.register_buffer("alphas", alphas.to(device), persistent=False)

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._make_constants(self.alphas.device)
        return self

    def scheduler(self, steps: int, spacing: str = "leading") -> DDIMScheduler:
        """Return DDIM over some of the T steps, which it goes backwards by Eq. 6.8.

        Its ``step`` is to be called with ``use_clipped_model_output``: the noise in Eq. 6.8 then is the one that leads
        to the clipped estimate of the frame, as in the authors' code.

        Args:
            steps: to go, at most T.
            spacing: "leading" ends at t = 0, "trailing" begins at t = T - 1.
        """
        with torch.device("cpu"):
            scheduler = DDIMScheduler(
                self.options.steps,
                beta_start=FIRST_BETA,
                beta_end=LAST_BETA,
                beta_schedule="linear",
                clip_sample=True,
                set_alpha_to_one=True,
                steps_offset=0,
                prediction_type=_NAMES[self.options.prediction],
                timestep_spacing=spacing,
            )
            scheduler.set_timesteps(steps)
        return scheduler

    def at(self, step: Tensor) -> Tensor:
        """Return alpha-bar (..., 1, 1, 1) at steps (...)."""
        return self.alphas[step][..., None, None, None]

    def noised(self, sample: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Return x_t: a draw from N(sqrt(alpha-bar) x_0, (1 - alpha-bar) I), Eq. 6.5, written as Eq. 6.6.

        Args:
            sample: (..., 3, h, w), x_0.
            noise: of the same shape, from N(0, I).
            step: (...) int64, t; leading dimensions are those of the sample, or 1.
        """
        return self.at(step).sqrt() * sample + (1 - self.at(step)).sqrt() * noise  # Eq. 6.6

    def target(self, sample: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Return what is to be predicted of frames that were `noised`: the noise, v, or the frame."""
        if self.options.prediction == "eps":
            return noise
        if self.options.prediction == "sample":
            return sample
        return self.at(step).sqrt() * noise - (1 - self.at(step)).sqrt() * sample

    def estimate(self, prediction: Tensor, noised: Tensor, step: Tensor) -> Unmixed:
        """Return x_0 and the noise that a prediction means: Eq. 6.6, solved for what was not predicted (6.2.1.3).

        Args:
            prediction: (..., 3, h, w), see `target`.
            noised: (..., 3, h, w), x_t.
            step: (...) int64, t.
        """
        signal, noise = self.at(step).sqrt(), (1 - self.at(step)).sqrt()
        prediction = precise(prediction)
        if self.options.prediction == "eps":
            return Unmixed((noised - noise * prediction) / signal, prediction)
        if self.options.prediction == "sample":
            return Unmixed(prediction, (noised - signal * prediction) / noise)
        return Unmixed(signal * noised - noise * prediction, signal * prediction + noise * noised)

    def clamped(self, sample: Tensor) -> Tensor:
        """Return an estimate of frames as the losses on it see it, see ``clamp`` of `DiffusionOptions`."""
        if self.options.clamp == "hard":
            return sample.clamp(-1, 1)
        return soft_clamp(sample) if self.options.clamp == "soft" else sample


def step_back(noised: Tensor, noise: Tensor, alphas: tuple[Tensor, Tensor]) -> Tensor:
    """Return x_{t-1} of x_t and the noise in it, Eq. 6.8, which DDIM's scheduler computes by way of x_0.

    Args:
        noised: x_t.
        noise: as it was predicted.
        alphas: alpha-bar at t and at the step before.
    """
    now, before = alphas
    ratio = before / now
    return ratio.sqrt() * noised + ((1 - before).sqrt() - (ratio * (1 - now)).sqrt()) * noise  # Eq. 6.8


def soft_clamp(sample: Tensor) -> Tensor:
    """Return values as they are in [-1, 1] and sign(x) (1 + log |x|) beyond, whose slope 1 / |x| never is zero."""
    size = sample.abs()
    return torch.where(size <= 1, sample, sample.sign() * (1 + size.clamp(min=1).log()))


def combined(shared: Tensor, own: Tensor, kind: Noise) -> Tensor:
    """Return noise of unit variance of which frames have nothing, half of the variance, or all in common.

    Args:
        shared: (..., 1, 3, h, w), or with less leading dimensions.
        own: (..., F, 3, h, w).
        kind: see `DiffusionOptions`.
    """
    if kind == "shared":
        return shared.expand_as(own)
    return own if kind == "independent" else (shared + own) / 2**0.5


def window_noise(like: Tensor, kind: Noise) -> Tensor:
    """Return noise for windows (N, F, 3, h, w) out of torch's own generator."""
    own = torch.randn_like(like, dtype=torch.float32)
    return own if kind == "independent" else combined(torch.randn_like(own[:, :1]), own, kind)


def frame_noise(shape: tuple[int, int], index: Tensor, *, seed: int, kind: Noise) -> Tensor:
    """Return the noise (T, 3, h, w) that frames of a video are made of, a function of their numbers and of the seed.

    Args:
        shape: h and w.
        index: (T,) int64, numbers of the frames in their video.
        seed: of the video's noise.
        kind: how much of it frames have in common.
    """
    shared = _drawn(shape, seed)
    if kind == "shared":
        return shared.expand(len(index), -1, -1, -1)
    own = torch.stack([_drawn(shape, derived_seed(seed, frame)) for frame in index.tolist()])
    return combined(shared, own, kind)


def _drawn(shape: tuple[int, int], seed: int) -> Tensor:
    random = torch.Generator("cpu").manual_seed(seed)
    return torch.randn(3, *shape, generator=random, device="cpu")
