"""Random views of image batches for self-supervised training, cropped and recoloured on whole batches."""

import math
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from visionscapes.checks import (
    Among,
    ImageSize,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    PositiveShare,
    check_options,
    check_rising,
)


@dataclass(frozen=True)
class Views:
    """What a batch of images looks like through V random crops.

    Attributes:
        images: V tensors (B, 3, s_v, s_v) float32 RGB in [0, 1].
        boxes: (V, B, 4) xyxy of each crop as fractions of the original image.
    """

    images: list[Tensor]
    boxes: Tensor


class RandomViews:
    """Draws large and small views of a batch.

    Args:
        large_sizes: sides in pixels; every large view draws one of them, so that a network sees several scales.
        large_views: how many.
        large_area: range of the crop's share of the image.
        small_size: side of the small views in pixels.
        small_views: how many.
        small_area: range of the crop's share of the image.
        colour: strength of brightness, contrast and saturation changes, factor 1 +- colour; hue turns by a quarter of
            it, and one view in ten loses its colours.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(
        self,
        large_sizes: list[Annotated[ImageSize, Among(1)]],
        large_views: PositiveInt = 2,
        large_area: tuple[PositiveShare, PositiveShare] = (0.3, 1.0),
        small_size: ImageSize = 32,
        small_views: NonNegativeInt = 0,
        small_area: tuple[PositiveShare, PositiveShare] = (0.05, 0.3),
        colour: NonNegativeFloat = 0.4,
    ):
        check_options(RandomViews, locals())
        check_rising(type(self), large_area=large_area, small_area=small_area)
        self.large_sizes, self.large_views, self.large_area = large_sizes, large_views, large_area
        self.small_size, self.small_views, self.small_area = small_size, small_views, small_area
        self.colour = colour

    def __call__(self, images: Tensor, generator: torch.Generator) -> Views:
        """Return views of images (B, 3, H, W) in [0, 1]; all random numbers come from the CPU ``generator``."""
        plan = [(self._large_size(generator), self.large_area) for _ in range(self.large_views)]
        plan += [(self.small_size, self.small_area)] * self.small_views
        views, boxes = [], []
        for size, area in plan:
            box = random_boxes(len(images), area, generator).to(images.device)
            views.append(recolour(crop_and_resize(images, box, size), self.colour, generator))
            boxes.append(box)
        return Views(views, torch.stack(boxes))

    def _large_size(self, generator: torch.Generator) -> int:
        return self.large_sizes[int(torch.randint(len(self.large_sizes), (1,), generator=generator))]


def random_boxes(count: int, area: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Return boxes (count, 4) xyxy in [0, 1] with a share of the image in ``area`` and aspects from 3/4 to 4/3."""
    share = torch.empty(count).uniform_(*area, generator=generator)
    aspect = torch.empty(count).uniform_(-math.log(4 / 3), math.log(4 / 3), generator=generator).exp()
    sides = torch.stack([(share * aspect).sqrt(), (share / aspect).sqrt()], 1).clamp(max=1)
    low = torch.rand(count, 2, generator=generator) * (1 - sides)
    return torch.cat([low, low + sides], 1)


def crop_and_resize(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut boxes (B, 4) xyxy in [0, 1] out of images (B, 3, H, W) and resize them bilinearly to (B, 3, size, size)."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) - 1, boxes[:, 2:] - boxes[:, :2]
    affine = torch.cat([torch.diag_embed(half), centre[:, :, None]], 2)
    grid = F.affine_grid(affine, [len(images), 3, size, size], align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def recolour(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of every image (B, 3, H, W) in [0, 1]; some turn grey."""
    count, device = len(images), images.device

    def factor() -> Tensor:
        drawn = 1 + strength * (2 * torch.rand(count, 1, 1, 1, generator=generator) - 1)
        return drawn.to(device)

    images = images * factor()
    mean = images.mean((1, 2, 3), keepdim=True)
    images = mean + (images - mean) * factor()
    grey = images.mean(1, keepdim=True)
    images = grey + (images - grey) * factor()
    angle = (2 * torch.rand(count, generator=generator) - 1) * strength / 4 * 2 * math.pi
    images = torch.einsum("bij,bjhw->bihw", hue_rotation(angle).to(device), images)
    colourless = (torch.rand(count, 1, 1, 1, generator=generator) < 0.1).to(device)
    return torch.where(colourless, images.mean(1, keepdim=True), images).clamp(0, 1)


def hue_rotation(angle: Tensor) -> Tensor:
    """Return rotations (B, 3, 3) of RGB about the grey axis by ``angle`` (B,) in radians (Rodrigues' formula)."""
    axis = torch.full((3, 3), 1 / 3)
    cross = torch.tensor([[0.0, -1, 1], [1, 0, -1], [-1, 1, 0]]) / math.sqrt(3)
    cosine, sine = angle.cos()[:, None, None], angle.sin()[:, None, None]
    return cosine * torch.eye(3) + sine * cross + (1 - cosine) * axis
