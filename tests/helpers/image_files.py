"""Image files of every awkward kind, small and deterministic."""

from pathlib import Path

import numpy as np
from PIL import Image


def pixels(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Return uint8 noise."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def save_photo(path: Path, width: int = 40, height: int = 30, seed: int = 0) -> Path:
    """Write an RGB noise image in the format of its suffix, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels(height, width, seed=seed)).save(path)
    return path


def save_photos(root: Path, count: int, width: int = 40, height: int = 30) -> list[Path]:
    """Write ``count`` different photographs in two sub-folders."""
    return [save_photo(root / f"bucket{k % 2}" / f"{k:03d}.png", width, height, seed=k) for k in range(count)]


def truncate(path: Path, share: float = 0.5) -> Path:
    """Cut a file off."""
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def save_awkward(path: Path) -> Path:
    """Write the readable but unusual image that the stem of ``path`` names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = Image.fromarray(pixels(24, 36))
    images = {
        "greyscale": lambda: noise.convert("L"),
        "cmyk": lambda: noise.convert("CMYK"),
        "sixteen_bit": lambda: Image.fromarray(pixels(24, 36)[..., 0].astype(np.uint16) * 257),
        "palette": lambda: noise.convert("P"),
        "bilevel": lambda: noise.convert("1"),
        "transparent": lambda: Image.fromarray(pixels(24, 36, 4)),
        "grey_transparent": lambda: Image.fromarray(pixels(24, 36, 4)).convert("LA"),
        "one_pixel": lambda: noise.crop((0, 0, 1, 1)),
        "thin": lambda: noise.resize((1, 300)),
        "animated": lambda: noise.convert("P"),
    }
    images[path.stem]().save(path)
    return path


AWKWARD = [
    "greyscale.png",
    "greyscale.jpg",
    "cmyk.jpg",
    "sixteen_bit.png",
    "sixteen_bit.tif",
    "palette.png",
    "bilevel.png",
    "transparent.png",
    "grey_transparent.png",
    "one_pixel.png",
    "thin.png",
    "animated.gif",
]
