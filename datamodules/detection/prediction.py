"""Pictures to detect objects in: a user's own, of any size and kind, or those of the data set that are evaluated.

A batch has task "detect" and is one of ``datamodules.detection.samples`` without annotations, with two keys more::

    "task"           "detect"
    "image"          B x (3, H, W) uint8 RGB
    "boxes", "labels", "ignored"   of no object
    "second_view"    B x (3, H, W) uint8 RGB, where it is asked for
    "image_id"       B x (int | str), numbers of the user's own pictures
    "size"           B x (2,) int64, height and width of the picture as it is looked at
    "name"           B x str, path below the folder of the pictures, with forward slashes
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.common.image_files import read_image
from datamodules.detection.coco_json import read_annotations
from datamodules.detection.samples import EvaluationSamples, Sample, collate, resize, resized_size
from datamodules.detection.second_view import SecondView
from visionscapes.errors import UserError
from visionscapes.seeding import derived_seed

MOST_DIGITS = 18  # of a name that is taken for a number; more do not fit into 64 bits


def categories_in(path: Path) -> list[dict[str, Any]]:
    """Return {"id", "name"} of every label of a file in COCO's format; none if it is not there or not in it."""
    if not path.is_file():
        return []
    try:
        coco = read_annotations(path)
    except UserError:
        return []
    numbers = coco.category_ids.tolist()
    return [{"id": number, "name": name} for number, name in zip(numbers, coco.classes, strict=True)]


class PicturesToDetect(Dataset):
    """Picture files to detect objects in, turned upright as their EXIF orientation says.

    Args:
        paths: of the files.
        size: shorter side in pixels that the detector sees.
        longest: most pixels of the longer side.
        root: folder that their names are given from; the one that all have in common if None.
        second_view: gives "second_view", the same one for a picture whatever other pictures there are.
        seed: of the second views.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: int,
        longest: int,
        *,
        root: Path | None = None,
        second_view: SecondView | None = None,
        seed: int = 0,
    ):
        self.paths, self.size, self.longest, self.second_view, self.seed = paths, size, longest, second_view, seed
        self.names, self.image_ids = names_of(paths, root), numbers_of(paths)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Sample:
        image = read_image(self.paths[index], upright=True)
        sample = as_sample(image, self.size, self.longest, second_view=self.second_view, seed=self.seed)
        return sample | {"image_id": self.image_ids[index], "name": self.names[index]}


class EvaluatedPictures(Dataset):
    """The pictures that are evaluated, to detect objects in exactly as their evaluation does.

    Args:
        samples: of the evaluation.
    """

    def __init__(self, samples: EvaluationSamples):
        self.samples = samples
        paths = getattr(samples.images, "paths", None)  # none where pictures lie in memory
        self.names = None if paths is None else names_of([Path(path) for path in paths])

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        sample = self.samples[index]
        nothing = without_objects(sample["image"])
        name = f"{sample['image_id']}.png" if self.names is None else self.names[index]
        return {key: nothing.get(key, sample[key]) for key in sample if key != "truth"} | {"name": name}


def batch_of(
    images: Sequence[Image.Image],
    size: int,
    longest: int,
    *,
    second_view: SecondView | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Return a batch that ``lightning_modules.Detector.predict_step`` takes.

    Args:
        images: upright RGB pictures of any size; `datamodules.common.image_files.as_rgb` makes RGB of other modes.
        size: shorter side in pixels that the detector sees.
        longest: most pixels of the longer side.
        second_view: for detectors that compare two views of a picture, such as SparseDet.
        seed: of the second views.

    Returns:
        The batch; pictures are numbered from 0.
    """
    samples = [as_sample(image, size, longest, second_view=second_view, seed=seed) for image in images]
    return collate_to_detect([sample | {"image_id": k, "name": str(k)} for k, sample in enumerate(samples)])


def collate_to_detect(samples: list[Sample]) -> dict[str, Any]:
    """Return a batch of task "detect": for every key the list of the samples' values."""
    return collate(samples) | {"task": "detect"}


def as_sample(
    image: Image.Image, size: int, longest: int, *, second_view: SecondView | None = None, seed: int = 0
) -> Sample:
    """Return an RGB picture as a sample without objects, resized; see `batch_of`."""
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()
    sample = {"image": pixels, **without_objects(pixels), "size": torch.tensor([image.height, image.width])}
    if second_view is not None:
        generator = torch.Generator().manual_seed(derived_seed(seed, _number_of(pixels)) % 2**63)
        sample["second_view"] = second_view.for_test(pixels, generator)
    resize(sample, resized_size((image.height, image.width), size, longest))
    return sample


def without_objects(image: Tensor) -> Sample:
    """Return what samples have about the objects of a picture, of none."""
    none = image.new_zeros((0, 4), dtype=torch.float32)
    labels = image.new_zeros(0, dtype=torch.int64)
    return {"boxes": none, "labels": labels, "ignored": none, "removed_boxes": none, "removed_labels": labels}


def names_of(paths: Sequence[Path], root: Path | None = None) -> list[str]:
    """Return what files are called: their paths below a folder, with forward slashes, no two of them equal.

    Args:
        paths: of the files.
        root: the folder; the one that all files have in common where some lie outside of it, or if None.
    """
    absolute = [os.path.abspath(path) for path in paths]  # not resolve(): a link keeps its own name
    folder = None if root is None else os.path.abspath(root)
    if folder is None or not all(Path(path).is_relative_to(folder) for path in absolute):
        folder = os.path.commonpath([os.path.dirname(path) for path in absolute])
    return [Path(os.path.relpath(path, folder)).as_posix() for path in absolute]


def numbers_of(paths: Sequence[Path]) -> list[int]:
    """Return the numbers of pictures: those that are their names, as in COCO, if all have one and no two the same.

    Others are numbered from 1 in their order.
    """
    stems = [path.stem for path in paths]
    if all(stem.isascii() and stem.isdigit() and len(stem) <= MOST_DIGITS for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers):
            return numbers
    return list(range(1, len(paths) + 1))


def _number_of(pixels: Tensor) -> int:
    """Return a number that stands for the pixels of a picture."""
    return int.from_bytes(hashlib.sha256(pixels.numpy().tobytes()).digest()[:7])
