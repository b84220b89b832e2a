"""How the head of somebody who talks moves: it sways slowly, the eyes blink and look here and there."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.procedural.faces.identities import Expression, Pose

FRAME_RATE = 25
SWAY = (8.0, 4.0, 4.0)  # most degrees of yaw, pitch and roll
PERIODS = (2.5, 12.0)  # seconds of the waves that sway is made of
BLINK = 0.16  # seconds from an open eye to a closed one
BLINKS_APART = (1.2, 5.0)  # seconds
GLANCES_APART = (0.6, 2.5)  # seconds


@dataclass(frozen=True)
class Motion:
    """What a head does in T frames, but for its mouth.

    Attributes:
        poses: T of them.
        expressions: T of them, with a shut mouth.
    """

    poses: list[Pose]
    expressions: list[Expression]


def sample_motion(rng: np.random.Generator, frames: int) -> Motion:
    """Draw the motion of a head over some frames at 25 a second."""
    times = (np.arange(frames) + 0.5) / FRAME_RATE
    yaw, pitch, roll = (_waves(rng, times, most) for most in SWAY)
    brows = 0.2 + _waves(rng, times, 0.4)
    smile = rng.uniform(-0.1, 0.5)
    blink = _blinks(rng, times)
    gaze = _glances(rng, times)
    return Motion(
        [Pose(*map(float, pose)) for pose in zip(yaw, pitch, roll, strict=True)],
        [
            Expression(smile=smile, blink=float(closed), gaze=(float(x), float(y)), brows=float(raised))
            for closed, (x, y), raised in zip(blink, gaze, brows, strict=True)
        ],
    )


def _waves(rng: np.random.Generator, times: NDArray, most: float) -> NDArray:
    """Return a sum (T,) of three slow waves that stays within ``most`` of 0."""
    periods, phases = rng.uniform(*PERIODS, 3), rng.uniform(0, 2 * np.pi, 3)
    weights = rng.dirichlet(np.full(3, 3.0))
    return most * (np.sin(2 * np.pi * times[:, None] / periods + phases) @ weights)


def _blinks(rng: np.random.Generator, times: NDArray) -> NDArray:
    """Return how far the eyes are closed (T,), in [0, 1]."""
    closed = np.zeros(len(times))
    at = rng.uniform(0, BLINKS_APART[1])
    while at < times[-1] + BLINK:
        closed = np.maximum(closed, 1 - np.abs(times - at) / BLINK)
        at += rng.uniform(*BLINKS_APART)
    return closed


def _glances(rng: np.random.Generator, times: NDArray) -> NDArray:
    """Return where the eyes look (T, 2), each in [-1, 1]."""
    gaze = np.zeros((len(times), 2))
    at = 0.0
    while at < times[-1]:
        gaze[times >= at] = rng.uniform((-0.5, -0.25), (0.5, 0.25))
        at += rng.uniform(*GLANCES_APART)
    return gaze
