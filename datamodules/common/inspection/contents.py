"""What a data module can tell of its data set, so that it can be looked over: files, classes and boxes of every part.

A data module that has a method ``contents() -> Mapping[str, PartContents]`` is asked after ``setup("fit")``, and gives
what it knows by the names of its parts, such as "train" and "val". What it leaves out is not looked at.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from datamodules.common.image_files import read_image


@dataclass(frozen=True)
class Opened:
    """A sample as it is stored, read whole.

    Attributes:
        size: width and height of its picture in pixels; None if it has none.
        digest: the same for two samples whose pictures have the same pixels.
        plain: whether all pixels have one colour.
        label_pixels: how many pixels have each label of its label map, by label; None without one.
    """

    size: tuple[int, int] | None
    digest: bytes
    plain: bool = False
    label_pixels: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Boxes:
    """The boxes of a part that are trained or evaluated on.

    Attributes:
        corners: (N, 4) float32 xyxy in pixels of the stored pictures.
        labels: (N,) int64, places in the classes of the part.
        sizes: (N, 2) height and width of the picture of each, pixels.
        empty_pictures: how many pictures have none.
        ignored: how many more are crowds or difficult.
        removed: how many more a sparse split has taken away.
    """

    corners: NDArray[np.float32]
    labels: NDArray[np.int64]
    sizes: NDArray[np.integer]
    empty_pictures: int = 0
    ignored: int = 0
    removed: int = 0


@dataclass(frozen=True)
class PartContents:
    """What a part of a data set holds.

    Attributes:
        names: of the samples, such as the paths of their files; in order.
        open: reads the sample of a position whole; raises a `UserError` that says what is wrong with it.
        classes: names of the classes, by label.
        labels: (N,) int64 of the samples, -1 where unknown; None where samples have no class.
        boxes: of the pictures; None if there are none.
        maps: whether samples have label maps, whose labels are ``classes``.
        described: further figures by what they are, such as "captions".
    """

    names: Sequence[str]
    open: Callable[[int], Opened]
    classes: Sequence[str] = ()
    labels: NDArray[np.int64] | None = None
    boxes: Boxes | None = None
    maps: bool = False
    described: Mapping[str, str | int | float] = field(default_factory=dict)


@runtime_checkable
class HasContents(Protocol):
    """A data module that tells what its data set holds."""

    def contents(self) -> Mapping[str, PartContents]:
        """Return the parts by name, after ``setup("fit")``."""


def opened(image: Image.Image, label_pixels: NDArray[np.int64] | None = None) -> Opened:
    """Return what there is to say of an RGB picture.

    Args:
        image: of 8 bits.
        label_pixels: of its label map, if it has one.
    """
    digest = hashlib.blake2b(str(image.size).encode() + image.tobytes(), digest_size=16).digest()
    plain = all(least == most for least, most in (band.getextrema() for band in image.split()))
    return Opened(image.size, digest, plain, label_pixels=label_pixels)


def picture_files(
    paths: Sequence[Path],
    *,
    upright: bool = False,
    classes: Sequence[str] = (),
    labels: Sequence[int] | NDArray[np.int64] | None = None,
    described: Mapping[str, str | int | float] | None = None,
) -> PartContents:
    """Return the contents of a part that consists of picture files.

    Args:
        paths: of the files.
        upright: see `datamodules.common.image_files.read_image`.
        classes: names of the classes, by label.
        labels: of the files, -1 where unknown; None where they have no class.
        described: further figures.
    """
    return PartContents(
        names=[str(path) for path in paths],
        open=lambda position: opened(read_image(paths[position], upright=upright)),
        classes=classes,
        labels=None if labels is None else np.asarray(labels, np.int64),
        described=described or {},
    )
