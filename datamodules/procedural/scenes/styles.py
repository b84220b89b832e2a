"""Scenes in another style: as a line drawing, without colour, in bad weather, or in flat colours.

What COCO-O is to COCO: objects and places stay, and with them all annotations. Everything is a pure function of the
scene and of its random numbers.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from datamodules.procedural.scenes.scenes import Float, Scene

LUMINANCE = np.array([0.299, 0.587, 0.114])
INK, PAPER = 0.12, 0.97


def in_style(scene: Scene, style: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture (H, W, 3) uint8 RGB of a scene in one of ``STYLES``.

    Args:
        scene: as rendered.
        style: its name.
        rng: the picture's random numbers.
    """
    return (STYLES[style](scene, rng).clip(0, 1) * 255).round().astype(np.uint8)


def outlines(scene: Scene) -> NDArray[np.bool_]:
    """Return (H, W) bool: the pixels at which an object or a part of one ends at the right or below."""
    regions = 256 * scene.instances.astype(int) + scene.parts
    edges = np.zeros(regions.shape, bool)
    edges[:, :-1] |= regions[:, 1:] != regions[:, :-1]
    edges[:-1] |= regions[1:] != regions[:-1]
    return edges


def _sketch(scene: Scene, rng: np.random.Generator) -> Float:
    """Pencil on paper: outlines, and strokes where the picture changes quickly."""
    grey = _blurred(scene.image) @ LUMINANCE
    strokes = np.hypot(*np.gradient(grey)) * 4
    strokes[outlines(scene)] = 1
    pressure = rng.uniform(0.8, 1.0) * strokes.clip(0, 1)
    drawn = PAPER - (PAPER - INK) * pressure + rng.normal(0, 0.02, grey.shape)
    return np.repeat(drawn[..., None], 3, axis=2)


def _grey(scene: Scene, rng: np.random.Generator) -> Float:
    """A photograph without colour, with grain."""
    grey = scene.image / 255 @ LUMINANCE + rng.normal(0, 0.03, scene.image.shape[:2])
    return np.repeat(grey[..., None], 3, axis=2)


def _weather(scene: Scene, rng: np.random.Generator) -> Float:
    """Fog that is denser above, and slanting rain or snow in front of it."""
    size = scene.image.shape[0]
    rows, columns = np.indices((size, size)) / size
    fog = (rng.uniform(0.35, 0.6) * (1.2 - 0.5 * rows))[..., None]
    seen = scene.image / 255 * (1 - fog) + rng.uniform(0.7, 0.85) * fog
    slant, width = rng.uniform(-0.4, 0.4), 1 / size
    for _ in range(int(rng.integers(40, 70))):
        x, y, length = rng.uniform(-0.2, 1.2), rng.uniform(0, 1), rng.choice([1.5 * width, 0.15])
        along = (rows >= y) & (rows < y + length)
        seen[along & (np.abs(columns - x - slant * (rows - y)) < width)] += rng.uniform(0.15, 0.35)
    return seen


def _cartoon(scene: Scene, rng: np.random.Generator) -> Float:
    """Every part in one strong colour, a background of few colours, and dark outlines."""
    drawn = (_blurred(scene.image, 3.0) * 5).round() / 5
    regions = 256 * scene.instances.astype(int) + scene.parts
    for region in np.unique(regions[scene.instances > 0]):
        inside = regions == region
        colour = scene.image[inside].mean(0) / 255
        drawn[inside] = colour.mean() + rng.uniform(1.3, 1.7) * (colour - colour.mean())
    drawn[outlines(scene)] = INK
    return drawn


def _blurred(image: NDArray[np.uint8], radius: float = 0.7) -> Float:
    return np.asarray(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius))) / 255


STYLES: dict[str, Callable[[Scene, np.random.Generator], Float]] = {
    "sketch": _sketch,
    "grey": _grey,
    "weather": _weather,
    "cartoon": _cartoon,
}
