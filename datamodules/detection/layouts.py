"""Layouts that grounded inpainters draw anew: pictures with the boxes and names of their objects (thesis 7.2.2).

A batch has task "generate" and is one picture; N objects::

    "task"    "generate"
    "image"   (3, H, W) uint8 RGB
    "boxes"   (N, 4) float32 xyxy pixels, of what is to be painted
    "names"   N names of classes
    "seed"    int in [0, 2^63), of this copy of this picture
    "name"    what the generated picture is called
    "source"  dict of plain values: "image_id", "file_name", "copy", "height", "width", "objects", "crowds", and for
              LVIS "neg_category_ids" and "not_exhaustive_category_ids"; of the "objects" those of "boxes" come
              first, then those that stay as they are

Every process ends with a batch of task "end", so that one that has nothing to do takes part in what all do together.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset, Sampler
from typing_extensions import override

from datamodules.common.inputs import Inputs
from datamodules.common.reports import report, report_left_out
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.datamodule import DetectionDataModule
from datamodules.detection.drawn_layouts import DrawnLayouts, LayoutDrawer
from datamodules.detection.generated import GeneratedFolder
from datamodules.detection.layout_source import (
    LayoutSource,
    boxes_within,
    digest_of,
    source_in_files,
    source_of,
)
from visionscapes.checks import NonNegativeInt, PositiveInt, Workers, check_options
from visionscapes.errors import UserError
from visionscapes.options import group_of, plain
from visionscapes.processes import from_first, rank_and_world_size
from visionscapes.seeding import derived_seed

SHOWN = 3  # names in a message
AGAIN = "made_again"  # folder in the run folder, of pictures that are made again


class Layouts(LightningDataModule):
    """Layouts of annotated pictures, to generate pictures with the same layouts; for ``predict`` alone.

    Crowds and difficult objects are no part of a layout: they stay in the picture, and in its annotations as what is to
    be ignored. Pictures without boxes are left out and counted. What is generated is a function of the picture, the
    number of the copy and the seed. Pictures that lie in ``output`` already are not generated again.

    Args:
        annotations: a JSON file in COCO's or LVIS's format.
        images: the folder of its pictures.
        real: a data module for detection whose training pictures are taken where no ``annotations`` are given.
        copies: pictures that are generated of each.
        seed: of all that is drawn.
        output: folder that the pictures go to; "generated" in the run folder if None.
        drawn: what is drawn of the layouts, in place of the classes and places that are annotated.
        limit: so many pictures of the source at most, the first; all if None.
        only: names of generated pictures, such as "000000000139-0", which are made again, whether they are there or
            not. They go to the run folder and are compared with the manifest in ``output``.
        skip_missing: leave out pictures that are not there, and annotations of what is not defined; say how many.
        num_workers: processes that load.

    Raises:
        UserError: a number out of its bounds; neither ``annotations`` with ``images`` nor ``real``; in ``setup``, no
            picture has a box, a class has no name, or nothing is called as ``only`` asks.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    def __init__(
        self,
        annotations: str | None = None,
        images: str | None = None,
        real: DetectionDataModule | None = None,
        copies: PositiveInt = 1,
        seed: NonNegativeInt = 0,
        output: str | None = None,
        drawn: DrawnLayouts = DrawnLayouts(),
        limit: PositiveInt | None = None,
        only: Inputs | None = None,
        skip_missing: bool = False,
        num_workers: Workers = 0,
    ):
        check_options(Layouts, locals())
        super().__init__()
        if (annotations is None) != (images is None):
            missing = "images, the folder of its pictures" if images is None else "annotations, the file about them"
            raise UserError(f"annotations and images belong together: give --data.{missing}, too")
        if annotations is None and real is None:
            raise UserError(
                "nothing says where layouts come from: give --data.annotations=<file> and --data.images=<folder>, or a "
                "data module for detection as --data.real"
            )
        self.given = None if annotations is None or images is None else (annotations, images)
        self.real, self.copies, self.seed, self.limit = real, copies, seed, limit
        self.drawn: DrawnLayouts = group_of(Layouts, "drawn", drawn)
        self.output = None if output is None else Path(output).expanduser()
        self.only = [only] if isinstance(only, str) else only
        self.skip_missing, self.num_workers = skip_missing, num_workers
        self.source: LayoutSource | None = None
        self.drawer: LayoutDrawer | None = None
        self.folder = GeneratedFolder(self.output or Path())
        self.compared: GeneratedFolder | None = None
        self.identity: dict[str, Any] = {}
        self.items: list[tuple[int, int]] = []

    @override
    def setup(self, stage: str) -> None:
        """Read the annotations and find what is to be done; for prediction alone.

        Raises:
            UserError: for anything else; there is nothing to do.
        """
        if stage != "predict":
            raise UserError("layouts are for generating pictures, which predict does: python cli.py predict")
        if self.source is None:
            self.source = self._read()
        run = Path(self.trainer.default_root_dir) if self.trainer is not None else Path()
        digest, places = digest_of(self.source)
        without = len(self.source.images) - len(places)
        report_left_out(self.source.title, without, "pictures", len(self.source.images), "they have no box")
        if not places:
            raise UserError(
                f"{self.source.title}: no picture has a box that could be drawn anew: give annotations of single "
                "objects whose boxes have a width and a height above 0 and within their pictures"
            )
        self.drawer = LayoutDrawer(self.source, self.drawn)
        self.identity = {"layouts": digest, "seed": self.seed}
        if self.drawn != DrawnLayouts():
            self.identity["drawn layouts"] = plain({"drawn": self.drawn})["drawn"]
        if self.drawn.classes == "weights":  # whose file can be written anew, with other losses
            self.identity["class weights"] = hashlib.sha256(self.drawer.shares.tobytes()).hexdigest()[:16]
        whole = self.output or run / "generated"
        chosen = [(place, copy) for copy in range(self.copies) for place in places[: self.limit]]
        if self.only is None:
            self.folder, self.compared = GeneratedFolder(whole), None
            done = from_first({entry["name"] for entry in self.folder.entries()})
            self.items = [item for item in chosen if self.name_of(*item) not in done]
            if len(self.items) < len(chosen):
                report("%d of %d pictures are there already", len(chosen) - len(self.items), len(chosen))
        else:
            self.folder, self.compared = GeneratedFolder(run / AGAIN), GeneratedFolder(whole)
            self.items = self._asked([(place, copy) for copy in range(self.copies) for place in places])

    @override
    def predict_dataloader(self) -> DataLoader:
        assert self.source is not None
        return DataLoader(
            dataset=LayoutItems(self),
            sampler=DealtItems(len(self.items)),
            batch_size=None,
            num_workers=self.num_workers,
            generator=torch.Generator(),
        )

    @override
    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Leave layouts where they are: inpainters take them from the CPU."""
        return batch

    @property
    def categories(self) -> list[dict[str, Any]]:
        """Of every label, with "id" and "name", as the annotations have them; none before ``setup``."""
        return [] if self.source is None else self.source.categories

    @property
    def title(self) -> str:
        """What the layouts come from, for people."""
        return "" if self.source is None else self.source.title

    def name_of(self, place: int, copy: int) -> str:
        """Return what a copy of a picture is called."""
        assert self.source is not None
        return f"{self.source.names[place]}-{copy}"

    def _read(self) -> LayoutSource:
        if self.given is not None:
            return source_in_files(*self.given, skip_missing=self.skip_missing)
        assert self.real is not None
        return source_of(self.real)

    def _asked(self, items: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """Return the items that ``only`` names."""
        by_name = {self.name_of(*item): item for item in items}
        asked = [name.removeprefix("images/").removesuffix(".png") for name in self.only or ()]
        if unknown := [name for name in asked if name not in by_name]:
            some = ", ".join(list(by_name)[:SHOWN])
            raise UserError(
                f"no generated picture is called {unknown[0]!r}: there are {some}, ...; a higher copy needs more "
                "--data.copies"
            )
        return [by_name[name] for name in dict.fromkeys(asked)]


class LayoutItems(Dataset):
    """What is to be generated, one picture after the other, and at last the end.

    Args:
        layouts: set up.
    """

    def __init__(self, layouts: Layouts):
        assert layouts.source is not None
        assert layouts.drawer is not None
        self.source, self.items, self.seed, self.drawer = layouts.source, layouts.items, layouts.seed, layouts.drawer

    def __len__(self) -> int:
        return len(self.items) + 1

    def __getitem__(self, index: int) -> dict[str, Any]:
        if index >= len(self.items):
            return {"task": "end"}
        place, copy = self.items[index]
        item, source = self.source.images[place], self.source
        boxes, seed = boxes_within(item), seed_of(self.seed, item.image_id, copy)
        layout = self.drawer(item, seed)
        painted = zip(layout.rows.tolist(), layout.labels.tolist(), layout.boxes, strict=True)
        objects = [self._object(None if row < 0 else item.ids[row].item(), *rest) for row, *rest in painted]
        return {
            "task": "generate",
            "image": torch.from_numpy(np.ascontiguousarray(item.read())).permute(2, 0, 1).contiguous(),
            "boxes": torch.from_numpy(layout.boxes),
            "names": [each["name"] for each in objects],
            "seed": seed,
            "name": f"{source.names[place]}-{copy}",
            "source": {
                "image_id": item.image_id,
                "file_name": file_name_of(item, source.names[place]),
                "copy": copy,
                "height": item.size[0],
                "width": item.size[1],
                "objects": objects + self._annotated(item, layout.kept, boxes),
                "crowds": self._annotated(item, np.flatnonzero(item.ignored), boxes),
                **self._verified(item),
            },
        }

    def _annotated(self, item: AnnotatedImage, rows: np.ndarray, boxes: np.ndarray) -> list[dict[str, Any]]:
        return [self._object(item.ids[row].item(), int(item.labels[row]), boxes[row]) for row in rows.tolist()]

    def _object(self, number: int | str | None, label: int, box: np.ndarray) -> dict[str, Any]:
        category = self.source.categories[label]
        sides = [float(str(side)) for side in box]  # as few digits as tell each from all others of 32 bits
        return {"id": number, "category_id": category["id"], "name": str(category["name"]), "box": sides}

    def _verified(self, item: AnnotatedImage) -> dict[str, Any]:
        """Return what LVIS says of a picture beside its boxes; nothing for other data."""
        if not any("frequency" in each for each in self.source.categories):
            return {}
        lists = {"neg_category_ids": item.negative, "not_exhaustive_category_ids": item.not_exhaustive}
        return {key: [self.source.categories[label]["id"] for label in labels] for key, labels in lists.items()}


class DealtItems(Sampler[int]):
    """The items of this process, then the end, which every process has.

    Args:
        size: number of items of all processes.
    """

    def __init__(self, size: int):
        rank, world_size = rank_and_world_size()
        self.indices = [*range(rank, size, world_size), size]

    def __len__(self) -> int:
        return len(self.indices)

    def __iter__(self) -> Iterator[int]:
        return iter(self.indices)


def seed_of(seed: int, image_id: int | str, copy: int) -> int:
    """Return the seed in [0, 2^63) of a copy of a picture."""
    number = image_id
    if isinstance(number, str):
        number = int.from_bytes(hashlib.sha256(number.encode("utf-8", "surrogatepass")).digest()[:8])
    return derived_seed(seed, number, copy) % 2**63


def file_name_of(item: AnnotatedImage, name: str) -> str | None:
    """Return the file of a picture that is called ``name``, below the folder of all; None where it lies in memory."""
    path = getattr(item.read, "path", None)
    return None if path is None else PurePosixPath(name).with_name(Path(path).name).as_posix()
