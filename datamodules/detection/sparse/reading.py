"""Files of annotations in COCO's format, with the checks of what a sparse split relies on."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionscapes.errors import UserError

PROTECTING = "iscrowd", "difficult", "ignore"  # COCO; VOC; VOC as some converters write it


@dataclass(frozen=True)
class Annotations:
    """A file in COCO's format with N annotations.

    Attributes:
        path: of the file.
        sha256: of its bytes.
        content: of the file, unchanged.
        ids: (N,) int64, all different.
        images: (N,) int64, place of the image in the file.
        labels: (N,) int64, place of the category in the file.
        protected: (N,) bool, crowds and difficult objects: not removed and not counted.
    """

    path: Path
    sha256: str
    content: dict[str, Any]
    ids: NDArray[np.int64]
    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    protected: NDArray[np.bool_]


def read_annotations(path: Path) -> Annotations:
    """Read a file in COCO's format; "iscrowd", "difficult" and "ignore" of an annotation may be missing.

    Raises:
        UserError: there is no such file, it is not in that format, contradicts itself, or has nothing to remove.
    """
    try:
        raw = path.read_bytes()
        content = json.loads(raw)
        annotations = content["annotations"]
        places = [places_of(content[name]) for name in ("images", "categories")]
        ids = whole_numbers([each["id"] for each in annotations])
        images, labels = (
            np.array([place.get(each[name], -1) for each in annotations], np.int64)
            for place, name in zip(places, ("image_id", "category_id"), strict=True)
        )
        protected = np.array([any(int(each.get(name) or 0) for name in PROTECTING) for each in annotations], bool)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}): give a file of annotations") from error
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        text = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is not a file of annotations in COCO's format ({text}): get it again") from error
    for owners, name in ((images, "image_id"), (labels, "category_id")):
        if (owners < 0).any():
            lost = annotations[int(np.argmin(owners))]
            wrong = f"annotation {lost['id']} has the {name} {lost[name]!r}, which is not in the file"
            raise UserError(f"{path}: {wrong}; take it out or get the file again")
    if len(np.unique(ids)) < len(ids):
        values, counts = np.unique(ids, return_counts=True)
        raise UserError(f"{path}: {values[counts > 1][0]} is the id of several annotations; make the ids different")
    if protected.all():
        raise UserError(f"{path} has no annotation that could be removed (crowds and difficult objects never are)")
    return Annotations(
        path, hashlib.sha256(raw).hexdigest(), content, ids=ids, images=images, labels=labels, protected=protected
    )


def places_of(entries: list[dict[str, Any]]) -> dict[Any, int]:
    """Return the place of every image or category by its id.

    Raises:
        ValueError: an id occurs twice.
    """
    places = {entry["id"]: place for place, entry in enumerate(entries)}
    for place, entry in enumerate(entries):
        if places[entry["id"]] != place:
            raise ValueError(f"two images or categories have the id {entry['id']!r}")
    return places


def whole_numbers(ids: list[Any]) -> NDArray[np.int64]:
    """Return ids as an array.

    Raises:
        TypeError: one is not a whole number.
    """
    for each in ids:
        if type(each) is not int:
            raise TypeError(f"the id {each!r} of an annotation is not a whole number")
    return np.array(ids, np.int64)
