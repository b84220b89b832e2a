"""The label map of a face, and the canvas on which face and label map are painted together."""

import math
from enum import IntEnum
from typing import Protocol

import numpy as np
from PIL import Image, ImageDraw

from datamodules.procedural.faces.geometry import Float
from datamodules.procedural.faces.identities import Colour

OVERSAMPLING = 4  # of outlines, a side


class Label(IntEnum):
    """The labels of CelebAMask-HQ in its official order.

    ``l_`` and ``r_`` of eyes, brows and ears are the viewer's left and right here; whether the data set means the
    viewer's or the person's has not been checked on its files. ``l_lip`` is the lower lip, ``ear_r`` an earring and
    ``neck_l`` a necklace.
    """

    BACKGROUND = 0
    SKIN = 1
    NOSE = 2
    EYE_G = 3
    L_EYE = 4
    R_EYE = 5
    L_BROW = 6
    R_BROW = 7
    L_EAR = 8
    R_EAR = 9
    MOUTH = 10
    U_LIP = 11
    L_LIP = 12
    HAIR = 13
    HAT = 14
    EAR_R = 15
    NECK_L = 16
    NECK = 17
    CLOTH = 18


class Surface(Protocol):
    """What faces can be painted on: as `Canvas` paints."""

    size: int

    def paint(
        self,
        *outlines: Float,
        colour: Colour | Float,
        label: Label | None = None,
        shade: Float | None = None,
        opacity: float = 1.0,
        within: Label | None = None,
    ) -> None:
        """Paint an outline; see `Canvas.paint`."""

    def tint(self, colour: Colour | Float, strength: Float, within: Label) -> None:
        """Multiply the colours of a label; see `Canvas.tint`."""


class Canvas:
    """A picture that is being painted, with its label map."""

    def __init__(self, ground: Float):
        self.size = ground.shape[0]
        self.image = ground.astype(np.float32)
        self.labels = np.zeros((self.size, self.size), np.uint8)

    def cover(self, *outlines: Float) -> tuple[tuple[slice, slice], Float]:
        """Return a window and how much of its pixels outlines (N, 2), xy pixels, cover; a second one is a hole."""
        (x0, y0), (x1, y1) = outlines[0].min(0).tolist(), outlines[0].max(0).tolist()
        left, top = (min(max(math.floor(low), 0), self.size - 1) for low in (x0, y0))
        right, bottom = (min(max(math.ceil(high), low + 1), self.size) for high, low in ((x1, left), (y1, top)))
        mask = Image.new("L", ((right - left) * OVERSAMPLING, (bottom - top) * OVERSAMPLING))
        draw = ImageDraw.Draw(mask)
        for points, value in zip(outlines, (255, 0), strict=False):
            draw.polygon((points * OVERSAMPLING - self._corner(left, top)).ravel().tolist(), fill=value)
        pixels = np.frombuffer(mask.reduce(OVERSAMPLING).tobytes(), np.uint8).reshape(bottom - top, right - left)
        return (slice(top, bottom), slice(left, right)), pixels * np.float32(1 / 255)

    @staticmethod
    def _corner(left: int, top: int) -> tuple[float, float]:
        """Return what takes oversampled pixels to a window's; Pillow counts from the middle of the first pixel."""
        return left * OVERSAMPLING + 0.5, top * OVERSAMPLING + 0.5

    def paint(
        self,
        *outlines: Float,
        colour: Colour | Float,
        label: Label | None = None,
        shade: Float | None = None,
        opacity: float = 1.0,
        within: Label | None = None,
    ) -> None:
        """Paint an outline (N, 2), xy pixels, with a second one as its hole.

        Args:
            outlines: one or two.
            colour: (3,) RGB in [0, 1].
            label: what is there from now on; None leaves the label map as it is.
            shade: (S, S) factor on the colour.
            opacity: share of the colour in the result.
            within: paint only over this label.
        """
        window, share = self.cover(*outlines)
        if within is not None:
            share = share * (self.labels[window] == within)
        if label is not None:
            self.labels[window][share > 0.5] = label
        painted: Float = np.array(colour, np.float32)
        if shade is not None:
            painted = painted * shade[window][..., None]
        painted = painted - self.image[window]
        painted *= (share if opacity == 1 else share * np.float32(opacity))[..., None]
        self.image[window] += painted

    def tint(self, colour: Colour | Float, strength: Float, within: Label) -> None:
        """Multiply the colours of a label by ``colour``, by ``strength`` (S, S) in [0, 1]."""
        share = strength * (self.labels == within)
        self.image *= 1 + share[..., None] * (np.array(colour, np.float32) - 1)
