"""Kinds of picture content on which generators leave their fingerprints: what is shown, not who made it.

Every kind is a pure function of (seed, number). Faces, portraits and rooms are simple drawings, painted for a block of
pictures at once; objects, textures, crowds and nights are drawn by the modules of the scenes; photographs are crops of
the pictures that come with scikit-image and scikit-learn.
"""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from datamodules.procedural.scenes.crowds import Crowd, render_crowd
from datamodules.procedural.scenes.photographs import render_crop
from datamodules.procedural.scenes.scenes import background, generator, render_scene
from datamodules.procedural.scenes.subjects import render_subject

CONTENT = 8  # stream of random numbers, apart from those of scenes, crops and crowds


def render_contents(kind: str, seed: int, numbers: Sequence[int], size: int) -> Tensor:
    """Return what pictures of a kind show, (B, 3, size, size) float32 in [0, 1].

    Args:
        kind: one of ``KINDS``.
        seed: of the world.
        numbers: of the B pictures; any non-negative integers.
        size: side in pixels.
    """
    return KINDS[kind](seed, numbers, size).clamp(0, 1)


class PictureBlock:
    """A block of B pictures that are painted together; lengths and places are shares of the side.

    Args:
        draws: (B, N) numbers in [0, 1) out of which the pictures take what differs between them.
        colours: (B, 3) of the ground.
        size: side in pixels.
    """

    def __init__(self, draws: Tensor, colours: Tensor, size: int):
        self.draws, self.size, self.taken = draws, size, 0
        self.image = colours[:, :, None, None].repeat(1, 1, size, size)
        middle = (torch.arange(size) + 0.5) / size
        self.x, self.y = middle[None, None, :], middle[None, :, None]

    def between(self, low: float, high: float) -> Tensor:
        """Return the next number of every picture, (B, 1, 1) in [low, high)."""
        self.taken += 1
        return low + (high - low) * self.draws[:, self.taken - 1, None, None]

    def colour(self, saturation: tuple[float, float], value: tuple[float, float], hue: tuple[float, float] = (0, 1)):
        """Return a colour of every picture, (B, 3), from ranges of hue, saturation and value."""
        return hsv(*(self.between(*each)[:, 0, 0] for each in (hue, saturation, value)))

    def ellipse(self, x: Tensor, y: Tensor, width: Tensor, height: Tensor) -> Tensor:
        """Return (B, size, size) in [0, 1], how much of a pixel an ellipse covers, by its middle and half its axes."""
        radius = torch.sqrt(((self.x - x) / width) ** 2 + ((self.y - y) / height) ** 2)
        return ((1 - radius) * torch.minimum(width, height) * self.size + 0.5).clamp(0, 1)

    def box(self, left: Tensor, top: Tensor, right: Tensor, bottom: Tensor) -> Tensor:
        """Return (B, size, size) in [0, 1], how much of a pixel a rectangle covers."""
        across = torch.minimum(self.x - left, right - self.x)
        along = torch.minimum(self.y - top, bottom - self.y)
        return (torch.minimum(across, along) * self.size + 0.5).clamp(0, 1)

    def paint(self, cover: Tensor, colour: Tensor, pattern: Tensor | float = 1.0) -> None:
        """Lay a colour (B, 3), times a pattern (B, size, size), over what ``cover`` says."""
        painted = colour[:, :, None, None] * (pattern[:, None] if isinstance(pattern, Tensor) else pattern)
        self.image += cover[:, None] * (painted - self.image)


def hsv(hue: Tensor, saturation: Tensor, value: Tensor) -> Tensor:
    """Return colours (B, 3) by hue, saturation and value (B,), each in [0, 1]."""
    place = (hue[:, None] + torch.tensor([0.0, 2 / 3, 1 / 3])) % 1.0 * 6
    return value[:, None] * (1 - saturation[:, None] * (1 - ((place - 3).abs() - 1).clamp(0, 1)))


def _block(seed: int, numbers: Sequence[int], kind: int, draws: int, cells: int) -> tuple[Tensor, Tensor]:
    """Return draws (B, draws) in [0, 1) and grids of noise (B, 3, cells, cells) in [-1, 1]."""
    rows = [generator(seed, number, CONTENT + 16 * kind).random(draws + 3 * cells**2, np.float32) for number in numbers]
    values = torch.from_numpy(np.stack(rows))
    return values[:, :draws], values[:, draws:].view(-1, 3, cells, cells) * 2 - 1


def _noise(grid: Tensor, size: int) -> Tensor:
    """Return smooth noise (B, size, size) in about [-1, 1] from a grid (B, cells, cells)."""
    return F.interpolate(grid[:, None], (size, size), mode="bicubic", align_corners=False)[:, 0]


