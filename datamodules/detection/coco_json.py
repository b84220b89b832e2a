"""Detection annotations in COCO's JSON format as flat arrays: train2017 takes seconds and little memory.

A Python object for each of the 860,000 annotations of COCO train2017 would take more than a gigabyte in every process,
and loading workers would copy it page by page.
"""

import json
import pickle
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.common.file_names import refuse_escape
from visionscapes.errors import UserError, in_words

GET_AGAIN = "get the file again, or correct what wrote it"


@dataclass(frozen=True)
class Segmentations:
    """The "segmentation" entries of A annotations, packed, because few are needed at a time.

    Attributes:
        packed: all entries, one after the other.
        start: (A,) int64, where in ``packed`` the entry of an annotation begins.
        stop: (A,) int64, where it ends.
    """

    packed: bytearray
    start: np.ndarray
    stop: np.ndarray

    def __getitem__(self, place: int) -> Any:
        """Return the entry of an annotation as it was in the file; None if it had none."""
        return pickle.loads(self.packed[self.start[place] : self.stop[place]])  # our own bytes, of this process


@dataclass(frozen=True)
class CocoAnnotations:
    """What a JSON file in COCO's format says about I pictures with A annotations of K categories.

    Annotations are ordered by picture. Labels are places of category ids in ascending order: those of COCO have gaps.

    Attributes:
        path: of the file.
        category_ids: (K,) int64, ascending; label -> id.
        classes: name of every label.
        frequencies: "r", "c" or "f" of every label, "" where the file does not say (LVIS does).
        image_ids: (I,) int64, ascending.
        files: file name of every picture, with its folder if the file gives it; the end of the URL in LVIS.
        sizes: (I, 2) int64, height and width, pixels.
        negative: labels verified to be absent from each picture (LVIS).
        not_exhaustive: labels of which each picture may show more than is annotated (LVIS).
        first: (I + 1,) int64, picture i has annotations first[i] to first[i + 1] - 1.
        ids: (A,) int64.
        labels: (A,) int64 in [0, K).
        boxes: (A, 4) float64 xywh as in the file, pixels.
        areas: (A,) float64, square pixels; of the box where the file does not say.
        ignored: (A,) bool, crowd, or "ignore" or "difficult" in files made of VOC.
        segmentations: of every annotation, or None if they were not asked for.
    """

    path: Path
    category_ids: np.ndarray
    classes: tuple[str, ...]
    frequencies: tuple[str, ...]
    image_ids: np.ndarray
    files: tuple[str, ...]
    sizes: np.ndarray
    negative: tuple[tuple[int, ...], ...]
    not_exhaustive: tuple[tuple[int, ...], ...]
    first: np.ndarray
    ids: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    ignored: np.ndarray
    segmentations: Segmentations | None

    @property
    def images(self) -> np.ndarray:
        """(A,) int64: the place of every annotation's picture among the pictures."""
        return np.repeat(np.arange(len(self.image_ids)), np.diff(self.first))

    def only(self, kept: np.ndarray) -> "CocoAnnotations":
        """Return the same pictures with those annotations alone where ``kept``, (A,) bool, is true."""
        count = np.bincount(self.images[kept], minlength=len(self.image_ids))
        return replace(self, first=_offsets(count), **self._rows(np.flatnonzero(kept)))

    def of(self, places: np.ndarray) -> "CocoAnnotations":
        """Return those pictures alone that stand at ``places``, (M,) int64, ascending, and their annotations."""
        chosen = np.zeros(len(self.image_ids), bool)
        chosen[places] = True
        rows = np.flatnonzero(chosen[self.images])
        return replace(
            self,
            image_ids=self.image_ids[places],
            files=tuple(self.files[place] for place in places),
            sizes=self.sizes[places],
            negative=tuple(self.negative[place] for place in places),
            not_exhaustive=tuple(self.not_exhaustive[place] for place in places),
            first=_offsets(np.diff(self.first)[places]),
            **self._rows(rows),
        )

    def _rows(self, rows: np.ndarray) -> dict[str, Any]:
        packed = self.segmentations
        if packed is not None:
            packed = Segmentations(packed.packed, packed.start[rows], packed.stop[rows])
        columns = {name: getattr(self, name)[rows] for name in ("ids", "labels", "boxes", "areas", "ignored")}
        return columns | {"segmentations": packed}


