"""CelebAMask-HQ: faces with the masks of their parts (Lee et al., 2020).

As a command it merges the masks into one label map for each face, with which a sample loads about three times as fast:

    python -m datamodules.celeba_mask_hq <root> <folder>
"""

import argparse
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import read_image
from datamodules.common.inputs import Inputs
from datamodules.common.label_maps import (
    CELEBA_FLIP_PAIRS,
    CELEBA_MASK_NAMES,
    check_same_shape,
    merge_masks,
    read_labels,
)
from datamodules.common.reports import compare_count, first_names
from datamodules.translation.celeba_mask_files import (
    PARTITION,
    CelebAFace,
    dataset_folder,
    find_faces,
    read_mapping,
    read_partition,
)
from datamodules.translation.pair_files import folder_or_none
from datamodules.translation.pairs import Draws, Split, TranslationData
from datamodules.translation.pictures import image_tensor, labels_tensor
from visionscapes.checks import AnyInt, ImageSize, NonNegativeInt, PositiveInt, Workers, check_options
from visionscapes.errors import UserError, tell
from visionscapes.files import atomic_write
from visionscapes.progress import track

PUBLISHED = {"train": 24_183, "val": 2_993, "test": 2_824}
FACES = 30_000


class FaceFiles(Dataset):
    """Faces as samples: "image", "labels" and "name", the number, as `TranslationData` describes them.

    Args:
        faces: their files.
        image_size: S in pixels.
        merged: folder of merged label maps, <number>.png; None to merge the masks of every sample.
        ignore_label: of the merged label maps, see `TranslationData`.
    """

    def __init__(
        self,
        faces: Sequence[CelebAFace],
        image_size: int,
        merged: Path | None = None,
        ignore_label: int | None = None,
    ):
        self.faces, self.image_size, self.merged = list(faces), image_size, merged
        self.ignore_label = ignore_label

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, labels = self.stored(index)
        return {
            "image": image_tensor(image, self.image_size),
            "labels": labels_tensor(labels, self.image_size),
            "name": str(self.faces[index].number),
        }

    def named(self, position: int) -> str:
        """Return the file of a face."""
        return str(self.faces[position].image)

    def stored(self, position: int) -> tuple[Image.Image, NDArray[np.uint8]]:
        """Return a face and its label map, as stored.

        Raises:
            UserError: a file cannot be used, or they do not fit each other.
        """
        face = self.faces[position]
        image = read_image(face.image)
        if self.merged is None:
            masks = face.masks
            path, labels = next(iter(masks.values())), merge_masks(masks)
        else:
            path = self.merged / f"{face.number}.png"
            labels = read_labels(path, len(CELEBA_MASK_NAMES), self.ignore_label)
        check_same_shape(image.size, labels.shape[::-1], face.image, path)
        return image, labels


