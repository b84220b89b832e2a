"""Files of annotations in COCO's format, as the data modules read them, with what a sparse split relies on."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.detection.coco_json import read_with_content
from visionscapes.errors import UserError


@dataclass(frozen=True)
class Annotations:
    """A file in COCO's format with N annotations, in the order of the file.

    Attributes:
        path: of the file.
        sha256: of its bytes.
        content: of the file, unchanged but for ids of annotations that had none.
        ids: (N,) int64, or str where the file has texts, all different.
        images: (N,) int64, place of the image among those of the file by their ids.
        labels: (N,) int64, place of the category among ``classes``.
        protected: (N,) bool, crowds and difficult objects: not removed and not counted.
        classes: names of the categories by their ids.
    """

    path: Path
    sha256: str
    content: dict[str, Any]
    ids: NDArray[Any]
    images: NDArray[np.int64]
    labels: NDArray[np.int64]
    protected: NDArray[np.bool_]
    classes: tuple[str, ...]


def read_annotations(path: Path) -> Annotations:
    """Read a file in COCO's format; "iscrowd", "difficult" and "ignore" of an annotation may be missing.

    Annotations without an id are numbered in the content, so that its copy and the record of what the copy lacks call
    them by the same numbers.

    Raises:
        UserError: there is no such file, it is not in that format, contradicts itself, or has nothing to remove.
    """
    coco, content = read_with_content(path, keep=True)
    if coco.ignored.all():
        raise UserError(f"{path} has no annotation that could be removed (crowds and difficult objects never are)")
    in_file = np.argsort(coco.places)
    ids = coco.ids[in_file]
    for entry, number in zip(content["annotations"], ids.tolist(), strict=True):
        if entry.get("id") is None:
            entry["id"] = number
    return Annotations(
        path,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        content,
        ids=ids,
        images=coco.images[in_file],
        labels=coco.labels[in_file],
        protected=coco.ignored[in_file],
        classes=coco.classes,
    )
