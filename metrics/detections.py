"""Annotated and detected objects of a set of pictures, as columns with one row for every object."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, TypeVar

import numpy as np

RLE = dict[str, Any]
Columns = TypeVar("Columns", "Annotated", "Detected")


@dataclass(frozen=True)
class Annotated:
    """N annotated objects.

    Attributes:
        pictures: (N,) int64, the position of each object's picture in the set.
        labels: (N,) int64 in [0, K).
        boxes: (N, 4) float xyxy in pixels, x2 and y2 excluded.
        areas: (N,) float in square pixels.
        ignored: (N,) bool, neither hit nor miss: crowds of COCO, difficult objects of VOC.
        masks: N compressed RLE as pycocotools has them, or None.
    """

    pictures: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    ignored: np.ndarray
    masks: Sequence[RLE] | None = None


@dataclass(frozen=True)
class Detected:
    """M detections.

    Attributes:
        pictures: (M,) int64, the position of each detection's picture in the set.
        labels: (M,) int64 in [0, K).
        boxes: (M, 4) float xyxy in pixels, x2 and y2 excluded.
        scores: (M,) float.
        masks: M compressed RLE as pycocotools has them, or None.
    """

    pictures: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    masks: Sequence[RLE] | None = None


def selected(columns: Columns, kept: np.ndarray) -> Columns:
    """Return the rows where ``kept`` (N,) bool is true, in their order."""
    found: dict[str, Any] = {}
    for field in fields(columns):
        value = getattr(columns, field.name)
        if isinstance(value, np.ndarray):
            found[field.name] = value[kept]
        elif value is not None:
            found[field.name] = [value[row] for row in np.flatnonzero(kept)]
    return type(columns)(**found)
