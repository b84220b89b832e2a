"""Where the pictures and annotations of data sets in COCO's format lie."""

from collections.abc import Sequence
from dataclasses import replace
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.common.image_kinds import can_read_phones
from datamodules.common.reports import report
from datamodules.detection.coco_json import CocoAnnotations
from datamodules.detection.orientations import on_its_side
from visionscapes.errors import UserError
from visionscapes.seeding import derived_seed


def annotation_file(given: str | None, root: Path, usual: Sequence[str]) -> Path:
    """Return the file of annotations, which may be absent.

    Args:
        given: by the user: a path, or one within ``root``; None for the usual one.
        root: folder of the data set.
        usual: paths within ``root`` where the file can lie.
    """
    places = [root / each for each in usual] if given is None else [Path(given).expanduser(), root / given]
    return next((place for place in places if place.is_file()), places[0])


def with_sizes(coco: CocoAnnotations, paths: Sequence[str], *, upright: bool = False) -> CocoAnnotations:
    """Return the annotations with the sizes of the picture files where the file does not say any, and tell it.

    Args:
        coco: the annotations.
        paths: of the pictures, in their order.
        upright: whether pictures are turned as EXIF says, since no size tells whether they were for the annotations.

    Raises:
        UserError: a picture whose size is needed cannot be read.
    """
    unknown = np.flatnonzero(without_size(coco))
    if not len(unknown):
        return coco
    sizes = coco.sizes.copy()
    with ThreadPool(16) as threads:
        wanted = [(Path(paths[place]), upright) for place in unknown.tolist()]
        sizes[unknown] = threads.starmap(picture_size, wanted, chunksize=64)
    report(
        '%s: %d of %d pictures have no "height" and "width"; those of the files are taken', coco.path, len(unknown),
        len(sizes),
    )  # fmt: skip
    return replace(coco, sizes=sizes)


def without_size(coco: CocoAnnotations) -> np.ndarray:
    """Return (I,) bool: of which pictures the file does not state height and width."""
    return np.any(coco.sizes < 1, axis=1)


def picture_size(path: Path, upright: bool = False) -> tuple[int, int]:
    """Return height and width of a picture without decoding it.

    Args:
        path: of the file.
        upright: whether it is turned as EXIF says.

    Raises:
        UserError: the beginning of the file is damaged.
    """
    try:
        can_read_phones()
        with Image.open(path) as image:
            turned = upright and on_its_side(image)
            return (image.width, image.height) if turned else (image.height, image.width)
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes lead them to
        raise UserError(f"cannot read the image {path} ({error}): replace the file") from error


def held_out(coco: CocoAnnotations, fraction: float, seed: int) -> tuple[CocoAnnotations, CocoAnnotations]:
    """Return annotations to train on, and those of a random part of the pictures to evaluate on.

    Args:
        coco: all annotations.
        fraction: share of the pictures to evaluate on.
        seed: of the draw; with one seed, a smaller share is a part of a larger one.

    Raises:
        UserError: fewer than two pictures are there, or annotated; none that is held out is annotated, or none of the
            others.
    """
    there = len(coco.image_ids)
    if there < 2:
        raise UserError(
            f"{coco.path} has one picture, of which no share can be held out: give val_annotations, or train without "
            "evaluation, --trainer.limit_val_batches=0"
        )
    annotated = len(np.unique(coco.images))
    if annotated < 2:
        what = "one picture with annotations" if annotated else "no annotation"
        raise UserError(
            f"{coco.path} has {what}, so that no share can be held out: give val_annotations, or a file with more"
        )
    count = min(max(1, round(there * fraction)), there - 1)
    order = np.random.default_rng(derived_seed(seed)).permutation(there)
    train, val = coco.of(np.sort(order[count:])), coco.of(np.sort(order[:count]))
    shown = f"{coco.path}: the {count} of {there} pictures that val_fraction={fraction:g} holds out"
    if not len(val.ids):
        advice = "hold out more, or others" if count < there - 1 else "hold out others"
        raise UserError(f"{shown} have no annotation: {advice} by another val_seed")
    if not len(train.ids):
        advice = "hold out fewer, or others" if count > 1 else "hold out others"
        raise UserError(f"{shown} have all the annotations: {advice} by another val_seed")
    return train, val
