"""The photographs that come with scikit-image and scikit-learn: real pictures without a download."""

from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.common.image_files import read_image
from datamodules.procedural.scenes.scenes import generator

TRAINING = (
    "skimage/data/astronaut.png",
    "skimage/data/chelsea.png",
    "skimage/data/rocket.jpg",
    "skimage/data/motorcycle_left.png",
    "skimage/data/hubble_deep_field.jpg",
    "skimage/data/retina.jpg",
    "sklearn/datasets/images/china.jpg",
)
HELD_OUT = ("skimage/data/coffee.png", "sklearn/datasets/images/flower.jpg", "skimage/data/ihc.png")


@cache
def photograph(name: str) -> Image.Image:
    """Return a bundled photograph, RGB, by its path below the installed packages."""
    import importlib.util

    package, _, rest = name.partition("/")
    spec = importlib.util.find_spec(package)  # without importing it
    assert spec is not None
    assert spec.origin is not None
    return read_image(Path(spec.origin).parent / rest)


def render_crop(seed: int, index: int, size: int, held_out: bool = False) -> NDArray[np.uint8]:
    """Return crop ``index`` of a photograph, (size, size, 3) uint8 RGB: a random square of 30 to 100 % of its side."""
    rng = generator(seed, index, stream=3)
    names = HELD_OUT if held_out else TRAINING
    image = photograph(names[index % len(names)])
    side = rng.uniform(0.3, 1.0) * min(image.size)
    left, top = (rng.uniform(0, length - side) for length in image.size)
    crop = image.resize((size, size), Image.Resampling.LANCZOS, box=(left, top, left + side, top + side))
    return np.asarray(crop)


def render_warp(
    seed: int, index: int, size: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Return a crop of a held-out photograph and the same crop turned, scaled and moved, with matching points.

    Returns:
        Source and target (size, size, 3) uint8 RGB, and the points (K, 2) xy in each, pixels, that show the same spot.
    """
    rng = generator(seed, index, stream=4)
    source = render_crop(seed, index, size, held_out=True)
    angle, scale = np.deg2rad(rng.uniform(-30, 30)), rng.uniform(0.8, 1.25)
    rotation = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle, shift = np.full(2, size / 2), rng.uniform(-0.1, 0.1, 2) * size
    offset = middle - rotation @ middle + shift  # source = rotation @ target + offset, as PIL wants it
    target = Image.fromarray(source).transform(
        (size, size),
        Image.Transform.AFFINE,
        (*rotation[0], offset[0], *rotation[1], offset[1]),
        Image.Resampling.BICUBIC,
    )
    wanted = rng.uniform(0.15, 0.85, (12, 2)) * size
    marked = wanted @ rotation.T + offset
    inside = ((marked > 0) & (marked < size)).all(1)
    return source, np.asarray(target), marked[inside].astype(np.float32), wanted[inside].astype(np.float32)
