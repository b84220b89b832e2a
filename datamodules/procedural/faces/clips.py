"""Clips: many frames of one person who talks, whose head sways and whose eyes blink, as cheap as frames can be.

A frame is drawn as `faces.render_face` draws a face. What frames share is made once: the person, the background, the
grids, and the strands of the hair and the grain of the skin, which turn and shift with the head. Outlines beyond the
picture are passed over. A frame of 64 x 64 pixels costs about 3 ms.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.procedural.faces.canvas import Label
from datamodules.procedural.faces.drawing import (
    BARE,
    BROW_CONTRAST,
    FRECKLES,
    GRAIN,
    Shades,
    background,
    draw_face,
    paint_face,
)
from datamodules.procedural.faces.faces import SETTING, TEXTURE, face_identity
from datamodules.procedural.faces.film import Script, develop
from datamodules.procedural.faces.geometry import Float, FramePlacement
from datamodules.procedural.faces.identities import Expression, FaceView, Identity, Pose, sample_view
from datamodules.procedural.faces.motion import Motion, sample_motion
from datamodules.procedural.faces.textures import Strands, freckles, grain
from datamodules.procedural.scenes.scenes import generator

MOTION = 19  # stream of random numbers, apart from those of the other worlds
CLOSE_UP, CLOSE_SCALE = (0.5, 0.41), 0.36  # middle and scale of a face that fills the picture
MARGIN = 0.15  # of the texture around the picture, as a share of its side, so that a turned head has some everywhere
DEPTH = 0.35  # of the texture: that of the temples
AT_ONCE = 100_000  # pixels of frames that are painted together: few enough to stay in the processor's cache
MOST_DETAIL = 0.4  # strength of texture that a byte can hold


@dataclass(frozen=True)
class FaceClip:
    """Frames of one person, T of them at 25 a second; S = size.

    Attributes:
        images: (T, S, S, 3) uint8 RGB.
        landmarks: (T, 68, 2) float32 xy pixels in the order of iBUG 300-W; they may lie outside the picture.
    """

    images: NDArray[np.uint8]
    landmarks: NDArray[np.float32]


def render_clip(
    seed: int,
    index: int,
    opening: Float,
    spread: Float,
    size: int = 64,
    close: bool = True,
    identity: Identity | None = None,
) -> FaceClip:
    """Render a person who talks.

    Args:
        seed: of the world.
        index: of the person; any non-negative integer.
        opening: (T,) of the mouth in [0, 1], at 25 frames a second; 0 is shut.
        spread: (T,) how wide the mouth is, in [-1, 1]; negative is rounded.
        size: side of the square frames in pixels.
        close: whether the face fills the frame; else there are head and shoulders, as in `faces.render_face`.
        identity: who it is, instead of that of (seed, index).
    """
    view = sample_view(generator(seed, index, SETTING))
    painter = FramePainter(
        identity or face_identity(seed, index),
        replace(view, centre=CLOSE_UP, scale=CLOSE_SCALE) if close else view,
        size,
        rng=generator(seed, index, TEXTURE),
    )
    motion = sample_motion(generator(seed, index, MOTION), len(opening))
    return painter.render(motion, opening, spread)


class FramePainter:
    """Draws frames of one person in one place.

    Args:
        identity: who it is and what it wears.
        view: where it is and how it is lit.
        size: S, side of the frames in pixels.
        rng: random numbers of the texture.
    """

    def __init__(self, identity: Identity, view: FaceView, size: int, *, rng: np.random.Generator):
        self.identity, self.view, self.size = identity, view, size
        self.ground = background(view, size)
        # The light stays where it is, and a head that sways a little is lit as one that does not.
        self.shades = Shades.of(view, *FramePlacement(Pose(), view, size).frame(size))
        self.margin = round(MARGIN * size)
        self.texture = self._texture(rng)
        strengths = np.zeros((len(Label), 2), np.float32)  # of strands and of the skin's grain, by label
        strengths[[Label.HAIR, Label.L_BROW, Label.R_BROW], 0] = 1, BROW_CONTRAST, BROW_CONTRAST
        strengths[list(BARE), 1] = 1
        self.strengths = strengths * np.float32(MOST_DETAIL / 127)

    def render(self, motion: Motion, opening: Float, spread: Float) -> FaceClip:
        """Return the frames of a motion with a mouth that opens and spreads, (T,) each."""
        expressions = [
            replace(expression, mouth=float(mouth), spread=float(width))
            for expression, mouth, width in zip(motion.expressions, opening, spread, strict=True)
        ]
        images, marks = [], []
        at_once = max(1, AT_ONCE // self.size**2)
        for first in range(0, len(expressions), at_once):
            some = slice(first, first + at_once)
            frames, landmarks = self.frames(motion.poses[some], expressions[some])
            images.append(frames)
            marks.append(landmarks)
        return FaceClip(np.concatenate(images), np.concatenate(marks))

    def frames(
        self, poses: Sequence[Pose], expressions: Sequence[Expression]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Return F frames (F, S, S, 3) uint8 RGB and their landmarks (F, 68, 2) float32."""
        return self.labelled(poses, expressions)[:2]

    def labelled(
        self, poses: Sequence[Pose], expressions: Sequence[Expression]
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.uint8]]:
        """Return what `frames` returns, and the label maps of the frames (F, S, S) uint8."""
        places = [FramePlacement(pose, self.view, self.size) for pose in poses]
        scripts = [Script(self.size) for _ in places]
        landmarks = [
            paint_face(script, self.identity, expression, place=place, shades=self.shades, light=self.view.light)
            for script, expression, place in zip(scripts, expressions, places, strict=True)
        ]
        images, labels = develop(self.ground, scripts)
        strength = self.strengths[labels]
        detail = np.stack([self._turned(place) for place in places])
        images += strength[..., :1] * detail[..., :1]
        images += strength[..., 1:] * detail[..., 1:]
        np.clip(images, 0, 1, out=images)
        images *= 255
        images += 0.5
        return images.astype(np.uint8), np.stack(landmarks).astype(np.float32), labels

    def _texture(self, rng: np.random.Generator) -> Image.Image:
        """Return the texture of the head that looks ahead, four bytes a pixel: of the strands, and RGB of the skin."""
        side = self.size + 2 * self.margin
        centre = [(share * self.size + self.margin) / side for share in self.view.centre]
        wider = replace(self.view, centre=(centre[0], centre[1]), scale=self.view.scale * self.size / side)
        drawing = draw_face(self.identity, Pose(), Expression(), wider, side)
        strands = Strands(drawing.angle).draw(rng) * self.identity.hair.contrast
        skin = GRAIN * grain(rng, side)[..., None] + np.zeros(3)
        if drawing.freckles.any():
            x, y = FramePlacement(Pose(), wider, side).frame(side)
            where = self.identity.freckles * np.exp(-((x / 0.8) ** 2) - ((y - 0.3) / 0.3) ** 2)
            skin += FRECKLES * (where * freckles(rng, side))[..., None] * np.array([0.7, 1.0, 1.0])
        detail = np.concatenate([strands[..., None], skin], -1) / MOST_DETAIL
        return Image.fromarray((detail.clip(-1, 1) * 127 + 128).round().astype(np.uint8), "CMYK")

    def _turned(self, place: FramePlacement) -> Float:
        """Return the texture (S, S, 4) as the head is turned, in 127ths of ``MOST_DETAIL``."""
        (a, b), (c, d) = place.turn.T.tolist()  # the inverse
        pivot = place.centre + place.neck * place.scale
        x, y = pivot - place.turn.T @ pivot - DEPTH * place.shift * place.scale + self.margin
        turned = self.texture.transform(
            (self.size, self.size), Image.Transform.AFFINE, (a, b, x, c, d, y), Image.Resampling.BILINEAR
        )
        return np.asarray(turned, np.float32) - 128
