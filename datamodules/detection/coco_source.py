"""Where the files and pictures of a data set in COCO's format are: COCO's own places, a user's, or a tool's export."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from datamodules.common.errors import DatasetNotFoundError
from datamodules.detection.coco_files import annotation_file
from datamodules.detection.coco_json import CocoAnnotations
from datamodules.detection.export_layouts import exported_annotations
from datamodules.detection.picture_places import locate_pictures, usual_folders
from visionscapes.errors import UserError

PUBLISHED_IMAGES = {
    ("train", 2017): 118_287,
    ("val", 2017): 5_000,
    ("train", 2014): 82_783,
    ("val", 2014): 40_504,
}
TREE = """
<root>/
    train{year}/{example}        (or images/train{year}/)
    val{year}/
    annotations/instances_train{year}.json     (--data.init_args.train_annotations)
    annotations/instances_val{year}.json       (--data.init_args.val_annotations)
"""
OWN_TREE = """
<root>/                      (or files and folders anywhere, named by the options)
    <annotations>.json       (--data.init_args.train_annotations, --data.init_args.val_annotations)
    <pictures>/              (--data.init_args.train_images, --data.init_args.val_images)
"""
EXAMPLES = {2017: "000000000009.jpg", 2014: "COCO_train2014_000000000009.jpg"}

Part = Literal["train", "val"]


@dataclass(frozen=True)
class CocoSource:
    """A folder with data in COCO's format, and what a user says about it.

    Attributes:
        root: the folder.
        year: of COCO.
        annotations: the files that a user names, None for those of the folder.
        images: the folders of pictures that a user names, None for the usual ones.
        held_out: whether a share of the pictures to train on is held out to evaluate on.
    """

    root: Path
    year: int
    annotations: Mapping[Part, str | None]
    images: Mapping[Part, str | None]
    held_out: bool

    @property
    def published(self) -> bool:
        """Whether the files are looked for where COCO has them, and not given or exported by a tool."""
        usual = [self.usual("train").is_file(), self.usual("val").is_file()]
        return not any(self.annotations.values()) and not self.held_out and (any(usual) or not any(self._exported))

    @cached_property
    def _exported(self) -> tuple[Path | None, Path | None]:
        usual = self.usual("train").is_file() or self.usual("val").is_file()
        return (None, None) if usual or self.annotations["train"] else exported_annotations(self.root)

    def usual(self, part: Part) -> Path:
        """Return where COCO has the annotations of a part."""
        return self.root / "annotations" / f"instances_{part}{self.year}.json"

    def annotation_file(self, part: Part) -> Path:
        """Return where the annotations of a part lie, or should."""
        exported = self._exported[0 if part == "train" else 1]
        if self.annotations[part] is None and exported is not None:
            return exported
        return annotation_file(self.annotations[part], self.root, [str(self.usual(part).relative_to(self.root))])

    def folders(self, part: Part) -> list[Path]:
        """Return the folders in which the pictures of a part are looked for.

        Raises:
            UserError: the one that a user names is none.
        """
        given = self.images[part]
        if given is not None:
            places = [Path(given).expanduser(), self.root / given]
            found = next((place for place in places if place.is_dir()), None)
            if found is None:
                raise UserError(f"{part}_images is {given}, which is no folder, nor one in {self.root}: name one")
            return [found]
        usual = [f"{part}{self.year}", f"images/{part}{self.year}"]
        return usual_folders(self.root, self.annotation_file(part), usual)

    def located(self, coco: CocoAnnotations, part: Part) -> tuple[list[str], np.ndarray]:
        """Return where the pictures of annotations of a part lie, see `datamodules.detection.picture_places`."""
        return locate_pictures(coco, self.folders(part), part=part, option=f"--data.init_args.{part}_images")

    def name(self, part: Part) -> str:
        """Return what to call a part in messages."""
        return f"COCO {part}{self.year}" if self.published else f"{self.annotation_file(part).name} ({part})"

    def not_found(self, missing: str | Path, part: Part, *, pictures: bool = False) -> DatasetNotFoundError:
        """Return the error for what is missing of a part, with remedies that fit COCO or data of the user's own.

        Args:
            missing: what it is.
            part: of which part.
            pictures: whether the annotations are there and pictures are missing.
        """
        own = (
            f"If the data are your own, name the files: --data.init_args.{part}_annotations=<file in COCO's format> and"
            f" --data.init_args.{part}_images=<folder of its pictures>"
        )
        download = (
            "If you have it, point to its folder: --data.init_args.root=<folder that holds annotations>",
            f"If not, download train{self.year}.zip, val{self.year}.zip and annotations_trainval{self.year}.zip from"
            " cocodataset.org and unpack them there",
        )
        skip = "Leave out what is missing: --data.init_args.skip_missing=true"
        remedies: tuple[str, ...]
        if pictures:
            folder = f"Name the folder of the pictures: --data.init_args.{part}_images=<folder>"
            remedies = (*download, skip) if self.published else (folder, skip)
        elif part == "val" and self.annotation_file("train").is_file() and not self.published:
            instead = "--data.init_args.val_annotations=null " if self.annotations["val"] else ""
            remedies = (own, f"Or hold out a share of those to train on: {instead}--data.init_args.val_fraction=0.1")
        else:
            remedies = (*download, own) if self.published else (own,)
        return DatasetNotFoundError(
            name=f"COCO {self.year}" if self.published else "The data in COCO's format",
            looked_in=self.root,
            expected=TREE.format(year=self.year, example=EXAMPLES[self.year]) if self.published else OWN_TREE,
            remedies=remedies,
            missing=missing,
        )
