"""What pictures go through on their way to whoever asks where they come from: JPEG, resizing and blur."""

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor

Change = Callable[[Image.Image], Image.Image]


def compressed(image: Image.Image, quality: int) -> Image.Image:
    """Return an image after JPEG of a quality from 1 to 100, with a colour for every two by two pixels."""
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer).convert("RGB")


def resized(image: Image.Image, factor: float) -> Image.Image:
    """Return an image that was resized by a factor (bicubic) and then prepared at its old size again (bilinear)."""
    width, height = (max(1, round(side * factor)) for side in image.size)
    return image.resize((width, height), Image.Resampling.BICUBIC).resize(image.size, Image.Resampling.BILINEAR)


def blurred(image: Image.Image, sigma: float) -> Image.Image:
    """Return an image after a Gaussian blur; ``sigma`` in pixels."""
    return image.filter(ImageFilter.GaussianBlur(sigma))


def changed(images: Tensor, change: Change) -> Tensor:
    """Return images with a change of each, on their device; a change sees 8 bits a channel.

    Args:
        images: (B, 3, S, S) float32 RGB in [0, 1].
        change: of a picture; it keeps the size.
    """
    pixels = (images * 255).round().to("cpu", torch.uint8).permute(0, 2, 3, 1).numpy()
    made = np.stack([np.asarray(change(Image.fromarray(picture))) for picture in pixels])
    return torch.from_numpy(made).to(images.device).permute(0, 3, 1, 2).contiguous().float() / 255
