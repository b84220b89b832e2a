"""Samples of object detection: a picture with what is to be found in it, resized and flipped as one.

A batch is a dictionary of lists, because pictures differ in size; B pictures, N boxes to train on::

    "task"           "detection"
    "image"          B x (3, H, W) uint8 RGB; not float, so that workers hand over a quarter of the bytes
    "boxes"          B x (N, 4) float32 xyxy pixels of this picture, half-open
    "labels"         B x (N,) int64 in [0, K)
    "ignored"        B x (M, 4) float32, crowds and difficult objects: neither objects nor background
    "masks"          B x (N, H, W) bool, where they are asked for
    "with_mask"      B x (N,) bool beside "masks": which have a pixel; no mask is learnt of the others
    "second_view"    B x (3, H, W) uint8 RGB, where it is asked for: the same geometry, other colours, a box erased
    "removed_boxes", "removed_labels"   B x (R, 4), (R,): what a sparse split took away; for figures, never for training
    "image_id"       B x (int | str)
    "size"           B x (2,) int64, height and width of the original picture
    "truth"          B x dict, evaluation only: all annotations in pixels of the original picture, see `truth_of`
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset
from torchvision.transforms.v2 import functional as transforms

from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.second_view import SecondView
from visionscapes.seeding import derived_seed

Sample = dict[str, Any]


class TrainingSamples(Dataset):
    """Pictures to train on, at random sizes and mirrored half of the time.

    Draws from torch's default generator, which `datamodules.common.loading.SeededDataset` seeds for every sample.

    Args:
        images: the records.
        sizes: shorter sides in pixels, one of which is drawn for a picture.
        longest: most pixels of the longer side.
        flip: whether to mirror at random.
        with_masks: whether samples hold "masks".
        second_view: gives "second_view"; drawn before resizing, as in SparseDet's official code.
        repeats: (len(images),) how often each picture is gone through in an epoch; once if None.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        sizes: Sequence[int],
        longest: int,
        flip: bool = True,
        with_masks: bool = False,
        second_view: SecondView | None = None,
        repeats: np.ndarray | None = None,
    ):
        self.images, self.sizes, self.longest, self.flip = images, list(sizes), longest, flip
        self.with_masks, self.second_view = with_masks, second_view
        self.order = np.repeat(np.arange(len(images)), 1 if repeats is None else repeats)

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> Sample:
        item = self.images[self.order[index]]
        sample = as_sample(item, self.with_masks)
        if self.second_view is not None:
            sample["second_view"] = self.second_view(sample["image"], sample["boxes"])
        shorter = self.sizes[int(torch.randint(len(self.sizes), ()))]
        resize(sample, resized_size(item.size, shorter, self.longest))
        if self.flip and torch.rand(()) < 0.5:
            mirror(sample)
        if self.with_masks:
            sample["with_mask"] = sample["masks"].flatten(1).any(1)
        return sample


