"""Label maps of the frames of clips, as any face parser writes them."""

import os
import re
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from datamodules.clips.heads.label_orders import UNKNOWN, order_table
from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.label_maps import (
    FACE_PARTS,
    MOST_CLASSES,
    check_same_shape,
    merge_masks,
    read_labels,
    resize_labels,
)
from datamodules.procedural.faces.canvas import Label
from visionscapes.errors import UserError

COARSE, FINE = "256", "512"  # folders of two passes, named after the sides of the pictures that the parser saw
OF_THE_COARSE = (Label.HAIR, Label.NECK, Label.CLOTH)
EXPECTED = f"""\
<labels>/<clip>/<frame>.png ...              (the values are labels; <clip> is named as below the root)
or <labels>/<clip>/<frame>_<part>.png ...    (masks of the parts of CelebAMask-HQ: {", ".join(FACE_PARTS[:3])}, ...)
or <labels>/{COARSE}/... and <labels>/{FINE}/...   (a parser's passes over pictures of both sizes)"""
REMEDIES = (
    "Write the frames as pictures, python -m datamodules.clips.heads.pictures <root> --out <folder>, and run your face"
    " parser on them",
    "Leave --data.init_args.labels out, which nothing but the layout's pre-training and the upper bound needs",
)
CLIPS_KEPT = 64  # whose files are known


class LabelFiles:
    """The label maps of a folder, in the classes of CelebAMask-HQ.

    The authors run a parser on pictures of 256 and of 512 pixels, because hair, neck and clothes come out better on the
    small ones and small parts on the large ones. Where the folder has both, hair, neck and cloth are the small ones',
    everything else is the large ones', painted in the authors' order: hair, small parts, neck, cloth.

    Args:
        folder: with the maps, see ``EXPECTED``.
        order: of the parser's classes, see `order_table`.

    Raises:
        DatasetNotFoundError: there is no such folder.
        UserError: the order is none.
    """

    def __init__(self, folder: str | Path, order: str = "celebamask-hq"):
        self.folder, self.order = Path(folder).expanduser(), order
        self.table = order_table(order)
        if not self.folder.is_dir():
            raise labels_not_found(self.folder, "the folder itself")
        passes = [self.folder / COARSE, self.folder / FINE]
        self.passes = passes if all(each.is_dir() for each in passes) else [self.folder]
        self._files = lru_cache(CLIPS_KEPT)(files_of)

    def __reduce__(self) -> tuple[type, tuple[Path, str]]:
        """Return how it is made again in another process."""
        return type(self), (self.folder, self.order)

    def frames(self, clip: str) -> set[int]:
        """Return the frames of a clip that have a map, in every pass if there are two."""
        return set.intersection(*(set(self._files(each / clip)) for each in self.passes))

    def read(self, clip: str, frame: int, size: int) -> NDArray[np.uint8]:
        """Return the map of a frame of a clip, resized by nearest neighbours.

        Args:
            clip: its name.
            frame: its number; `frames` has it.
            size: S in pixels.

        Returns:
            (S, S) uint8 labels of CelebAMask-HQ.

        Raises:
            UserError: a file is no label map, is not square, or holds a number that the parser has no class for.
        """
        maps = [self._read(each / clip, frame, size) for each in self.passes]
        return maps[0] if len(maps) == 1 else merged(*maps)

    def _read(self, folder: Path, frame: int, size: int) -> NDArray[np.uint8]:
        files = self._files(folder)[frame]
        if None not in files:  # masks of the parts, named after them
            labels = merge_masks({label: path for label, path in files.items() if label is not None})
        else:
            values = read_labels(files[None], MOST_CLASSES)
            labels = self.table[values]
            if (labels == UNKNOWN).any():
                unknown = ", ".join(map(str, np.unique(values[labels == UNKNOWN])[:8]))
                raise UserError(
                    f"{files[None]} holds {unknown}, for which {self.order} has no class: name the order of the"
                    " parser's classes as --data.init_args.label_order"
                )
        path = next(iter(files.values()))
        check_same_shape((size, size), (labels.shape[1], labels.shape[0]), Path(f"the frame of {folder.name}"), path)
        return resize_labels(labels, size)


def merged(coarse: NDArray[np.uint8], fine: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the map (S, S) of two passes of a parser, over small pictures and over large ones."""
    labels = np.where(coarse == Label.HAIR, np.uint8(Label.HAIR), np.uint8(Label.BACKGROUND))
    small = (fine != Label.BACKGROUND) & ~np.isin(fine, OF_THE_COARSE)
    labels[small] = fine[small]
    for label in (Label.NECK, Label.CLOTH):
        labels[coarse == label] = label
    return labels


def files_of(folder: Path) -> dict[int, dict[int | None, Path]]:
    """Return the files of every frame of a clip: one of None, or one of every label whose part has a mask.

    Raises:
        UserError: a mask of an unknown part, or a frame with a map and with masks.
    """
    found: dict[int, dict[int | None, Path]] = {}
    for name in sorted(os.listdir(folder)) if folder.is_dir() else []:
        matched = re.fullmatch(r"(\d+)(?:_(\w+))?\.png", name, re.IGNORECASE)
        if matched is None:
            continue
        part = matched[2]
        if part is not None and part not in FACE_PARTS:
            raise UserError(
                f"{folder / name} is of no known part: remove it, or name it after one of {', '.join(FACE_PARTS)}"
            )
        files = found.setdefault(int(matched[1]), {})
        files[None if part is None else FACE_PARTS.index(part) + 1] = folder / name
        if None in files and len(files) > 1:
            raise UserError(f"{folder / name} is of a frame that has a map and masks of parts: remove one or the other")
    return found


def labels_not_found(folder: Path, missing: str) -> DatasetNotFoundError:
    """Return the error of label maps that are not there."""
    return DatasetNotFoundError(
        name="The label maps", looked_in=folder, expected=EXPECTED, remedies=REMEDIES, missing=missing
    )
