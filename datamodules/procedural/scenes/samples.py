"""Rendered pictures as samples of the evaluation tasks, and the datasets that hold or make them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.common.resizing import squash, to_tensor
from datamodules.procedural.scenes.scenes import render_pair, render_video

# Evaluation renders worlds of its own: instances, photographs and seeds that training never sees.
HELD_OUT_WORLD = 1_000_003


class Rendered(Dataset):
    """Images kept in memory as uint8; a sample holds "image" (3, H, W) float32 in [0, 1], "index" and ``columns``.

    Args:
        images: (H, W, 3) uint8 RGB each, of one size.
        columns: what else a sample holds, by key: one value an image.
    """

    def __init__(self, images: list[np.ndarray], **columns: list[Any]):
        self.images = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
        self.columns = columns

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        others = {key: values[index] for key, values in self.columns.items()}
        return {"image": self.images[index].float() / 255, "index": index, **others}


class OnDemand(Dataset):
    """``count`` samples that are rendered when asked for: render(index, side)."""

    def __init__(self, count: int, render: Callable[[int, int], dict[str, Any]], side: int):
        self.count, self.render, self.side = count, render, side

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.render(index, self.side)


def squashed(image: np.ndarray, side: int) -> np.ndarray:
    """Return an image (H, W, 3) uint8 as (side, side, 3) uint8, antialiased."""
    return np.asarray(squash(Image.fromarray(image), side, Image.Resampling.LANCZOS))


def resized(image: np.ndarray, side: int) -> Tensor:
    """Return an image (H, W, 3) uint8 as (3, side, side) float32 in [0, 1], antialiased."""
    return to_tensor(Image.fromarray(squashed(image, side)))


def scene_pair(world: int, index: int, size: int, side: int) -> dict[str, Any]:
    """Return a sample of task "keypoints" that is rendered at ``size`` and shown at ``side`` pixels."""
    source, target = render_pair(world, index, size)
    (marked, seen), (wanted, also_seen) = source.keypoints(1), target.keypoints(1)
    both = seen & also_seen
    left, top, right, bottom = target.boxes[1]
    extent = max(right - left, bottom - top)
    category = int(source.labels[1])
    return keypoint_pair(
        f"scene-{index}", source.image, target.image, marked[both], wanted[both], extent, category, side
    )


def keypoint_pair(
    name: str,
    source: np.ndarray,
    target: np.ndarray,
    marked: np.ndarray,
    wanted: np.ndarray,
    extent: float,
    category: int,
    side: int,
) -> dict[str, Any]:
    """Return a sample of task "keypoints"; points are pixel indices, as in SPair-71k, wanted ones with fractions.

    Args:
        name: of the pair.
        source: (H, H, 3) uint8.
        target: (H, H, 3) uint8.
        marked: (K, 2) xy pixels of the source.
        wanted: (K, 2) xy pixels of the target.
        extent: larger side of the target's box in pixels.
        category: of both objects.
        side: of the images of the sample, pixels.
    """
    scale = side / source.shape[0]
    return {
        "pair": name,
        "source_image": resized(source, side),
        "target_image": resized(target, side),
        "source_keypoints": torch.from_numpy(marked * scale).floor(),
        "target_keypoints": torch.from_numpy(wanted * scale) - 0.5,
        "keypoint_valid": torch.ones(len(marked), dtype=torch.bool),
        "target_box_size": torch.tensor(extent * scale, dtype=torch.float32),
        "category": torch.tensor(category),
    }


def scene_video(world: int, index: int, size: int, frames: int, side: int) -> dict[str, Any]:
    """Return a sample of task "video" with frames of ``side`` pixels; masks keep the ``size`` of the rendering."""
    images, masks = render_video(world, index, size, frames)
    return {
        "task": "video",
        "name": f"video-{index}",
        "frames": torch.stack([resized(image, side) for image in images]),
        "masks": torch.from_numpy(masks).long(),
    }