class EvaluationSamples(Dataset):
    """Pictures to evaluate on, at one size, with the whole truth about them.

    Args:
        images: the records.
        size: shorter side in pixels.
        longest: most pixels of the longer side.
        second_view: gives "second_view", the same one for a picture every time.
        seed: of the second views.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        size: int,
        longest: int,
        second_view: SecondView | None = None,
        seed: int = 0,
    ):
        self.images, self.size, self.longest = images, size, longest
        self.second_view, self.seed = second_view, seed

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> Sample:
        item = self.images[index]
        sample = as_sample(item, with_masks=False)
        if self.second_view is not None:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, index) % 2**63)
            sample["second_view"] = self.second_view.for_test(sample["image"], generator)
        resize(sample, resized_size(item.size, self.size, self.longest))
        return sample | {"truth": truth_of(item)}


def as_sample(item: AnnotatedImage, with_masks: bool) -> Sample:
    """Return a picture with its annotations, sorted by what they are for, at its original size."""
    height, width = item.size
    boxes = torch.from_numpy(item.boxes).clamp(min=0)
    boxes = torch.minimum(boxes, torch.tensor([width, height, width, height], dtype=torch.float32))
    labels = torch.from_numpy(item.labels)
    valid = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1).numpy()
    kept = valid & ~item.ignored & ~item.removed
    sample: Sample = {
        "image": torch.from_numpy(np.ascontiguousarray(item.read())).permute(2, 0, 1).contiguous(),
        "boxes": boxes[kept],
        "labels": labels[kept],
        "ignored": boxes[valid & item.ignored & ~item.removed],
        "removed_boxes": boxes[valid & item.removed],
        "removed_labels": labels[valid & item.removed],
        "image_id": item.image_id,
        "size": torch.tensor(item.size),
    }
    if with_masks:
        sample["masks"] = decoded_masks(item, np.nonzero(kept)[0])
    return sample


def truth_of(item: AnnotatedImage) -> dict[str, Any]:
    """Return all annotations of a picture, in pixels of the original: what detections are compared with.

    Returns:
        "boxes" (N, 4) float32 xyxy, "labels" (N,) int64, "ignored" (N,) bool, "areas" (N,) float32 px², "ids" (N,)
        int64 or a list of N str, "masks" N compressed RLE or None, and for LVIS "negative" and "not_exhaustive", tuples
        of labels.
    """
    return {
        "boxes": torch.from_numpy(item.boxes),
        "labels": torch.from_numpy(item.labels),
        "ignored": torch.from_numpy(item.ignored),
        "areas": torch.from_numpy(item.areas),
        "ids": item.ids.tolist() if item.ids.dtype.kind == "U" else torch.from_numpy(item.ids),
        "masks": None if item.masks is None else list(item.masks),
        "negative": item.negative,
        "not_exhaustive": item.not_exhaustive,
    }


def decoded_masks(item: AnnotatedImage, which: np.ndarray) -> Tensor:
    """Return (len(which), H, W) bool masks of some annotations at the original size.

    Raises:
        ValueError: the record was read without masks.
    """
    from pycocotools import mask as rle

    if not len(which):
        return torch.zeros((0, *item.size), dtype=torch.bool)
    if item.masks is None:
        raise ValueError(f"picture {item.image_id} has no masks: its annotations were read without them")
    chosen = [item.masks[k] for k in which]
    return torch.from_numpy(np.ascontiguousarray(rle.decode(chosen).transpose(2, 0, 1))).bool()


def resized_size(size: tuple[int, int], shorter: int, longest: int) -> tuple[int, int]:
    """Return height and width with a shorter side of ``shorter`` pixels, or less where the longer would be too long.

    Args:
        size: height and width, pixels.
        shorter: wanted, pixels.
        longest: most pixels of the longer side.
    """
    factor = min(shorter / min(size), longest / max(size))
    return max(1, int(size[0] * factor + 0.5)), max(1, int(size[1] * factor + 0.5))


def resize(sample: Sample, size: tuple[int, int]) -> None:
    """Bring a sample to height and width ``size``, in place."""
    height, width = sample["image"].shape[1:]
    if size == (height, width):
        return
    factor = torch.tensor([size[1] / width, size[0] / height] * 2)
    for key in ("image", "second_view"):
        if key in sample:
            sample[key] = transforms.resize(sample[key], list(size), antialias=True)
    for key in ("boxes", "ignored", "removed_boxes"):
        sample[key] = sample[key] * factor
    if "masks" in sample:
        masks = sample["masks"].to(torch.uint8)
        sample["masks"] = transforms.resize(
            masks, list(size), interpolation=transforms.InterpolationMode.NEAREST_EXACT
        ).bool()


def mirror(sample: Sample) -> None:
    """Exchange left and right, in place."""
    width = sample["image"].shape[2]
    for key in ("image", "second_view", "masks"):
        if key in sample:
            sample[key] = sample[key].flip(-1)
    for key in ("boxes", "ignored", "removed_boxes"):
        x1, y1, x2, y2 = sample[key].unbind(1)
        sample[key] = torch.stack([width - x2, y1, width - x1, y2], 1)


def collate(samples: list[Sample]) -> dict[str, Any]:
    """Return a batch: for every key the list of the samples' values."""
    return {"task": "detection"} | {key: [sample[key] for sample in samples] for key in samples[0]}
