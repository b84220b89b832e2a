"""Which pictures EXIF says to turn, and whether their annotations are of the stored or of the turned pixels."""

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.common.image_kinds import can_read_phones
from datamodules.common.reports import report
from datamodules.detection.annotations import wrong_size

ORIENTATION = 0x0112  # the tag of EXIF; 1 is upright
ON_ITS_SIDE = 5  # this value and above exchange width and height
LAST = 8


def check_orientations(
    paths: Sequence[str],
    sizes: np.ndarray,
    name: str,
    *,
    upright: bool,
    unstated: np.ndarray | None = None,
    option: str = "--data.init_args.ambiguous_orientation",
) -> None:
    """Look at the beginnings of all picture files, and tell how those that EXIF says to turn are taken.

    A picture whose width and height are exchanged is turned if its annotations are for the size that it has then. Of
    the others, which are turned by 180 degrees, mirrored or square, the sizes tell nothing, nor where none is stated.

    Args:
        paths: of the pictures.
        sizes: (I, 2) height and width that their annotations are for, pixels.
        name: of the data set.
        upright: how those are taken of which the sizes tell nothing.
        unstated: (I,) bool, whose sizes are not in the annotations but those of the files; none if None.
        option: that says how to take them; "" if there is none.

    Raises:
        UserError: a picture has another size than its annotations are for, either way.
    """
    can_read_phones()
    with ThreadPool(16) as threads:
        headers = np.array(threads.map(_header, paths, chunksize=64), np.int64).reshape(-1, 3)
    stored, side = headers[:, :2], headers[:, 2] >= ON_ITS_SIDE
    turned = np.where(side[:, None], stored[:, ::-1], stored)
    fits, fits_turned = (stored == sizes).all(1), (turned == sizes).all(1)
    read = (headers[:, 2] > 0) & (sizes > 0).all(1)  # what cannot be read is told by who needs it
    wrong = np.flatnonzero(read & ~fits & ~fits_turned)
    if len(wrong):
        first = int(wrong[0])
        raise wrong_size(paths[first], tuple(sizes[first].tolist()), tuple(stored[first]), tuple(turned[first]))
    unstated = np.zeros(len(sizes), bool) if unstated is None else unstated
    by_size = np.flatnonzero(read & fits_turned & ~fits & ~unstated)
    if len(by_size):
        report("%s: %d of %d pictures are turned as EXIF says, such as %s, because their annotations are for the size "
               "that they have then", name, len(by_size), len(paths), Path(paths[by_size[0]]).name)  # fmt: skip
    open_ones = np.flatnonzero(read & (headers[:, 2] > 1) & ((fits & fits_turned) | unstated))
    if len(open_ones):
        taken, other = ("upright", "stored") if upright else ("stored", "upright")
        hint = "; those that are turned by their sizes speak for it" if len(by_size) and not upright else ""
        remedy = f"give {option}={other}" if option else "save them turned, without EXIF,"
        report(
            "%s: of %d of %d pictures, such as %s, EXIF says to turn them by 180 degrees, to mirror them or to turn a "
            "square, or their annotations state no size, so that none tells whether this was done when they were "
            "annotated; they are taken as %s. Look at one with its boxes, and %s if they do not fit%s",
            *(name, len(open_ones), len(paths), Path(paths[open_ones[0]]).name, taken, remedy, hint),
        )


def on_its_side(image: Image.Image) -> bool:
    """Return whether EXIF says to exchange width and height of a picture."""
    return ON_ITS_SIDE <= int(image.getexif().get(ORIENTATION, 1)) <= LAST


def _header(path: str) -> tuple[int, int, int]:
    """Return height, width and EXIF orientation as a file says; an orientation of 0 if it cannot be read."""
    try:
        with Image.open(path) as image:
            orientation = int(image.getexif().get(ORIENTATION, 1))
            return image.height, image.width, orientation if 1 <= orientation <= LAST else 1
    except Exception:  # Pillow's decoders raise whatever the broken bytes lead them to
        return 0, 0, 0
