"""How far a mouth is open, read from the pixels of a face, and whether a dubbed mouth follows the sound."""

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 32  # pixels of the faces that are read; larger ones are averaged, which does not matter for a mouth
MOST_FRAMES = 500  # that a readout is fitted to
LEAST_FRAMES = 10
BLOCKS = 10  # of frames side by side, each of which is read by a readout that has not seen it
PENALTIES = 41  # that are tried, from a hundred-thousandth to ten times the variance of the pixels
STILL = 1e-6  # range, of openings in [0, 1], within which a mouth stands still
FIGURES = ("r driving", "r own", "amplitude")


class MouthReadout:
    """Reads the opening of one person's mouth from a part of the faces, as a linear function of the pixels.

    It is fitted to the true frames of one clip by ridge regression, whose penalty is that of the least generalised
    cross-validation error (G. Golub et al., Technometrics 1979), and then reads generated frames of the same clip: no
    network over people reads a mouth as well as this. How well it reads is told by frames that it has not seen. It has
    to look at generated pixels alone: a chin or a cheek beside them still moves with the mouth that was there.

    Args:
        faces: (T, 3, S, S) uint8, true frames, at least 10.
        opening: (T,) of their mouths, in any unit.
        where: (S, S) bool, the pixels that it looks at; the lower half if None.

    Attributes:
        held_out: (T,) float64, the opening of each frame as read from the others, those around it left out as well.
        reliability: correlation of ``held_out`` and the truth.
        scale: standard deviation of ``held_out`` in that of the truth, 1 or less: a penalty shrinks what is read. 0
            where the mouth of the clip stands still.
    """

    def __init__(self, faces: Tensor, opening: Tensor, where: Tensor | None = None):
        self._where = where
        every = max(1, -(-len(faces) // MOST_FRAMES))
        pixels, truth = pixels_of(faces[::every], where), opening.to(faces.device)[::every].double()
        self._mean, self._weights, self._level = _fitted(pixels, truth)
        self.held_out = torch.empty_like(truth)
        for block in torch.arange(len(truth), device=truth.device).tensor_split(BLOCKS):
            others = torch.ones(len(truth), dtype=torch.bool, device=truth.device)
            others[block] = False
            mean, weights, level = _fitted(pixels[others], truth[others])
            self.held_out[block] = (pixels[block] - mean) @ weights + level
        self.reliability = correlation(self.held_out, truth)
        self.scale = 0.0 if stands_still(truth) else float(self.held_out.std() / truth.std())

    def read(self, faces: Tensor) -> Tensor:
        """Return the opening (T,) float64 of the mouths of faces (T, 3, S, S) uint8, in the unit of the truth."""
        return (pixels_of(faces, self._where) - self._mean) @ self._weights + self._level


def pixels_of(faces: Tensor, where: Tensor | None = None) -> Tensor:
    """Return the pixels (T, D) float64 in [0, 1] of a part of faces, averaged where these are larger than 32 pixels.

    Args:
        faces: (T, 3, S, S) uint8.
        where: (S, S) bool; the lower half if None.
    """
    side = faces.shape[-1]
    if where is None:
        where = (torch.arange(side, device=faces.device) >= side // 2)[:, None].expand(side, side)
    rows, columns = (where.any(axis).nonzero().flatten() for axis in (1, 0))
    if not len(rows):
        return faces.new_zeros(len(faces), 0, dtype=torch.float64)
    part = slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    seen = (faces * where)[..., *part].double() / 255
    if side > SIDE:
        height, width = (max(1, round(length * SIDE / side)) for length in seen.shape[-2:])
        seen = F.adaptive_avg_pool2d(seen, (height, width))
    return seen.flatten(1)


def _fitted(pixels: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the mean (D,), the weights (D,) and the level of the readout of pixels (T, D) to openings (T,)."""
    mean, level = pixels.mean(0), truth.mean()
    centred = pixels - mean
    # In as many dimensions as there are frames, of which there are fewer than pixels.
    values, vectors = torch.linalg.eigh(centred @ centred.T)
    values = values.clamp(min=0)
    projected = vectors.T @ (truth - level)
    penalties = torch.logspace(-5, 1, PENALTIES, dtype=values.dtype, device=values.device) * values.sum() / len(truth)
    left = penalties[:, None] / (values + penalties[:, None] + torch.finfo(values.dtype).tiny)
    error = (left * projected).square().mean(1) / left.mean(1).square()
    best = int(error.nan_to_num(torch.inf).argmin())
    solved = vectors @ (projected / (values + penalties[best] + torch.finfo(values.dtype).tiny))
    return mean, centred.T @ solved, level


def dubbed_opening(reading: Tensor, driving: Tensor, own: Tensor, scale: float = 1.0) -> dict[str, Tensor]:
    """Return what a dubbed mouth does.

    Args:
        reading: (T,) its opening.
        driving: (T,) true opening of the mouth that the sound is from.
        own: (T,) true opening of the mouth of the video.
        scale: by which readings are too small, see `MouthReadout`; the unit of ``driving``.

    Returns:
        Scalars float64: "r driving" and "r own", correlations with either mouth, 0 where one of both stands still;
        "amplitude", the standard deviation of the opening in that of the driving mouth. NaN: too few frames, and of
        the amplitude a driving mouth or a video that stands still. Between two mouths that have nothing to do with each
        other, a clip of 60 frames has correlations of about 0.2 either way; only the mean over clips says something.
    """
    nan = reading.new_tensor(torch.nan, dtype=torch.float64)
    if len(reading) < LEAST_FRAMES:
        return dict.fromkeys(FIGURES, nan)
    reading, driving, own = (each.double() for each in (reading, driving, own))
    amplitude = nan
    if scale > 0 and not stands_still(driving):
        amplitude = nan.new_zeros(()) if stands_still(reading) else reading.std() / scale / driving.std()
    figures = nan.new_tensor(correlation(reading, driving)), nan.new_tensor(correlation(reading, own)), amplitude
    return dict(zip(FIGURES, figures, strict=True))


def correlation(first: Tensor, second: Tensor) -> float:
    """Return Pearson's correlation of two series (T,), 0 if either stands still."""
    if stands_still(first) or stands_still(second):
        return 0.0
    first, second = (each.double() - each.double().mean() for each in (first, second))
    return float((first @ second) / (first.norm() * second.norm()))


def stands_still(series: Tensor) -> bool:
    """Return whether a series (T,) of openings does not change."""
    return not len(series) or float(series.max() - series.min()) <= STILL
