"""Instance masks in COCO's format: reading them, and pictures with their masks as samples of three tasks."""

import json
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.common.evaluation import Evaluated, Stacked
from datamodules.common.file_names import refuse_escape
from datamodules.common.image_files import read_image
from datamodules.common.resizing import centre_square, shorter_side_to, to_tensor
from datamodules.common.run_length import compressed
from visionscapes.errors import UserError, in_words
from visionscapes.processes import is_first

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class MaskedImage:
    """A picture and its instances.

    Attributes:
        image_id: the name of its file without suffix.
        path: of the file.
        size: width and height that the annotations refer to, pixels.
        masks: compressed RLE of every instance, each of at least one pixel.
        labels: category id of every instance.
    """

    image_id: str
    path: Path
    size: tuple[int, int]
    masks: list[dict[str, Any]]
    labels: list[int]

    def read(self) -> Image.Image:
        """Read the picture.

        Raises:
            UserError: it cannot be read, or is not the one that was annotated.
        """
        image = read_image(self.path)
        if image.size != self.size:
            raise UserError(
                f"{self.path} has {image.width} x {image.height} pixels, its annotations are for {self.size[0]} x "
                f"{self.size[1]}: put the original file in its place"
            )
        return image


@dataclass
class Skipped:
    """What `CocoFile.masked` has passed over so far.

    Attributes:
        polygons: with fewer than three corners.
        instances: of which no pixel is left.
    """

    polygons: int = 0
    instances: int = 0


@dataclass
class CocoFile:
    """A JSON file in COCO's format.

    Attributes:
        path: of the file.
        images: entry of every picture by id, in the order of the ids.
        annotations: of every picture by its id, in the order of the file.
        categories: name and supercategory by category id.
        skipped: counts what was passed over.
    """

    path: Path
    images: dict[int, dict[str, Any]]
    annotations: dict[int, list[dict[str, Any]]]
    categories: dict[int, tuple[str, str]]
    skipped: Skipped = field(default_factory=Skipped)

    def masked(self, image_id: int, path: Path) -> MaskedImage:
        """Return a picture with all its instances, those of crowds too, whose file is ``path``.

        Raises:
            UserError: an annotation is not in COCO's format.
        """
        entry = self.images[image_id]
        masks, labels = [], []
        for annotation in self.annotations[image_id]:
            try:
                mask, invalid = compressed(annotation["segmentation"], entry["height"], entry["width"])
            except (KeyError, TypeError, ValueError, IndexError) as error:
                raise UserError(
                    f"annotation {annotation.get('id')} in {self.path} is not in COCO's format ({in_words(error)}): "
                    "unpack the data set again"
                ) from error
            self.skipped.polygons += invalid
            if mask is None:
                self.skipped.instances += 1
            else:
                masks.append(mask)
                labels.append(annotation["category_id"])
        return MaskedImage(path.stem, path, (entry["width"], entry["height"]), masks=masks, labels=labels)


def read_coco(path: Path) -> CocoFile:
    """Read a JSON file in COCO's format.

    Raises:
        UserError: it is not in that format, or names a picture outside of the data set.
    """
    try:
        content = json.loads(path.read_text())
        images = {int(image["id"]): image for image in sorted(content["images"], key=lambda image: int(image["id"]))}
        annotations: dict[int, list[dict[str, Any]]] = {image_id: [] for image_id in images}
        categories = {
            int(category["id"]): (str(category["name"]), str(category.get("supercategory", "")))
            for category in content["categories"]
        }
        for annotation in content["annotations"]:
            annotations[int(annotation["image_id"])].append(annotation)
            annotation["category_id"] = int(annotation["category_id"])
            if annotation["category_id"] not in categories:
                raise ValueError(f"the category {annotation['category_id']} is not defined")
        refuse_escape((str(image["file_name"]) for image in images.values()), path)
        for image in images.values():
            image["file_name"], image["width"], image["height"] = (
                Path(image["file_name"]).name,
                int(image["width"]),
                int(image["height"]),
            )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not an instances file in COCO's format ({in_words(error)}): unpack the data set again"
        ) from error
    twice = [name for name, count in Counter(image["file_name"] for image in images.values()).items() if count > 1]
    if twice or len(images) < len(content["images"]):
        raise UserError(f"{path} names pictures twice ({', '.join(twice[:3]) or 'by id'}): unpack the data set again")
    return CocoFile(path, images, annotations, categories=categories)


