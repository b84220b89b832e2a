"""Heads: one person in one place, seen in many poses and with many expressions, with exact ground truth.

Frames are those of a video that lie so far apart that poses and expressions have nothing to do with each other. Light,
background, clothes and the detail of hair and skin stay as they are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from datamodules.procedural.faces.clips import AT_ONCE, FramePainter
from datamodules.procedural.faces.faces import SETTING, TEXTURE, face_identity
from datamodules.procedural.faces.identities import Identity, Pose, sample_expression, sample_view
from datamodules.procedural.scenes.scenes import generator

HEAD = 21  # stream of random numbers, apart from those of the other worlds
MOST = (25.0, 15.0, 15.0)  # degrees of yaw, pitch and roll
SPREAD_OUT = 1.5  # parameter of the beta distribution of angles, of which 1 is even and 2 a parabola


@dataclass(frozen=True)
class HeadFrames:
    """F frames of one person; S = size.

    Attributes:
        images: (F, S, S, 3) uint8 RGB.
        landmarks: (F, 68, 2) float32 xy pixels in the order of iBUG 300-W; they may lie outside the picture.
        labels: (F, S, S) uint8, the 19 classes of CelebAMask-HQ, see `canvas.Label`.
        poses: F of them.
    """

    images: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    labels: NDArray[np.uint8]
    poses: Sequence[Pose]


def render_head(
    seed: int,
    index: int,
    frames: Sequence[int],
    size: int = 64,
    most_turned: float = MOST[0],
    identity: Identity | None = None,
) -> HeadFrames:
    """Render frames of a person, head and shoulders as in `faces.render_face`.

    Args:
        seed: of the world.
        index: of the person; any non-negative integer.
        frames: their numbers; any non-negative integers. On the others depends only how a few pixels at edges are
            rounded, because frames are painted together.
        size: S, side of the square frames in pixels.
        most_turned: degrees of yaw, at most, to either side, up to 25; pitch and roll are at most 0.6 as large.
        identity: who it is, instead of that of (seed, index).
    """
    painter = FramePainter(
        identity or face_identity(seed, index),
        sample_view(generator(seed, index, SETTING)),
        size,
        rng=generator(seed, index, TEXTURE),
    )
    poses, expressions = [], []
    for frame in frames:
        rng = np.random.default_rng([seed, HEAD, index, frame])
        poses.append(sample_turn(rng, most_turned / MOST[0]))
        expressions.append(replace(sample_expression(rng), spread=float(rng.uniform(-0.8, 0.8))))
    images = np.empty((len(poses), size, size, 3), np.uint8)
    landmarks, labels = np.empty((len(poses), 68, 2), np.float32), np.empty((len(poses), size, size), np.uint8)
    at_once = max(1, AT_ONCE // size**2)
    for first in range(0, len(poses), at_once):
        some = slice(first, first + at_once)
        images[some], landmarks[some], labels[some] = painter.labelled(poses[some], expressions[some])
    return HeadFrames(images, landmarks, labels, poses=poses)


def sample_turn(rng: np.random.Generator, share: float = 1.0) -> Pose:
    """Draw a pose that is turned more often and further than those of `identities.sample_pose`.

    Args:
        rng: random numbers.
        share: of the largest angles.
    """
    yaw, pitch, roll = (2 * rng.beta(SPREAD_OUT, SPREAD_OUT, 3) - 1) * MOST * np.float64(share)
    return Pose(float(yaw), float(pitch), float(roll))
