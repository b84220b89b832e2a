"""What face parsers do wrong: label maps with ragged borders, lost parts, left for right and whole regions mistaken.

The layouts of chapter 6.1 learn from the maps of a face parser, "noisy oracle segmentations"; here these are exact maps
with errors of the same kinds, so that it can be asked which of the two a learned layout is nearer to.
"""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_dilation, gaussian_filter

from datamodules.procedural.faces.canvas import Label
from datamodules.procedural.faces.geometry import Float
from datamodules.procedural.faces.identities import Pose

RAGGED, SMOOTH = 0.02, 0.04  # by how much borders are displaced, and how smoothly, as shares of the side
BLEEDS, BLEEDS_BY = 0.5, 0.05  # how often hair runs over its border somewhere, and how far, as a share of the side
LOST, MIXED_UP = 0.2, 0.35  # how often a small part is lost, and left taken for right
MISTAKEN = (0.1, 0.8)  # how often a region is mistaken: of a head that looks ahead, and of one that is turned
TURNED = 25.0  # degrees
PAIRS = ((Label.L_EYE, Label.R_EYE), (Label.L_BROW, Label.R_BROW), (Label.L_EAR, Label.R_EAR))
# What is seen where a small part is lost.
INSTEAD = {
    Label.EYE_G: Label.SKIN,
    Label.L_EYE: Label.SKIN,
    Label.R_EYE: Label.SKIN,
    Label.L_BROW: Label.SKIN,
    Label.R_BROW: Label.SKIN,
    Label.L_EAR: Label.HAIR,
    Label.R_EAR: Label.HAIR,
    Label.MOUTH: Label.L_LIP,
    Label.EAR_R: Label.HAIR,
    Label.NECK_L: Label.NECK,
}
# Regions that are taken for others.
CONFUSED = (
    (Label.NECK, Label.SKIN),
    (Label.CLOTH, Label.BACKGROUND),
    (Label.HAT, Label.HAIR),
    (Label.HAIR, Label.BACKGROUND),
    (Label.HAIR, Label.HAT),
)


def misread(labels: NDArray[np.uint8], pose: Pose, strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a label map as a face parser might give it.

    Args:
        labels: (S, S), the exact map.
        pose: of the head; parsers err more often on turned ones.
        strength: in [0, 1] of the errors; 0 makes none.
        rng: random numbers, of which as many are drawn whatever the strength.

    Returns:
        (S, S) uint8.
    """
    size = len(labels)
    seen = _ragged(labels, strength * RAGGED * size, rng)
    seen = _bled(seen, strength, rng)
    turned = min(abs(pose.yaw) / TURNED, 1.0)
    often = strength * (MISTAKEN[0] + (MISTAKEN[1] - MISTAKEN[0]) * turned)
    chance, (first, then), patch = rng.random(), CONFUSED[rng.integers(len(CONFUSED))], _blob(size, 0.2, rng)
    if chance < often:
        seen[(seen == first) & (patch > 0)] = then
    for part, instead in INSTEAD.items():
        if rng.random() < strength * LOST:
            seen[seen == part] = instead
    for left, right in PAIRS:
        if rng.random() < strength * MIXED_UP:
            taken, given = (left, right) if rng.random() < 0.5 else (right, left)
            seen[seen == taken] = given
    return seen


def _ragged(labels: NDArray[np.uint8], by: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return a map whose pixels are looked up somewhere near."""
    size = len(labels)
    rows, columns = np.ogrid[:size, :size]
    down, across = (np.rint(by * _blob(size, SMOOTH, rng)).astype(int) for _ in range(2))
    return labels[np.clip(rows + down, 0, size - 1), np.clip(columns + across, 0, size - 1)]


def _bled(labels: NDArray[np.uint8], strength: float, rng: np.random.Generator) -> NDArray[np.uint8]:
    size = len(labels)
    chance, patch = rng.random(), _blob(size, 0.15, rng)
    if chance < strength * BLEEDS:
        reached = binary_dilation(labels == Label.HAIR, iterations=max(1, round(strength * BLEEDS_BY * size)))
        labels[reached & (patch > 0.3)] = Label.HAIR
    return labels


def _blob(size: int, smooth: float, rng: np.random.Generator) -> Float:
    """Return smooth noise (size, size) of unit standard deviation."""
    noise = gaussian_filter(rng.standard_normal((size, size), np.float32), smooth * size, mode="reflect", truncate=2.5)
    return noise / max(float(noise.std()), 1e-6)
