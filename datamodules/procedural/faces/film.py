"""Paints many frames at once: what a frame asks for is written down, and then done for all frames step by step.

A picture is some forty outlines, and what each costs is mostly the overhead of calls; here several frames share it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from datamodules.procedural.faces.canvas import OVERSAMPLING, Label
from datamodules.procedural.faces.geometry import Float
from datamodules.procedural.faces.identities import Colour


@dataclass(frozen=True)
class Stroke:
    """One call of `Canvas.paint`, or of `Canvas.tint` if there are no outlines.

    Attributes:
        outlines: (N, 2) xy pixels each.
        colour: (3,) RGB in [0, 1].
        label: what is there from now on.
        shade: (S, S) factor on the colour; strength of a tint.
        opacity: share of the colour in the result.
        within: paint only over this label.
    """

    outlines: tuple[Float, ...]
    colour: Colour | Float
    label: Label | None
    shade: Float | None
    opacity: float
    within: Label | None


class Script:
    """Writes down what is to be painted on a frame.

    Args:
        size: side of the frame in pixels.
    """

    def __init__(self, size: int):
        self.size = size
        self.strokes: list[Stroke] = []

    def paint(
        self,
        *outlines: Float,
        colour: Colour | Float,
        label: Label | None = None,
        shade: Float | None = None,
        opacity: float = 1.0,
        within: Label | None = None,
    ) -> None:
        """Write down an outline."""
        stroke = Stroke(outlines, colour, label, shade=shade, opacity=opacity, within=within)
        self.strokes.append(stroke)

    def tint(self, colour: Colour | Float, strength: Float, within: Label) -> None:
        """Write down a tint."""
        self.strokes.append(Stroke((), colour, None, shade=strength, opacity=1.0, within=within))


class Film:
    """Frames that are being painted together, with their label maps.

    Args:
        ground: (S, S, 3) float32 RGB in [0, 1], the background of all of them.
        frames: F of them.
    """

    def __init__(self, ground: Float, frames: int):
        self.size = ground.shape[0]
        self.images = np.tile(ground.astype(np.float32), (frames, 1, 1, 1))
        self.labels = np.zeros((frames, self.size, self.size), np.uint8)

    def paint(self, scripts: Sequence[Script]) -> None:
        """Paint frames whose scripts differ in their outlines and tints alone, one script a frame."""
        for strokes in zip(*(script.strokes for script in scripts), strict=True):
            if strokes[0].outlines:
                self._paint(strokes)
            else:
                self._tint(strokes)

    def _paint(self, strokes: Sequence[Stroke]) -> None:
        first = strokes[0]
        covered = self._cover([stroke.outlines for stroke in strokes])
        if covered is None:
            return
        window, share = covered
        if first.within is not None:
            share *= self.labels[:, *window] == first.within
        if first.label is not None:
            self.labels[:, *window][share > 0.5] = first.label
        if first.opacity != 1:
            share *= np.float32(first.opacity)
        colour: Float = np.array(first.colour, np.float32)
        if first.shade is not None:
            colour = colour * first.shade[window][..., None]
        region = self.images[:, *window]
        change = colour - region
        change *= share[..., None]
        region += change

    def _tint(self, strokes: Sequence[Stroke]) -> None:
        strength = np.stack([stroke.shade for stroke in strokes if stroke.shade is not None])
        rows, columns = (np.flatnonzero((strength > 1e-3).any(axes)) for axes in ((0, 2), (0, 1)))
        if len(rows) == 0 or len(columns) == 0:
            return
        window = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
        share = strength[:, *window] * (self.labels[:, *window] == strokes[0].within)
        self.images[:, *window] *= 1 + share[..., None] * (np.array(strokes[0].colour, np.float32) - 1)

    def _cover(self, outlines: Sequence[tuple[Float, ...]]) -> tuple[tuple[slice, slice], Float] | None:
        """Return a window and how much of its pixels every frame's outlines cover (F, h, w), as `Canvas.cover` does."""
        corners = np.array([(each[0].min(0), each[0].max(0)) for each in outlines])
        (left, top), (right, bottom) = corners[:, 0].min(0).tolist(), corners[:, 1].max(0).tolist()
        left, right = max(math.floor(left), 0), min(math.ceil(right), self.size)
        # Frames lie below each other in the mask, so each has room for what lies above and below the picture.
        top, bottom = math.floor(top), math.ceil(bottom)
        seen = slice(max(top, 0), min(bottom, self.size))
        if left >= right or seen.start >= seen.stop:
            return None
        height, width = bottom - top, right - left
        mask = Image.new("L", (width * OVERSAMPLING, height * OVERSAMPLING * len(outlines)))
        draw = ImageDraw.Draw(mask)
        for frame, each in enumerate(outlines):
            # Pillow counts from the middle of the first pixel.
            corner = (left * OVERSAMPLING + 0.5, (top - frame * height) * OVERSAMPLING + 0.5)
            for points, value in zip(each, (255, 0), strict=False):
                draw.polygon((points * OVERSAMPLING - corner).ravel().tolist(), fill=value)
        pixels = np.frombuffer(mask.reduce(OVERSAMPLING).tobytes(), np.uint8).reshape(len(outlines), height, width)
        share = pixels[:, seen.start - top : seen.stop - top] * np.float32(1 / 255)
        return (seen, slice(left, right)), share


def develop(ground: Float, scripts: Sequence[Script]) -> tuple[Float, NDArray[np.uint8]]:
    """Return pictures (F, S, S, 3) float32 and label maps (F, S, S) of some scripts.

    Args:
        ground: (S, S, 3) RGB in [0, 1], the background of all of them.
        scripts: F of them; those with strokes of one kind are painted together.
    """
    images = np.empty((len(scripts), *ground.shape), np.float32)
    labels = np.empty((len(scripts), *ground.shape[:2]), np.uint8)
    kinds: dict[tuple[object, ...], list[int]] = {}
    for index, script in enumerate(scripts):
        kind = tuple((len(stroke.outlines), stroke.label, stroke.within) for stroke in script.strokes)
        kinds.setdefault(kind, []).append(index)
    for chosen in kinds.values():
        film = Film(ground, len(chosen))
        film.paint([scripts[index] for index in chosen])
        images[chosen], labels[chosen] = film.images, film.labels
    return images, labels
