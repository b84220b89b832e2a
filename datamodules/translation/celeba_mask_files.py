"""The files of CelebAMask-HQ: images, the masks of the parts, and the lists that divide the faces."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.label_maps import FACE_PARTS
from datamodules.common.reports import first_names, listed
from datamodules.translation.pairs import Split
from visionscapes.errors import UserError

IMAGES, MASKS, MAPPING = "CelebA-HQ-img", "CelebAMask-HQ-mask-anno", "CelebA-HQ-to-CelebA-mapping.txt"
PARTITION = "list_eval_partition.txt"
FACES_A_FOLDER = 2_000  # of masks
PARTS: dict[str, Split] = {"0": "train", "1": "val", "2": "test"}
TREE = f"""
<root>/                              (or the folder above it, that holds CelebAMask-HQ)
    {IMAGES}/0.jpg ... 29999.jpg
    {MASKS}/0/00000_skin.png ... 14/29999_neck.png
    {MAPPING}
    {PARTITION}          (of CelebA, --data.init_args.partition)
"""
REMEDIES = (
    "If you have it, point to its folder: --data.init_args.root=<folder that holds CelebA-HQ-img>",
    "If not, ask its authors for CelebAMask-HQ.zip (non-commercial use; switchablenorms/CelebAMask-HQ on GitHub) and"
    f" unpack it; {PARTITION} is part of CelebA",
)


@dataclass(frozen=True, slots=True)
class CelebAFace:
    """A face of the data set.

    Attributes:
        number: of the image, 0 to 29999.
        root: folder of the data set.
        parts: labels of the parts that have a mask, from 1 to 18, ascending.
    """

    number: int
    root: Path
    parts: tuple[int, ...] = ()

    @property
    def image(self) -> Path:
        """File of the image, 1024 x 1024 pixels."""
        return self.root / IMAGES / f"{self.number}.jpg"

    @property
    def masks(self) -> dict[int, Path]:
        """File of the mask of every part by its label, 512 x 512 pixels."""
        folder = self.root / MASKS / str(self.number // FACES_A_FOLDER)
        return {label: folder / f"{self.number:05d}_{FACE_PARTS[label - 1]}.png" for label in self.parts}


def find_faces(root: Path, numbers: Iterable[int], with_masks: bool = True) -> list[CelebAFace]:
    """Return faces with the parts that have a mask, in the order of their numbers.

    Args:
        root: folder of the data set.
        numbers: of the faces.
        with_masks: look for the masks too.

    Raises:
        DatasetNotFoundError: a folder is missing, or a face without image or without any mask.
        UserError: a mask of an unknown part.
    """
    faces = [CelebAFace(number, root) for number in sorted(numbers)]
    images = set(_entries(root / IMAGES, root))
    absent = [face.image for face in faces if face.image.name not in images]
    if absent:
        raise not_found(root, first_names(absent, root))
    if not with_masks:
        return faces
    parts = _find_parts(root, [face.number for face in faces])
    bare = [number for number, labels in parts.items() if not labels]
    if bare:  # a part that is not to be seen has no file, but no face is without any
        example = f"{MASKS}/{bare[0] // FACES_A_FOLDER}/{bare[0]:05d}_skin.png"
        raise not_found(root, f"the masks of {len(bare)} faces, such as {example}")
    return [CelebAFace(number, root, tuple(sorted(labels))) for number, labels in parts.items()]


def _find_parts(root: Path, numbers: Sequence[int]) -> dict[int, list[int]]:
    labels = {name: label for label, name in enumerate(FACE_PARTS, 1)}
    found: dict[int, list[int]] = {number: [] for number in numbers}
    for place in sorted({number // FACES_A_FOLDER for number in numbers}):
        folder = root / MASKS / str(place)
        for name in _entries(folder, root):
            matched = re.fullmatch(r"(\d{5})_(\w+)\.png", name)
            number = -1 if matched is None else int(matched[1])
            if matched is None or number not in found or number // FACES_A_FOLDER != place:
                continue
            if matched[2] not in labels:
                raise UserError(
                    f"{folder / name} is of no known part: remove it, or name it after one of {', '.join(FACE_PARTS)}"
                )
            found[number].append(labels[matched[2]])
    return found


def read_mapping(root: Path) -> dict[int, str]:
    """Return the name that every face has in CelebA, by its number in CelebAMask-HQ.

    Columns are divided by any number of blanks; copies without the header exist.

    Raises:
        DatasetNotFoundError: the file is missing.
        UserError: a line is not a number, a number and a file name, or two lines have one number.
    """
    path = root / MAPPING
    if not path.is_file():
        raise not_found(root, path)
    mapping: dict[int, str] = {}
    for place, line in enumerate(listed(path), 1):
        fields = line.split()
        if place == 1 and not fields[0].isdecimal():
            continue
        if len(fields) != 3 or not fields[0].isdecimal() or int(fields[0]) in mapping:
            raise UserError(
                f"{path}, entry {place}: {line!r} is not a new number, its number in CelebA and its file there: restore"
                " the file of the data set"
            )
        mapping[int(fields[0])] = fields[2]
    if not mapping:
        raise UserError(f"{path} lists no face: restore the file of the data set")
    return mapping


def read_partition(path: Path, root: Path) -> dict[str, Split]:
    """Return the part that every file of CelebA belongs to, by its name without suffix.

    Args:
        path: of CelebA's list_eval_partition.txt: lines "000001.jpg 0"; 0 for training, 1 validation, 2 test.
        root: for the error.

    Raises:
        DatasetNotFoundError: the file is missing.
        UserError: a line is different.
    """
    if not path.is_file():
        raise not_found(root, path)
    partition: dict[str, Split] = {}
    for place, line in enumerate(listed(path), 1):
        fields = line.split()
        if len(fields) != 2 or fields[1] not in PARTS:
            raise UserError(f"{path}, entry {place}: {line!r} is not a file and 0, 1 or 2: restore the file of CelebA")
        partition[Path(fields[0]).stem] = PARTS[fields[1]]
    return partition


def dataset_folder(root: Path) -> Path:
    """Return the folder of the data set, which is ``root`` or lies in it."""
    below = root / "CelebAMask-HQ"
    return below if below.is_dir() else root


def not_found(root: Path, missing: str | Path) -> DatasetNotFoundError:
    """Return the error of something that is missing below ``root``."""
    return DatasetNotFoundError(name="CelebAMask-HQ", looked_in=root, expected=TREE, remedies=REMEDIES, missing=missing)


def _entries(folder: Path, root: Path) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError as error:
        raise not_found(root, f"{folder} ({error.strerror})") from error