def report_skipped(name: str, *skipped: Skipped) -> None:
    """Say, once for all processes, what the annotations of a data set hold that is no mask; nothing if all are."""
    polygons, instances = sum(each.polygons for each in skipped), sum(each.instances for each in skipped)
    if (polygons or instances) and is_first():
        log.warning(
            "%s: passed over %d polygons with fewer than three corners and %d instances without any pixel",
            name,
            polygons,
            instances,
        )


def decoded(mask: dict[str, Any]) -> Image.Image:
    """Return a compressed RLE as a picture of mode "F", 1 inside and 0 outside."""
    from pycocotools import mask as rle

    return Image.fromarray(rle.decode(mask).astype(np.float32))


def united(masks: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the union of compressed RLE."""
    from pycocotools import mask as rle

    return rle.merge(list(masks))


class SaliencySamples(Dataset):
    """Pictures with the union of their instances, both resized and cropped to the middle alike.

    Args:
        images: the pictures.
        size: S; a sample holds "image" (3, S, S) float32 RGB in [0, 1] and "mask" (S, S) bool, pixels.
    """

    def __init__(self, images: Sequence[MaskedImage], size: int):
        self.images, self.size = images, size

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        masked = self.images[index]
        union = centre_square(decoded(united(masked.masks)), self.size, Image.Resampling.BILINEAR)
        return {
            "image": to_tensor(centre_square(masked.read(), self.size)),
            "mask": torch.from_numpy(np.asarray(union) >= 0.5),
        }


class InstanceSamples(Dataset):
    """Pictures with each of their instances; a sample is a batch of one picture.

    Args:
        images: the pictures.
        size: of the shorter side in pixels; the aspect ratio is kept and the longer side not rounded.
        task: "objects" or "parts".
    """

    def __init__(self, images: Sequence[MaskedImage], size: int, task: str):
        self.images, self.size, self.task = images, size, task

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        masked = self.images[index]
        image = shorter_side_to(masked.read(), self.size)
        masks = [resized_mask(decoded(mask), image.size) for mask in masked.masks]
        return {
            "task": self.task,
            "image": to_tensor(image)[None],
            "masks": torch.from_numpy(np.stack(masks)),
            "label": torch.tensor(masked.labels),
            "index": torch.tensor([index]),
            "image_id": masked.image_id,
        }

    @staticmethod
    def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Return the one picture of a batch."""
        (sample,) = samples
        return sample


def resized_mask(mask: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Resize a mask that has at least one pixel so that it keeps at least one.

    Args:
        mask: of mode "F", 1 inside and 0 outside.
        size: width and height in pixels.

    Returns:
        (height, width) bool: the pixels that are covered by half, or the most covered ones if none is.
    """
    covered = np.asarray(mask.resize(size, Image.Resampling.BILINEAR))
    return covered >= min(0.5, covered.max())


def masked_tasks(
    images: Mapping[str, Sequence[MaskedImage]], size: int, dataset: str, batch_size: int
) -> dict[str, Evaluated]:
    """Return what there is to go through by "<task>@<size>".

    Args:
        images: by task, "saliency", "objects" or "parts".
        size: S of "saliency", pixels; the others have a shorter side of 2S, for features that are tiled (thesis
            section 2.7.3).
        dataset: name, as batches of "saliency" give it.
        batch_size: of "saliency".
    """
    found = {}
    for task, of_task in images.items():
        if task == "saliency":
            stacked = Stacked(task, dataset=dataset)
            found[f"{task}@{size}"] = Evaluated(SaliencySamples(of_task, size), stacked, batch_size)
        else:
            samples = InstanceSamples(of_task, 2 * size, task)
            found[f"{task}@{2 * size}"] = Evaluated(samples, InstanceSamples.collate, 1)
    return found