def read_annotations(path: Path, with_masks: bool = False) -> CocoAnnotations:
    """Read a JSON file in COCO's format; LVIS's is the same with more about each picture and no file names.

    Args:
        path: of the file.
        with_masks: keep the segmentations.

    Raises:
        UserError: it is not in that format, is cut off, names no picture or one outside of the data set, gives an id
            twice, or an annotation is of a picture or category that it does not define. Its boxes are not judged here.
    """
    columns = _Columns(with_masks)
    try:
        with path.open(encoding="utf-8") as file:
            content = json.load(file, object_hook=columns.take)
        images, categories = content["images"], content["categories"]
        leftover = [each for each in content["annotations"] if each is not None]
        if leftover or len(content["annotations"]) != len(columns.ids):
            raise ValueError(f"an annotation without image_id or category_id: {str(leftover[:1])[:200]}")
        if not images:
            raise ValueError("it names no picture")
        categories = sorted(categories, key=lambda category: int(category["id"]))
        images = sorted(images, key=lambda image: int(image["id"]))
        category_ids = np.array([int(category["id"]) for category in categories], np.int64)
        image_ids = np.array([int(image["id"]) for image in images], np.int64)
        files = tuple(_file_name(image) for image in images)
        sizes = np.array([[int(image["height"]), int(image["width"])] for image in images], np.int64)
        classes = tuple(str(category["name"]) for category in categories)
        label_of = {category_id: label for label, category_id in enumerate(category_ids.tolist())}
        lists = [
            tuple(_labels(image, key, label_of) for image in images)
            for key in ("neg_category_ids", "not_exhaustive_category_ids")
        ]
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is no JSON or is cut off ({error}): {GET_AGAIN}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{path} is not a detection file in COCO's format ({in_words(error)}): {GET_AGAIN}") from error
    refuse_escape(files, path)
    _refuse_repeated(path, "picture ids", image_ids)
    _refuse_repeated(path, "file names", np.array(files))
    _refuse_repeated(path, "category ids", category_ids)
    _refuse_repeated(path, "annotation ids", np.array(columns.ids, np.int64))
    where = _places(path, "pictures", image_ids, np.array(columns.images, np.int64), columns.ids)
    labels = _places(path, "categories", category_ids, np.array(columns.categories, np.int64), columns.ids)
    order = np.argsort(where, kind="stable")
    return CocoAnnotations(
        path=path,
        category_ids=category_ids,
        classes=classes,
        frequencies=tuple(str(category.get("frequency", "")) for category in categories),
        image_ids=image_ids,
        files=files,
        sizes=sizes,
        negative=lists[0],
        not_exhaustive=lists[1],
        first=_offsets(np.bincount(where, minlength=len(image_ids))),
        ids=np.array(columns.ids, np.int64)[order],
        labels=labels[order],
        boxes=np.array(columns.boxes, np.float64).reshape(-1, 4)[order],
        areas=np.array(columns.areas, np.float64)[order],
        ignored=np.array(columns.ignored, bool)[order],
        segmentations=columns.segmentations(order),
    )


class _Columns:
    """Takes annotations out of a JSON file while it is parsed, so that they never exist as objects all at once."""

    def __init__(self, with_masks: bool):
        self.with_masks = with_masks
        self.ids, self.images, self.categories = array("q"), array("q"), array("q")
        self.boxes, self.areas, self.ignored = array("d"), array("d"), array("b")
        self.packed, self.ends = bytearray(), array("q")

    def take(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        """Keep an annotation and return None in its place; return any other object of the file."""
        if "image_id" not in entry or "category_id" not in entry:
            return entry
        try:
            x, y, width, height = entry["bbox"]
            self.boxes.extend((float(x), float(y), float(width), float(height)))
            self.areas.append(float(entry.get("area", width * height)))
            self.ids.append(int(entry["id"]))
            self.images.append(int(entry["image_id"]))
            self.categories.append(int(entry["category_id"]))
            self.ignored.append(any(int(entry.get(flag) or 0) for flag in ("iscrowd", "ignore", "difficult")))
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"annotation {entry.get('id')} is damaged or incomplete: {in_words(error)}") from error
        if self.with_masks:
            self.packed += pickle.dumps(entry.get("segmentation"))
            self.ends.append(len(self.packed))
        return None

    def segmentations(self, order: np.ndarray) -> Segmentations | None:
        """Return what was kept of them, for annotations in ``order``."""
        if not self.with_masks:
            return None
        bounds = np.array([0, *self.ends], np.int64)
        return Segmentations(self.packed, bounds[:-1][order], bounds[1:][order])


def _file_name(image: Mapping[str, Any]) -> str:
    # LVIS v1 has no file_name; its validation pictures lie in train2017 and val2017, which the URL tells.
    return str(image["file_name"]) if "file_name" in image else "/".join(str(image["coco_url"]).split("/")[-2:])


def _labels(image: Mapping[str, Any], key: str, label_of: Mapping[int, int]) -> tuple[int, ...]:
    unknown = [each for each in image.get(key, ()) if int(each) not in label_of]
    if unknown:
        raise ValueError(f"picture {image['id']} names the categories {unknown[:3]} as {key}, which are not defined")
    return tuple(label_of[int(each)] for each in image.get(key, ()))


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _refuse_repeated(path: Path, things: str, values: np.ndarray) -> None:
    found, count = np.unique(values, return_counts=True)
    if (count > 1).any():
        raise UserError(f"{path} has {_some(found[count > 1].tolist())} {things} more than once: {GET_AGAIN}")


def _places(path: Path, things: str, known: np.ndarray, wanted: np.ndarray, ids: Iterable[int]) -> np.ndarray:
    """Return where ``wanted`` stand in ``known``, which is ascending."""
    places = np.searchsorted(known, wanted)
    unknown = known[np.minimum(places, len(known) - 1)] != wanted if len(known) else np.ones(len(wanted), bool)
    if unknown.any():
        annotations = _some([f"annotation {each}" for each in np.array(ids, np.int64)[unknown].tolist()])
        raise UserError(
            f"{path} has annotations of {things} that it does not define ({_some(np.unique(wanted[unknown]).tolist())} "
            f"{things}; {annotations}): {GET_AGAIN}"
        )
    return places


def _some(values: list[Any], shown: int = 3) -> str:
    """Return how many there are and the first of them."""
    return f"{len(values)} ({', '.join(map(str, values[:shown]))}{', ...' if len(values) > shown else ''})"
