"""One number of an evaluation, and the files that keep them."""

import csv
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import Callback

from callbacks.results.presentation import LAYER
from visionscapes.files import atomic_write


@dataclass(frozen=True)
class Result:
    """One figure of one protocol: a row of ``results/<protocol>.csv`` in the run folder."""

    protocol: str
    metric: str
    method: str
    image_size: int
    value: float
    standard_error: float
    count: int


def write_results(results: list[Result], path: Path) -> None:
    """Write one row a figure, columns as in ``Result``."""
    with atomic_write(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Result)])
        writer.writeheader()
        writer.writerows(asdict(result) for result in results)


def layer_results(protocol: str, metric: str, method: str, size: int, values: np.ndarray) -> list[Result]:
    """Return rows for one figure a layer: "<metric>" the best, "<metric> layer" where it is, "<metric> @<l>" each.

    Args:
        protocol: of the rows.
        metric: name of the figure.
        method: name of the model.
        size: side of the images in pixels.
        values: (L,), or () for a figure that has no layers; layers are counted from 1.
    """

    def row(name: str, value: float) -> Result:
        return Result(protocol, name, method, image_size=size, value=float(value), standard_error=float("nan"), count=0)

    if values.ndim == 0:
        return [row(metric, float(values))]
    if np.isnan(values).all():
        return []
    best = int(np.nanargmax(values))
    each = [row(f"{metric} @{layer}", value) for layer, value in enumerate(values, 1)]
    return [row(metric, values[best]), row(f"{metric}{LAYER}", best + 1), *each]


def plain_settings(callback: Callback) -> dict[str, Any]:
    """Return what a protocol's figures depend on besides model and data: its public attributes with plain values."""
    plain = (str, int, float, bool, list, tuple, type(None))
    skipped = {"results", "methods"}
    return {
        key: value
        for key, value in vars(callback).items()
        if not key.startswith("_") and key not in skipped and isinstance(value, plain)
    }
