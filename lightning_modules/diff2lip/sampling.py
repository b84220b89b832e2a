"""Going back from noise to frames with DDIM, and with guidance by sound."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor

from lightning_modules.diff2lip.diffusion import Noise
from visionscapes.checks import Bounds, NonNegativeFloat, PositiveInt, check_options


@dataclass(frozen=True)
class SamplingOptions:
    """How frames are sampled.

    Args:
        steps: of DDIM (25 of 6.2.2), at most the steps of the training.
        spacing: "leading" ends at t = 0 and begins below T, as in the authors' code; "trailing" begins at T - 1, where
            all is noise, and ends above 0.
        noise_seed: of the noise that frames are made of.
        noise: of a video's frames: "shared" by all, as in the authors' code, which keeps mouths from shaking; "mixed",
            half of the variance shared; or "independent". Own noise is a function of the seed and the frame's number.
        guidance: how far beyond what is predicted without sound; 1 for none (6.2), else ``dropout`` of the audio has to
            be trained with.
        batch: frames at a time; it makes no difference to what comes out.

    Raises:
        UserError: an option out of its bounds.
    """

    steps: Annotated[int, Bounds(least=1, most=1000)] = 25
    spacing: Literal["leading", "trailing"] = "leading"
    noise_seed: Annotated[int, Bounds(least=0)] = 7
    noise: Noise = "shared"
    guidance: NonNegativeFloat = 1.0
    batch: PositiveInt = 32

    def __post_init__(self) -> None:
        check_options(SamplingOptions, vars(self))


class SamplingStep(NamedTuple):
    """A step of a sampling.

    Attributes:
        step: t.
        noised: (T, 3, h, w), x_t before it.
        sample: (T, 3, h, w), what it estimates of the frames, in [-1, 1].
        before: (T, 3, h, w), x at the step before, which it leads to; after the last step the frames.
    """

    step: int
    noised: Tensor
    sample: Tensor
    before: Tensor


class Trace(NamedTuple):
    """Some steps of a sampling, as in figure 6.11.

    Attributes:
        steps: t of each of K, falling.
        noised: (K, T, 3, h, w) in units of [-1, 1], x_t.
        samples: (K, T, 3, h, w) in [-1, 1], the estimates of the frames at these steps.
    """

    steps: list[int]
    noised: Tensor
    samples: Tensor


Predict = Callable[[Tensor, int], Tensor]


def sampled(predict: Predict, noise: Tensor, scheduler: DDIMScheduler) -> Iterator[SamplingStep]:
    """Yield the steps from noise to frames.

    Args:
        predict: what the network predicts of x_t (T, 3, h, w) at t; channels beyond three are variances.
        noise: (T, 3, h, w), x_T.
        scheduler: DDIM with its steps set.
    """
    noised = noise
    for step in scheduler.timesteps.tolist():
        prediction = predict(noised, step)[:, : noise.shape[1]].float()
        before, sample = scheduler.step(  # Eq. 6.8
            prediction, step, noised, eta=0.0, use_clipped_model_output=True, return_dict=False
        )
        yield SamplingStep(step, noised, sample=sample, before=before)
        noised = before


def guided(predict: Predict, without: Predict | None, guidance: float) -> Predict:
    """Return predictions that go beyond those without sound: without + guidance (with - without).

    Args:
        predict: with sound.
        without: without; None where there is no guidance.
        guidance: how far; 1 for what is predicted with sound.
    """
    if without is None or guidance == 1:
        return predict
    return lambda noised, step: torch.lerp(without(noised, step), predict(noised, step), guidance)


def chosen(stages: list[SamplingStep], count: int) -> Trace:
    """Return ``count`` of the steps of a sampling, or all if there are less, at uniform intervals, with both ends."""
    last = len(stages) - 1
    places = sorted({round(place * last / max(count - 1, 1)) for place in range(count)}) if last else [0]
    kept = [stages[place] for place in places]
    return Trace(
        [stage.step for stage in kept],
        torch.stack([stage.noised for stage in kept]),
        torch.stack([stage.sample for stage in kept]),
    )