def _faces(seed: int, numbers: Sequence[int], size: int, close: bool) -> Tensor:
    """Draw faces; ``close`` ones fill the picture, in front of a calm ground and with finer hair."""
    cells = 48
    draws, grids = _block(seed, numbers, int(close), 60, cells)
    canvas = PictureBlock(draws, hsv(draws[:, 57], 0.1 + 0.5 * draws[:, 58], 0.25 + 0.6 * draws[:, 59]), size)
    coarse, fine = _noise(grids[:, 0, :6, :6], size), _noise(grids[:, 1], size)
    strands = _noise(grids[:, 2, : 6 if close else 9], size)
    canvas.image *= (1 + 0.3 * coarse + (0.05 if close else 0.2) * fine)[:, None]
    x, y = canvas.between(0.42, 0.58), canvas.between(0.48, 0.56)
    width = canvas.between(0.24, 0.29) if close else canvas.between(0.17, 0.23)
    height = width * canvas.between(1.2, 1.45)
    turn = canvas.between(-0.2, 0.2) * width
    skin = canvas.colour((0.25, 0.6), (0.45, 0.95), (0.03, 0.1))
    hair = canvas.colour((0.2, 0.7), (0.1, 0.75), (0.03, 0.14))
    shirt = canvas.colour((0.1, 0.8), (0.2, 0.9))
    down = canvas.between(0.0, 0.35)
    hair_pattern = 1 + 0.35 * strands
    canvas.paint(canvas.ellipse(x, y - 0.1 * height + down * height, width * 1.3, height * 1.15), hair, hair_pattern)
    canvas.paint(canvas.ellipse(x, y + 1.9 * height, width * 2.1, height * 1.0), shirt, 1 + 0.25 * fine)
    canvas.paint(canvas.ellipse(x, y + height, width * 0.5, height * 0.5), skin * 0.85)
    shade = 1 + canvas.between(-0.3, 0.3) * (canvas.x - x) / width + 0.06 * fine
    canvas.paint(canvas.ellipse(x, y, width, height), skin, shade)
    canvas.paint(
        canvas.ellipse(x, y - height * 0.95, width * 0.95, height * canvas.between(0.2, 0.5)), hair, hair_pattern
    )
    apart, lift = width * canvas.between(0.36, 0.46), height * canvas.between(0.1, 0.2)
    open_, iris = canvas.between(0.4, 0.75), canvas.colour((0.3, 0.8), (0.2, 0.6))
    for side in (-1, 1):
        eye = x + turn + side * apart
        canvas.paint(canvas.ellipse(eye, y - lift, width * 0.2, width * 0.2 * open_), torch.full_like(skin, 0.92))
        canvas.paint(canvas.ellipse(eye + turn * 0.2, y - lift, width * 0.1, width * 0.12), iris)
        canvas.paint(canvas.ellipse(eye, y - lift - width * 0.32, width * 0.26, width * 0.07), hair * 0.8)
    nose = canvas.between(0.15, 0.3)
    canvas.paint(canvas.ellipse(x + turn, y + height * nose, width * 0.14, width * 0.1), skin * 0.75)
    smile, mouth = canvas.between(0.05, 0.16), canvas.colour((0.4, 0.7), (0.4, 0.8), (0.95, 1.0))
    canvas.paint(
        canvas.ellipse(x + turn * 0.7, y + height * 0.52, width * canvas.between(0.25, 0.42), width * smile), mouth
    )
    return canvas.image


