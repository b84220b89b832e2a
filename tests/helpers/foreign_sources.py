"""Worlds of sources that share nothing with the embedded one: renderers, resampling, codecs and sensors, as folders."""

import io
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SIDE = 64  # pixels
KERNELS = {name: Image.Resampling[name.upper()] for name in ("nearest", "bilinear", "hamming", "bicubic", "lanczos")}
Random = np.random.Generator
Renderer = Callable[[Random, int], Image.Image]
Process = Callable[[Random, Image.Image], Image.Image]


def _picture(values: np.ndarray) -> Image.Image:
    return Image.fromarray(values.clip(0, 255).round().astype(np.uint8))


def _waves(rng: Random, side: int) -> Image.Image:
    """Sums of plane waves of falling strength, a colour each."""
    y, x = np.mgrid[:side, :side] / side
    values = np.full((side, side, 3), 128.0) + rng.normal(0, 25, 3)
    for _ in range(14):
        frequency, angle = 1.5 * 2 ** rng.uniform(-1, 3), rng.uniform(0, np.pi)
        phase = 2 * np.pi * (frequency * (np.cos(angle) * x + np.sin(angle) * y) + rng.uniform())
        values += np.sin(phase)[..., None] * rng.normal(0, 60 / frequency**0.7, 3)
    return _picture(values)


def _shapes(rng: Random, side: int, round_ones: bool) -> Image.Image:
    """Discs or polygons of one colour each, drawn large and reduced."""
    image = Image.new("RGB", (3 * side, 3 * side), tuple(rng.integers(30, 226, 3)))
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(6, 16)):
        centre, size, colour = rng.uniform(0, 3 * side, 2), rng.uniform(0.2, 1.2) * side, tuple(rng.integers(0, 256, 3))
        if round_ones:
            draw.ellipse([*(centre - size / 2), *(centre + size / 2)], fill=colour)
        else:
            draw.polygon([tuple(centre + rng.uniform(-size, size, 2) / 1.5) for _ in range(4)], fill=colour)
    return image.resize((side, side), Image.Resampling.BOX)


def _cells(rng: Random, side: int) -> Image.Image:
    """Cells of Voronoi with shading."""
    points, colours = rng.uniform(0, side, (rng.integers(8, 24), 2)), rng.uniform(30, 225, (24, 3))
    places = np.stack(np.mgrid[:side, :side], -1)[..., None, :]
    apart = np.linalg.norm(places - points, axis=-1)
    return _picture(colours[apart.argmin(-1)] - 3 * apart.min(-1)[..., None])


def _clouds(rng: Random, side: int) -> Image.Image:
    """Octaves of smooth noise."""
    values = np.zeros((side, side, 3))
    for octave in range(2, 7):
        grid = rng.normal(0, 90 / 1.7**octave, (2**octave, 2**octave, 3))
        planes = [Image.fromarray(grid[..., c].astype(np.float32)) for c in range(3)]
        values += np.stack([np.asarray(p.resize((side, side), Image.Resampling.BICUBIC)) for p in planes], -1)
    return _picture(128 + 1.6 * values + rng.normal(0, 30, 3))


RENDERERS: dict[str, Renderer] = {
    "waves": _waves,
    "discs": partial(_shapes, round_ones=True),
    "polygons": partial(_shapes, round_ones=False),
    "cells": _cells,
    "clouds": _clouds,
}


def _resampled(rng: Random, image: Image.Image, kernel: str, factor: float) -> Image.Image:
    inner = round(SIDE / factor)
    return image.resize((inner, inner), Image.Resampling.BOX).resize((SIDE, SIDE), KERNELS[kernel])


def _reduced(rng: Random, image: Image.Image, kernel: str, factor: float) -> Image.Image:
    return image.resize((round(SIDE * factor),) * 2, Image.Resampling.LANCZOS).resize((SIDE, SIDE), KERNELS[kernel])


def _compressed(rng: Random, image: Image.Image, quality: int, subsampling: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality, subsampling=subsampling)
    return Image.open(file).convert("RGB")


