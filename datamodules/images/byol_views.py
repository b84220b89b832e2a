"""Random views as BYOL, MoCo-v3 and DINO draw them: flipped, recoloured, blurred, and some of them solarised."""

import math
from typing import Annotated

import torch
from torch import Tensor
from torch.nn import functional as F

from datamodules.images.views import RandomViews, Views, crop_and_resize, hue_rotation, random_boxes
from visionscapes.checks import Among, ImageSize, NonNegativeFloat, NonNegativeInt, PositiveShare, Share, check_options

BLUR_RADIUS = 6  # three deviations of the strongest blur
LUMA = (0.299, 0.587, 0.114)


class BYOLViews(RandomViews):
    """Draws two large views and any number of small ones, each with chances of its own.

    The defaults are MoCo-v3's two views; the chances are BYOL's (Grill et al., NeurIPS 2020, appendix B) with the
    colours of MoCo-v3 and DINO. Unlike theirs, the changes of colour come in one order, the hue turns about the grey
    axis of RGB, crops are resized bilinearly, and the blur is cut off at 6 pixels. A mirrored view keeps its box.

    Args:
        large_size: side of the two large views in pixels.
        large_area: range of the crop's share of the image.
        small_size: side of the small views in pixels.
        small_views: how many.
        small_area: range of the crop's share of the image.
        flip: chance of being mirrored.
        colour: strengths of the changes of brightness, contrast and saturation, factor 1 +- strength, and of hue, in
            turns.
        colour_chance: of any such change.
        grey: chance of losing the colours.
        blur: chances of the first large view, of the second one, and of the small ones to be blurred, with a standard
            deviation from 0.1 to 2 pixels.
        solarise: chances of the same to have bright values, from 0.5 on, inverted.

    Raises:
        UserError: ``colour`` has not four strengths, or ``blur`` or ``solarise`` not three chances.
    """

    def __init__(
        self,
        large_size: ImageSize = 224,
        large_area: tuple[PositiveShare, PositiveShare] = (0.08, 1.0),
        small_size: ImageSize = 96,
        small_views: NonNegativeInt = 0,
        small_area: tuple[PositiveShare, PositiveShare] = (0.05, 0.25),
        flip: Share = 0.5,
        colour: list[Annotated[NonNegativeFloat, Among(4, 4)]] = [0.4, 0.4, 0.2, 0.1],  # noqa: B006 (read only, and the help shows it)
        colour_chance: Share = 0.8,
        grey: Share = 0.2,
        blur: list[Annotated[Share, Among(3, 3)]] = [1.0, 0.1, 0.5],  # noqa: B006
        solarise: list[Annotated[Share, Among(3, 3)]] = [0.0, 0.2, 0.0],  # noqa: B006
    ):
        check_options(BYOLViews, locals())
        super().__init__(
            [large_size], 2, large_area, small_size=small_size, small_views=small_views, small_area=small_area
        )
        self.flip, self.strengths, self.colour_chance, self.grey = flip, list(colour), colour_chance, grey
        self.blur, self.solarise = list(blur), list(solarise)

    def __call__(self, images: Tensor, generator: torch.Generator) -> Views:
        """Return views of images (B, 3, H, W) in [0, 1]; all random numbers come from the CPU ``generator``."""
        plan = [(0, self.large_sizes[0], self.large_area), (1, self.large_sizes[0], self.large_area)]
        plan += [(2, self.small_size, self.small_area)] * self.small_views
        views, boxes = [], []
        for kind, size, area in plan:
            box = random_boxes(len(images), area, generator).to(images.device)
            view = crop_and_resize(images, box, size).clamp(0, 1)
            views.append(self._changed(view, self.blur[kind], self.solarise[kind], generator))
            boxes.append(box)
        return Views(views, torch.stack(boxes))

    def _changed(self, images: Tensor, blur: float, solarise: float, generator: torch.Generator) -> Tensor:
        def drawn(chance: float) -> Tensor:
            return (torch.rand(len(images), 1, 1, 1, generator=generator) < chance).to(images.device)

        images = torch.where(drawn(self.flip), images.flip(3), images)
        images = torch.where(drawn(self.colour_chance), jittered(images, self.strengths, generator), images)
        images = torch.where(drawn(self.grey), luminance(images), images)
        deviations = torch.empty(len(images)).uniform_(0.1, 2.0, generator=generator).to(images.device)
        images = torch.where(drawn(blur), blurred(images, deviations), images)
        return torch.where(drawn(solarise) & (images >= 0.5), 1 - images, images)


def luminance(images: Tensor) -> Tensor:
    """Return the brightness (B, 1, H, W) that eyes see in images (B, 3, H, W)."""
    return torch.einsum("bchw,c->bhw", images, images.new_tensor(LUMA))[:, None]


def jittered(images: Tensor, strengths: list[float], generator: torch.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of every image (B, 3, H, W) in [0, 1], by its own factors."""
    brightness, contrast, saturation, hue = strengths

    def factor(strength: float) -> Tensor:
        drawn = 1 + strength * (2 * torch.rand(len(images), 1, 1, 1, generator=generator) - 1)
        return drawn.clamp(min=0).to(images.device)

    images = (images * factor(brightness)).clamp(0, 1)
    mean = luminance(images).mean((2, 3), keepdim=True)
    images = (mean + (images - mean) * factor(contrast)).clamp(0, 1)
    grey = luminance(images)
    images = (grey + (images - grey) * factor(saturation)).clamp(0, 1)
    angle = (2 * torch.rand(len(images), generator=generator) - 1) * hue * 2 * math.pi
    return torch.einsum("bij,bjhw->bihw", hue_rotation(angle).to(images.device), images).clamp(0, 1)


def blurred(images: Tensor, deviations: Tensor) -> Tensor:
    """Blur images (B, 3, H, W) by Gaussians of standard deviations (B,) in pixels, mirrored at the border."""
    count, channels, height, width = images.shape
    offsets = torch.arange(-BLUR_RADIUS, BLUR_RADIUS + 1, device=images.device)
    kernels = (-0.5 * (offsets / deviations[:, None]) ** 2).exp()
    kernels = (kernels / kernels.sum(1, keepdim=True)).to(images.dtype).repeat_interleave(channels, 0)[:, None]
    stacked = images.reshape(1, count * channels, height, width)
    for kernel, padding in ((kernels[:, :, None], (1, 0)), (kernels[..., None], (0, 1))):
        x, y = (BLUR_RADIUS * each for each in padding)
        stacked = F.conv2d(F.pad(stacked, (x, x, y, y), mode="reflect"), kernel, groups=count * channels)
    return stacked.view_as(images)
