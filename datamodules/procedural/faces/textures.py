"""Stochastic detail of faces: strands of hair and grain of skin, as fine as the pixels allow.

Both are zero on average over the draws and hold little power below half the Nyquist frequency, so what a face looks
like on average, and everything smooth about it, does not depend on them.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Float = NDArray[np.floating]

REACH = 3  # a strand is correlated over this many pixels either way along its direction
BOUND = 2.0  # strands and grain are cut at this many standard deviations, so colours can leave room for them
# Standard deviations of what is computed below from unit noise, measured; strands differ by 5 % with their direction.
STRAND_SCALE, GRAIN_SCALE = 0.7, 0.865
SPECKS = 0.06  # share of the pixels that start a freckle


class Strands:
    """Streaks along a field of directions: white noise, averaged along them and freed of its smooth part.

    This is line integral convolution (Cabral and Leedom 1993) with straight lines.

    Args:
        angle: (S, S) direction of the strand at every pixel, radians.
    """

    def __init__(self, angle: Float):
        self.size = angle.shape[0]
        side = self.size + 2 * REACH
        # Steps of one pixel along the longer of the two axes, so that no pixel counts twice.
        across, along = np.cos(angle), np.sin(angle)
        longer = np.maximum(np.abs(across), np.abs(along))
        across, along = across / longer, along / longer
        rows, columns = np.ogrid[REACH : self.size + REACH, REACH : self.size + REACH]
        middle = rows * side + columns
        steps = range(-REACH, REACH + 1)
        shifts = [(np.rint(step * along) * side + np.rint(step * across)).astype(np.intp) for step in steps]
        self.cells = middle + np.stack(shifts)
        weights = 1.0 - np.abs(np.arange(-REACH, REACH + 1)) / (REACH + 1)
        self.weights = (weights / np.sqrt((weights**2).sum())).astype(np.float32)

    def draw(self, rng: np.random.Generator) -> Float:
        """Return (S, S) float32 of about unit standard deviation, at most ``BOUND`` from 0."""
        noise = rng.standard_normal((self.size + 2 * REACH) ** 2, np.float32)
        streaks = np.tensordot(self.weights, noise[self.cells], 1)
        return _detail(streaks, STRAND_SCALE)


def grain(rng: np.random.Generator, size: int) -> Float:
    """Return pores of the skin (size, size) float32 of about unit standard deviation, at most ``BOUND`` from 0."""
    return _detail(rng.standard_normal((size, size), np.float32), GRAIN_SCALE)


def freckles(rng: np.random.Generator, size: int) -> Float:
    """Return (size, size) float32 in [-1, 1] with dark spots of about a pixel, 0 on average over the draws."""
    spots = (rng.random((size, size), np.float32) < SPECKS).astype(np.float32)
    return gaussian_filter(spots, 1.0, mode="nearest") - spots


def _detail(values: Float, scale: float) -> Float:
    """Return ``values`` without their smooth part, over ``scale``."""
    return np.clip((values - gaussian_filter(values, 1.0, mode="nearest")) / scale, -BOUND, BOUND)
