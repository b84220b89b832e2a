"""What the mouth does while sounds are spoken, a pure function of the sounds and their times.

The lips go from sound to sound on the way that coarticulation leaves them: targets are smoothed over 90 ms. Shut lips
stay what they are: in silence and in p, b and m the opening is exactly 0, and it grows smoothly from there.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from datamodules.procedural.speech.phonemes import CLOSED, PHONEMES, Spoken

Float = NDArray[np.float32]

FRAME_RATE = 25
STEP = 0.005  # seconds of the grid on which targets are smoothed; the middle of every frame lies on it
SMOOTHED = 0.09  # full width at half maximum of the kernel, seconds
GATE = 0.05  # seconds in which shut lips open to what the sounds around ask for


def mouth_shapes(spoken: Sequence[Spoken], frames: int) -> tuple[Float, Float]:
    """Return opening and width of the mouth in the middle of every frame, (k + 1/2) / 25 s for frame k.

    Args:
        spoken: sounds in their order, without gaps; before and after them there is silence.
        frames: T, 25 a second.

    Returns:
        (T,) opening in [0, 1] and (T,) width in [-1, 1], float32.
    """
    times = (np.arange(frames) + 0.5) / FRAME_RATE
    steps = np.arange(round(frames / FRAME_RATE / STEP) + 1) * STEP
    opening, width = (smoothed(values, SMOOTHED) for values in targets(spoken, steps, "opening", "width"))
    at = np.rint(times / STEP).astype(int)
    gate = np.clip(_distance_to_closed(spoken, times) / GATE, 0, 1)
    opening = opening[at] * gate**2 * (3 - 2 * gate)
    return opening.clip(0, 1).astype(np.float32), width[at].clip(-1, 1).astype(np.float32)


def targets(spoken: Sequence[Spoken], times: NDArray, *attributes: str) -> list[NDArray]:
    """Return what sounds have of some attributes at some times (N,), each (N,) or (N, ...) float64."""
    ends = np.array([each.end for each in spoken])
    which = np.searchsorted(ends, times, side="right")
    sounds = [PHONEMES[each.name] for each in spoken] + [PHONEMES["_"]]
    before = spoken[0].start if spoken else 0.0
    which = np.where(times < before, len(sounds) - 1, which)
    return [np.array([getattr(sound, name) for sound in sounds], float)[which] for name in attributes]


def smoothed(values: NDArray, width: float) -> NDArray:
    """Return values (N,) or (N, C), a step of ``STEP`` apart, under a Hann kernel of a full width at half maximum."""
    count = max(round(width / STEP), 1)
    kernel = np.hanning(2 * count + 1)
    kernel /= kernel.sum()
    padded = np.pad(values, [(count, count)] + [(0, 0)] * (values.ndim - 1), mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, kernel, mode="valid")


def _distance_to_closed(spoken: Sequence[Spoken], times: NDArray) -> NDArray:
    """Return how many seconds times (N,) are from the nearest sound with shut lips; 0 within one."""
    closed = [(each.start, each.end) for each in spoken if each.name in CLOSED]
    if spoken:
        closed += [(-np.inf, spoken[0].start), (spoken[-1].end, np.inf)]
    else:
        closed = [(-np.inf, np.inf)]
    starts, ends = np.array(closed).T
    return np.maximum(starts - times[:, None], times[:, None] - ends).clip(0).min(1)
