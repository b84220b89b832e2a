"""Where layouts are taken from: a file in COCO's format with its pictures, or training pictures of a data module."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.reports import first_names
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.categories import tell_categories
from datamodules.detection.coco_files import without_size
from datamodules.detection.coco_json import categories_of, read_with_content
from datamodules.detection.datamodule import DetectionDataModule
from datamodules.detection.orientations import check_orientations
from datamodules.detection.picture_places import locate_pictures, refuse_outside, without_missing
from datamodules.detection.prediction import names_of
from datamodules.detection.records import records
from visionscapes.errors import UserError

EXPECTED = """\
--data.annotations   a JSON file in COCO's or LVIS's format
--data.images        the folder of its pictures, which their file_name, or its end, lies in
"""


@dataclass(frozen=True)
class LayoutSource:
    """Pictures with what is annotated in them.

    Attributes:
        images: the pictures.
        names: what each is called, no two alike, without a suffix; it can have folders.
        categories: of every label, with "id" and "name" and whatever else the annotations say.
        title: of the source, for messages.

    Raises:
        UserError: a class has no name, or there is no class.
    """

    images: Sequence[AnnotatedImage]
    names: list[str]
    categories: list[dict[str, Any]]
    title: str

    def __post_init__(self) -> None:
        nameless = [each["id"] for each in self.categories if not str(each["name"]).strip()]
        if nameless or not self.categories:
            which = f"category {nameless[0]} has no name" if nameless else "the classes have no names"
            raise UserError(f"{self.title}: {which}, and names are what objects are drawn by: give every class one")


def source_in_files(annotations: str, images: str, *, skip_missing: bool = False) -> LayoutSource:
    """Return what a JSON file in COCO's or LVIS's format says of the pictures in a folder.

    Args:
        annotations: path of the file.
        images: folder of the pictures.
        skip_missing: leave out pictures that are not there, and annotations of what the file does not define.

    Raises:
        UserError: the file cannot be read, or its boxes cannot be right.
        DatasetNotFoundError: there is no such file, or pictures are missing.
    """
    path, folder = Path(annotations).expanduser(), Path(images).expanduser()

    def not_found(place: Path, missing: str | Path, *more: str) -> DatasetNotFoundError:
        remedies = ["Name another file or folder", *more]
        return DatasetNotFoundError(
            name="The layouts", looked_in=place, expected=EXPECTED, remedies=remedies, missing=missing
        )

    if not path.is_file():
        raise not_found(path, "the file of annotations")
    if not folder.is_dir():
        raise not_found(folder, "the folder of pictures")
    coco, content = read_with_content(path, skip_orphans=skip_missing)
    tell_categories(coco)
    paths, absent = locate_pictures(coco, [folder], option="--data.images")
    if absent.any() and not skip_missing:
        refuse_outside(coco, absent)
        missing = [Path(paths[place]) for place in np.flatnonzero(absent).tolist()]
        skip = "Leave out what is missing with --data.init_args.skip_missing=true"
        raise not_found(folder, first_names(missing, folder), skip)
    coco, paths = without_missing(coco, paths, absent, str(path), folder)
    categories = categories_of(coco, content)
    found = records(coco, paths, str(path), evaluated=False)
    unstated = without_size(coco)
    check_orientations(paths, found.coco.sizes, str(path), upright=False, unstated=unstated, option="")
    return LayoutSource(found, distinct_names(paths, folder), categories=categories, title=str(path))


def source_of(real: DetectionDataModule) -> LayoutSource:
    """Return the training pictures of a data module, which is set up for that."""
    real.batch_size = 1  # its pictures are taken one by one: there may be fewer than in a batch of a training
    real.setup("fit")
    images = real.training_images()
    paths = getattr(images, "paths", None)
    names = [f"{each.image_id}" for each in images] if paths is None else distinct_names(paths, None)
    frequencies = getattr(real, "frequencies", None) or ("",) * len(real.classes)
    categories = [
        each | ({"frequency": frequency} if frequency else {})
        for each, frequency in zip(real.categories, frequencies, strict=True)
    ]
    return LayoutSource(images, names, categories=categories, title=type(real).__name__)


def distinct_names(paths: Sequence[str], folder: Path | None) -> list[str]:
    """Return what files are called without their suffix; with it, where names would be alike without."""
    whole = names_of([Path(path) for path in paths], folder)
    short = [os.path.splitext(name)[0] for name in whole]
    counts = Counter(name.casefold() for name in short)
    return [name if counts[name.casefold()] == 1 else full for name, full in zip(short, whole, strict=True)]


def layout_rows(item: AnnotatedImage) -> np.ndarray:
    """Return the places of the annotations that are objects of a picture's layout: no crowds, nothing without area."""
    boxes = boxes_within(item)
    return np.flatnonzero((boxes[:, 2:] > boxes[:, :2]).all(1) & ~item.ignored & ~item.removed)


def boxes_within(item: AnnotatedImage) -> np.ndarray:
    """Return (N, 4) float32 xyxy of all annotations of a picture, cut at its border."""
    height, width = item.size
    return np.clip(item.boxes, 0, np.array([width, height, width, height], np.float32)).astype(np.float32)


def digest_of(source: LayoutSource) -> tuple[str, list[int]]:
    """Return a digest of all layouts of a source, and the places of the pictures that have one."""
    digest, places = hashlib.sha256(), []
    digest.update(json.dumps(source.categories, sort_keys=True).encode())
    for place, item in enumerate(source.images):
        rows = layout_rows(item)
        if len(rows):
            places.append(place)
        digest.update(json.dumps([item.image_id, source.names[place], item.size]).encode())
        digest.update(boxes_within(item)[rows].tobytes() + item.labels[rows].astype("<i8").tobytes())
    return digest.hexdigest(), places
