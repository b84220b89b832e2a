"""Faces: drawn people with identity, pose and expression, and exact ground truth.

Everything is a function of (seed, index), but for the stochastic detail: strands of hair and brows and grain of the
skin also depend on ``texture``. Faces of one structure with other textures have the same labels, landmarks and smooth
colours, so the true spread of every pixel is known. A face of 64 x 64 pixels costs about five milliseconds.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.procedural.faces.drawing import Drawing, draw_face
from datamodules.procedural.faces.identities import (
    Expression,
    Identity,
    Pose,
    sample_expression,
    sample_identity,
    sample_pose,
    sample_view,
)
from datamodules.procedural.faces.textures import Strands, freckles, grain
from datamodules.procedural.scenes.scenes import generator

# Streams of random numbers, apart from those of the other worlds.
IDENTITY, POSE, EXPRESSION, SETTING, TEXTURE = 11, 12, 13, 14, 15
TEXTURES = 16  # the streams of textures are TEXTURE, TEXTURE + 16, ...


@dataclass(frozen=True)
class Face:
    """A rendered face with its ground truth; S = size.

    Attributes:
        image: (S, S, 3) uint8 RGB.
        labels: (S, S) uint8, one of ``face_drawing.Label``, the 19 classes of CelebAMask-HQ.
        landmarks: (68, 2) float32 xy pixels in the order of iBUG 300-W; (0, 0) is the upper left corner of the picture,
            and points may lie outside it or under hair, hat and glasses.
    """

    image: NDArray[np.uint8]
    labels: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


def render_face(
    seed: int,
    index: int,
    size: int = 64,
    texture: int = 0,
    identity: Identity | None = None,
    pose: Pose | None = None,
    expression: Expression | None = None,
) -> Face:
    """Render face ``index``.

    Args:
        seed: of the world.
        index: of the face; any non-negative integer.
        size: side of the square picture in pixels.
        texture: number of the stochastic detail; any non-negative integer.
        identity: who it is, instead of that of (seed, index); `face_identity` gives the one of another face.
        pose: how the head is turned, instead of that of (seed, index).
        expression: what the face does, instead of that of (seed, index).
    """
    drawing = _drawing(seed, index, size, identity, pose, expression)
    return Face(next(_textured(drawing, seed, index, [texture])), drawing.labels, drawing.landmarks)


def render_textures(seed: int, index: int, size: int, textures: Iterable[int]) -> NDArray[np.uint8]:
    """Render face ``index`` with T textures, (T, size, size, 3) uint8 RGB; arguments as `render_face`."""
    return np.stack(list(_textured(_drawing(seed, index, size), seed, index, textures)))


def render_smooth(
    seed: int,
    index: int,
    size: int = 64,
    identity: Identity | None = None,
    pose: Pose | None = None,
    expression: Expression | None = None,
) -> NDArray[np.float32]:
    """Return the mean of a face over all textures, (size, size, 3) float32 in [0, 1]; arguments as `render_face`."""
    return _drawing(seed, index, size, identity, pose, expression).smooth.astype(np.float32)


def face_identity(seed: int, index: int) -> Identity:
    """Return the person that `render_face` shows for (seed, index)."""
    return sample_identity(generator(seed, index, IDENTITY))


def _drawing(
    seed: int,
    index: int,
    size: int,
    identity: Identity | None = None,
    pose: Pose | None = None,
    expression: Expression | None = None,
) -> Drawing:
    return draw_face(
        identity or face_identity(seed, index),
        pose or sample_pose(generator(seed, index, POSE)),
        expression or sample_expression(generator(seed, index, EXPRESSION)),
        sample_view(generator(seed, index, SETTING)),
        size,
    )


def _textured(drawing: Drawing, seed: int, index: int, textures: Iterable[int]) -> Iterator[NDArray[np.uint8]]:
    """Yield the picture with every texture."""
    size = drawing.labels.shape[0]
    strands = Strands(drawing.angle)
    for texture in textures:
        rng = generator(seed, index, TEXTURE + TEXTURES * texture)
        image = drawing.smooth + drawing.strands * strands.draw(rng)[..., None]
        image += drawing.pores * grain(rng, size)[..., None]
        if drawing.freckles.any():
            image += drawing.freckles * freckles(rng, size)[..., None]
        yield (image.clip(0, 1) * 255).round().astype(np.uint8)
