"""Boxes with labels."""

from typing import NamedTuple

from torch import Tensor


class LabelledBoxes(NamedTuple):
    """Boxes (N, 4) xyxy with their labels (N,) int64."""

    boxes: Tensor
    labels: Tensor


class Detections(NamedTuple):
    """Boxes (M, 4) xyxy with labels (M,) int64 and scores (M,) in [0, 1]."""

    boxes: Tensor
    labels: Tensor
    scores: Tensor