def _rooms(seed: int, numbers: Sequence[int], size: int) -> Tensor:
    """Draw rooms: a wall with a window and a frame, a floor of boards, and a bed with pillows."""
    draws, grids = _block(seed, numbers, 2, 80, 32)
    canvas = PictureBlock(draws, hsv(draws[:, 77], 0.05 + 0.35 * draws[:, 78], 0.45 + 0.45 * draws[:, 79]), size)
    coarse, fine = _noise(grids[:, 0, :5, :5], size), _noise(grids[:, 1], size)
    grain = _noise(grids[:, 2, :, :4], size)
    canvas.image *= (1 + 0.2 * coarse + 0.06 * fine)[:, None]
    zero, one = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    horizon = canvas.between(0.55, 0.7)
    depth = (canvas.y - horizon).clamp(min=0.02)
    boards = torch.sin(canvas.between(8, 20) * (canvas.x - canvas.between(0.2, 0.8)) / (depth + 0.3) * 2)
    wood = canvas.colour((0.2, 0.6), (0.3, 0.75), (0.04, 0.12))
    canvas.paint(canvas.box(-one, horizon, 2 * one, 2 * one), wood, 1 + 0.15 * boards + 0.12 * grain)
    left, top = canvas.between(0.05, 0.6), canvas.between(0.06, 0.2)
    width, height = canvas.between(0.18, 0.3), canvas.between(0.2, 0.32)
    frame, sky = canvas.colour((0.0, 0.3), (0.6, 1.0)), canvas.colour((0.05, 0.5), (0.75, 1.0), (0.5, 0.65))
    canvas.paint(canvas.box(left - 0.02, top - 0.02, left + width + 0.02, top + height + 0.02), frame)
    canvas.paint(canvas.box(left, top, left + width, top + height), sky, 1 + 0.15 * coarse)
    middle = left + width * canvas.between(0.4, 0.6)
    canvas.paint(canvas.box(middle - 0.01, top, middle + 0.01, top + height), frame)
    x, y = (left + canvas.between(0.4, 0.6)) % 1, canvas.between(0.15, 0.3)
    canvas.paint(canvas.box(x - 0.07, y - 0.06, x + 0.07, y + 0.06), canvas.colour((0.1, 0.7), (0.1, 0.5)))
    canvas.paint(
        canvas.box(x - 0.05, y - 0.04, x + 0.05, y + 0.04), canvas.colour((0.2, 0.9), (0.4, 0.9)), 1 + 0.5 * fine
    )
    x, half = canvas.between(0.3, 0.7), canvas.between(0.2, 0.3)
    head = horizon - canvas.between(0.08, 0.2)
    canvas.paint(
        canvas.box(x - half, head, x + half, horizon + 0.2), canvas.colour((0.2, 0.7), (0.2, 0.7)), 1 + 0.2 * grain
    )
    sheet, cover = canvas.colour((0.0, 0.3), (0.7, 1.0)), canvas.colour((0.2, 0.9), (0.3, 0.9))
    canvas.paint(canvas.box(x - half * 1.05, horizon, x + half * 1.05, horizon + 0.3), sheet, 1 + 0.05 * fine)
    stripes = torch.sin(canvas.between(30, 70) * (canvas.x + canvas.between(-0.5, 0.5) * canvas.y))
    fold = horizon + canvas.between(0.06, 0.12)
    pattern = 1 + canvas.between(0.0, 0.3) * stripes + 0.12 * fine
    canvas.paint(canvas.box(x - half * 1.08, fold, x + half * 1.08, horizon + 0.33), cover, pattern)
    pillow = canvas.colour((0.0, 0.5), (0.6, 1.0))
    for side in (-0.5, 0.5):
        canvas.paint(canvas.ellipse(x + side * half, horizon + zero, half * 0.36, 0.045 * one), pillow, 1 + 0.08 * fine)
    return canvas.image


def _one_by_one(draw: Callable[[int, int, int], NDArray[np.uint8]]) -> Callable[[int, Sequence[int], int], Tensor]:
    """Return the kind of pictures that ``draw(seed, number, size)`` gives one at a time, (size, size, 3) uint8."""

    def render(seed: int, numbers: Sequence[int], size: int) -> Tensor:
        images = np.stack([draw(seed, number, size) for number in numbers])
        return torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255

    return render


def _texture(seed: int, number: int, size: int) -> NDArray[np.uint8]:
    """Draw two textures that meet, with a pattern over them."""
    rng = generator(seed, number, CONTENT + 16 * 3)
    canvas = background(rng, size)
    x, y = (np.arange(size) + 0.5)[None] / size, (np.arange(size) + 0.5)[:, None] / size
    waves = [np.sin(rng.uniform(15, 90) * (x * np.cos(a) + y * np.sin(a))) for a in rng.uniform(0, np.pi, 2)]
    canvas = canvas * (1 + rng.uniform(0.1, 0.4) * waves[0] * (waves[1] if rng.random() < 0.5 else 1))[..., None]
    return (canvas.clip(0, 1) * 255).round().astype(np.uint8)


def _night(seed: int, number: int, size: int) -> NDArray[np.uint8]:
    """Draw a scene in the dark with some lamps."""
    rng = generator(seed, number, CONTENT + 16 * 4)
    canvas = render_scene(seed, number, size, tail=0.0).image / 255 * rng.uniform(0.2, 0.4) * [0.8, 0.9, 1.1]
    rows, columns = np.mgrid[:size, :size] / size
    for _ in range(int(rng.integers(2, 6))):
        distance = np.hypot(columns - rng.uniform(), rows - rng.uniform(0, 0.7))
        lamp = np.array([1.0, rng.uniform(0.7, 0.95), rng.uniform(0.3, 0.8)])
        canvas = canvas + (np.exp(-((distance / 0.02) ** 2)) + 0.35 * np.exp(-distance / 0.1))[..., None] * lamp
    return (canvas.clip(0, 1) * 255).round().astype(np.uint8)


KINDS: dict[str, Callable[[int, Sequence[int], int], Tensor]] = {
    "faces": lambda seed, numbers, size: _faces(seed, numbers, size, close=False),
    "portraits": lambda seed, numbers, size: _faces(seed, numbers, size, close=True),
    "objects": _one_by_one(lambda seed, number, size: render_subject(seed, number, size).image),
    "rooms": _rooms,
    "textures": _one_by_one(_texture),
    "photographs": _one_by_one(lambda seed, number, size: render_crop(seed, number, size)),
    "crowds": _one_by_one(lambda seed, number, size: render_crowd(seed, number, size, Crowd()).image),
    "nights": _one_by_one(_night),
}
