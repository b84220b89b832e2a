"""Pictures, conditions and label maps of a pair as the tensors that networks see."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from datamodules.common.label_maps import resize_labels
from datamodules.common.resizing import squash, to_tensor


def image_tensor(image: Image.Image, size: int) -> Tensor:
    """Return an RGB image, squashed to a square, as (3, size, size) float32 in [0, 1]; bicubic and antialiased."""
    return to_tensor(squash(image, size, Image.Resampling.BICUBIC))


def condition_tensor(image: Image.Image, size: int, channels: int) -> Tensor:
    """Return an RGB image, squashed to a square, as (channels, size, size) float32 in [0, 1]; 1 channel is its luma."""
    if channels == 3:
        return image_tensor(image, size)
    grey = squash(image.convert("L"), size, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(grey))[None].float() / 255


def labels_tensor(labels: np.ndarray, size: int) -> Tensor:
    """Return a label map (H, W), squashed to a square, as (size, size) uint8; nearest neighbours."""
    return torch.from_numpy(resize_labels(labels, size))