class CelebAMaskHQ(TranslationData):
    """CelebAMask-HQ: 30,000 faces with label maps of 19 classes; batches are described in `TranslationData`.

    Images are resized from 1024 pixels, bicubic with antialiasing; label maps from 512, by nearest neighbours. The
    parts are those of CelebA (thesis section 5.3), found through the mapping file: 24,183 faces for training, 2,993 for
    validation, 2,824 for the test. Faces come in the order of their numbers.

    ``predict`` goes through every label map of ``labels`` with every one of ``styles``, or, without these folders,
    through all combinations of the first ten test faces, as in thesis section 5.5.4.

    Args:
        root: the folder that holds CelebA-HQ-img, or the one above it.
        image_size: side of the square images in pixels; 256 and 512 in the thesis.
        batch_size: pairs a batch and process.
        num_workers: processes that load.
        merged: folder of label maps that `python -m datamodules.celeba_mask_hq` wrote; if None, the masks of the parts
            are merged whenever a face is loaded, which takes about three times as long.
        partition: CelebA's list_eval_partition.txt; if None, the one in ``root``.
        flip: mirror every second training pair, at random, and exchange left and right eye, brow and ear.
        labels: label maps for ``predict``: a folder, a file, a pattern, or a list of these.
        styles: style images for ``predict`` likewise.
        seed: of order and flips, and of the noise of ``draws``.
        skip_unreadable: ``predict`` passes over files that cannot be used, and says which.
        ignore_label: the label of pixels whose label is not known, in ``labels`` and merged label maps, such as 255,
            see `TranslationData`.
        draws: images that ``predict`` makes of a pair, see `TranslationData`.
        keep_aspect: ``predict`` squashes no label map, see `TranslationData`.

    Raises:
        UserError: an option out of its range; in ``setup``, a damaged list.
        DatasetNotFoundError: in ``setup``, if a folder or file is missing.
    """

    classes = len(CELEBA_MASK_NAMES)
    label_names = CELEBA_MASK_NAMES
    swapped = CELEBA_FLIP_PAIRS

    def __init__(
        self,
        root: str,
        image_size: ImageSize = 256,
        batch_size: PositiveInt = 16,
        num_workers: Workers = 2,
        merged: str | None = None,
        partition: str | None = None,
        flip: bool = False,
        labels: Inputs | None = None,
        styles: Inputs | None = None,
        seed: NonNegativeInt = 0,
        skip_unreadable: bool = False,
        ignore_label: AnyInt | None = None,
        draws: Draws | None = None,
        keep_aspect: bool = False,
    ):
        check_options(CelebAMaskHQ, locals())
        super().__init__(
            image_size,
            batch_size,
            num_workers,
            flip=flip,
            seed=seed,
            skip_unreadable=skip_unreadable,
            ignore_label=ignore_label,
            draws=draws,
            keep_aspect=keep_aspect,
        )
        self.root = Path(root).expanduser()
        self.merged, self.partition = folder_or_none(merged), folder_or_none(partition)
        self.labels, self.styles = labels, styles
        self._faces: dict[Split, list[CelebAFace]] | None = None

    @override
    def pairs(self, part: Split) -> FaceFiles:
        """Return the samples of a part, in the order of their numbers.

        Raises:
            UserError: no face is in it.
        """
        if self._faces is None:
            self._faces = self._divided()
        if not self._faces[part]:
            raise UserError(f"No face of {self.root} is in the {part} part: add faces, or use another data set")
        return FaceFiles(self._faces[part], self.image_size, self.merged, ignore_label=self.ignore_label)

    @override
    def samples_to_predict(self) -> Dataset:
        return self.combined(self.labels, self.styles)

    def _divided(self) -> dict[Split, list[CelebAFace]]:
        root = dataset_folder(self.root)
        mapping = read_mapping(root)
        path = root / PARTITION if self.partition is None else self.partition
        partition = read_partition(path, root)
        faces: dict[Split, list[CelebAFace]] = {"train": [], "val": [], "test": []}
        for face in find_faces(root, mapping, with_masks=self.merged is None):
            original = Path(mapping[face.number]).stem
            if original not in partition:
                raise UserError(
                    f"{path} does not list {mapping[face.number]}, which is face {face.number}: give the complete file"
                )
            faces[partition[original]].append(face)
        if len(mapping) == FACES:
            for part, found in faces.items():
                compare_count("CelebAMask-HQ", f"faces in its {part} part", len(found), PUBLISHED[part])
        if self.merged is not None:
            self._check_merged(self.merged, [face for found in faces.values() for face in found])
        return faces

    def _check_merged(self, merged: Path, faces: Sequence[CelebAFace]) -> None:
        there = set(os.listdir(merged)) if merged.is_dir() else set()
        absent = [merged / f"{face.number}.png" for face in faces if f"{face.number}.png" not in there]
        if absent:
            raise DatasetNotFoundError(
                name="The folder of merged label maps",
                looked_in=merged,
                expected="<merged>/0.png ... 29999.png",
                remedies=(
                    f"Write it: python -m datamodules.celeba_mask_hq {self.root} {merged}",
                    "Merge on the fly: --data.init_args.merged=null",
                ),
                missing=first_names(absent, merged),
            )


def write_label_map(face: CelebAFace, folder: Path) -> None:
    """Write the label map of a face as an 8-bit grey PNG, complete or not at all."""
    with atomic_write(folder / f"{face.number}.png") as file:
        Image.fromarray(merge_masks(face.masks)).save(file, "PNG")


def write_label_maps(faces: Sequence[CelebAFace], folder: Path, workers: int) -> None:
    """Write the label maps of faces in parallel, and show how many are done.

    Args:
        faces: with their masks.
        folder: which exists.
        workers: processes.

    Raises:
        UserError: masks that cannot be read or do not fit each other.
    """
    with ProcessPoolExecutor(workers) as processes:
        try:
            done = processes.map(partial(write_label_map, folder=folder), faces, chunksize=8)
            for _ in track(done, "label maps", len(faces)):
                pass
        except BaseException:
            processes.shutdown(cancel_futures=True)  # else leaving the block would wait for all of them
            raise


def main(words: Sequence[str] | None = None) -> int:
    """Write merged label maps; return 0, 2 after an error that the user can mend, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="python -m datamodules.celeba_mask_hq",
        description="Merge the masks of CelebAMask-HQ into label maps, <folder>/<number>.png. Those that are there are"
        " kept, so that an interrupted run goes on where it stopped.",
    )
    parser.add_argument("root", type=Path, help="folder that holds CelebA-HQ-img, or the one above it")
    parser.add_argument("folder", type=Path, help="folder to write to; give it as --data.init_args.merged")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    given = parser.parse_args(words)
    folder = given.folder.expanduser()
    try:
        if given.workers < 1:
            raise UserError(f"--workers is {given.workers}; it has to be at least 1")
        root = dataset_folder(given.root.expanduser())
        faces = find_faces(root, read_mapping(root))
        folder.mkdir(parents=True, exist_ok=True)
        there = set(os.listdir(folder))
        waiting = [face for face in faces if f"{face.number}.png" not in there]
        write_label_maps(waiting, folder, given.workers)
    except (UserError, OSError) as error:  # such as a full disk
        return tell(error)
    except KeyboardInterrupt:
        print("stopped; run the same command to go on", file=sys.stderr)
        return 130
    print(f"{folder}: {len(waiting)} label maps written, {len(faces) - len(waiting)} were there")
    return 0