def _noisy(rng: Random, image: Image.Image, kind: str, strength: float) -> Image.Image:
    values = np.asarray(image, float)
    match kind:
        case "white":
            noise = strength * rng.normal(size=values.shape)
        case "grey":
            noise = strength * rng.normal(size=(SIDE, SIDE, 1))
        case "rows":
            noise = strength * rng.normal(size=(SIDE, 1, 1))
        case "shot":
            noise = strength / 11 * np.sqrt(values) * rng.normal(size=values.shape)
        case "blotches":
            coarse = rng.normal(0, strength, (SIDE // 2, SIDE // 2, 3))
            noise = coarse.repeat(2, 0).repeat(2, 1)
        case _:  # salt and pepper
            hit = rng.uniform(size=(SIDE, SIDE, 1)) < strength / 250
            noise = np.where(hit, rng.choice([-255, 255], hit.shape), 0)
    return _picture(values + noise)


def _filtered(rng: Random, image: Image.Image, kind: str) -> Image.Image:
    match kind:
        case "sharp":
            return image.filter(ImageFilter.UnsharpMask(1.5, 160, 0))
        case "blur":
            return image.filter(ImageFilter.GaussianBlur(1.0))
        case "median":
            return image.filter(ImageFilter.MedianFilter(3))
        case "palette":
            return image.quantize(24, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")
        case "posterised":
            return image.point([32 * (value // 32) + 16 for value in range(256)] * 3)
        case _:  # the grid of a transposed convolution
            y, x = np.indices((SIDE, SIDE))
            return _picture(np.asarray(image) * (1 + 0.08 * ((x % 2 == 0) ^ (y % 2 == 0)) - 0.04)[..., None])


def _processes(rng: Random) -> dict[str, Process]:
    """Return one process of every kind by name, with strengths that a world draws."""
    found: dict[str, Process] = {"plain": lambda rng, image: image}
    factor = {kernel: rng.choice([1.5, 2.0, 3.0]) for kernel in KERNELS}
    for kernel in KERNELS:
        found[f"{kernel}_up"] = partial(_resampled, kernel=kernel, factor=factor[kernel])
    found["nearest_down"] = partial(_reduced, kernel="nearest", factor=2.5)
    for quality in rng.choice([15, 30, 50, 70], 2, replace=False):
        found[f"jpeg_{quality}"] = partial(_compressed, quality=int(quality), subsampling=int(rng.choice([0, 2])))
    for kind in ("white", "grey", "rows", "shot", "blotches", "pepper"):
        found[f"{kind}_noise"] = partial(_noisy, kind=kind, strength=rng.uniform(5, 12))
    for kind in ("sharp", "blur", "median", "palette", "posterised", "grid"):
        found[kind] = partial(_filtered, kind=kind)
    return found


def write_world(
    root: Path, seed: int, known: int = 6, unknown: int = 4, least: int = 60, most: int = 100, new: int = 20
) -> list[str]:
    """Write <root>/labelled and <root>/discovery with ``known`` sources in both and ``unknown`` in the second alone.

    A source is a process with a name, on pictures of a renderer that half of the sources share; each has ``least`` to
    ``most`` pictures in a part. <root>/new has pictures of all that are in neither.

    Args:
        root: an empty folder.
        seed: of the world.
        known: sources that are labelled.
        unknown: sources to be found.
        least: pictures of a source in a part.
        most: likewise.
        new: pictures of a source in <root>/new.

    Returns:
        The names of the unknown sources.
    """
    rng = np.random.default_rng(seed)
    processes = _processes(rng)
    chosen = rng.permutation(sorted(processes))[: known + unknown]
    shared = rng.choice(sorted(RENDERERS))
    for place, process in enumerate(chosen):
        renderer = shared if place % 2 else rng.choice(sorted(RENDERERS))
        parts = {"discovery": rng.integers(least, most, endpoint=True), "new": new}
        if place < known:
            parts["labelled"] = rng.integers(least, most, endpoint=True)
        for part, count in parts.items():
            folder = root / part / f"{process}_{renderer}"
            folder.mkdir(parents=True)
            for number in range(count):
                picture = processes[process](rng, RENDERERS[renderer](rng, SIDE))
                picture.save(folder / f"{number:03d}.png")
    return sorted(path.name for path in (root / "discovery").iterdir() if not (root / "labelled" / path.name).exists())
