"""Annotations in COCO's JSON format as records of pictures, built when they are asked for."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from datamodules.common.reports import report
from datamodules.detection.annotations import AnnotatedImage, PictureFile, check_boxes
from datamodules.detection.coco_files import with_sizes
from datamodules.detection.coco_json import CocoAnnotations
from datamodules.detection.masks import mask_of, tell_without_mask
from datamodules.detection.sparse.splits import DEFAULTS, check_split, choose_removed
from visionscapes.errors import UserError

MANY_IGNORED = 0.15  # of the annotations; in COCO one in a hundred is a crowd, in VOC one in ten difficult


@dataclass(frozen=True)
class CocoRecords(Sequence[AnnotatedImage]):
    """Records of pictures.

    Attributes:
        coco: the annotations.
        boxes: (A, 4) float32 xyxy of every annotation, pixels.
        removed: (A,) bool, which annotations are not to be trained on.
        paths: of the picture files, as strings: they are many.
        image_id: what to call the picture with an id and a path.
        upright: see `datamodules.detection.annotations.PictureFile`.
    """

    coco: CocoAnnotations
    boxes: np.ndarray
    removed: np.ndarray
    paths: tuple[str, ...]
    image_id: Callable[[int | str, Path], int | str]
    upright: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> AnnotatedImage: ...
    @overload
    def __getitem__(self, index: slice) -> list[AnnotatedImage]: ...
    def __getitem__(self, index: int | slice) -> AnnotatedImage | list[AnnotatedImage]:
        """Build a record, or a list of them."""
        if isinstance(index, slice):
            return [self[place] for place in range(len(self))[index]]
        picture, coco = range(len(self))[index], self.coco
        here = slice(*coco.first[picture : picture + 2].tolist())
        size = (int(coco.sizes[picture, 0]), int(coco.sizes[picture, 1]))
        path = Path(self.paths[picture])
        return AnnotatedImage(
            image_id=self.image_id(coco.image_ids[picture].item(), path),
            read=PictureFile(path, size, self.upright),
            size=size,
            boxes=self.boxes[here],
            labels=coco.labels[here],
            ignored=coco.ignored[here],
            removed=self.removed[here],
            areas=coco.areas[here].astype(np.float32),
            ids=coco.ids[here],
            masks=self._masks(range(here.start, here.stop), size),
            negative=coco.negative[picture],
            not_exhaustive=coco.not_exhaustive[picture],
        )

    def hiding(self, labels: Sequence[int]) -> "CocoRecords":
        """Return the same pictures with all annotations of some labels removed, as if nobody had made them.

        Their crowds are not even known: to ignore a region would tell that something is there.
        """
        hidden = np.isin(self.coco.labels, labels)
        kept = ~(hidden & self.coco.ignored)
        removed = (self.removed | hidden)[kept]
        return replace(self, coco=self.coco.only(kept), boxes=self.boxes[kept], removed=removed)

    def label_sets(self) -> list[np.ndarray]:
        """Return, for every picture, the labels of what is to be trained on in it, each once, ascending."""
        trained = ~self.removed & ~self.coco.ignored
        first, labels = self.coco.first, self.coco.labels
        spans = [slice(first[picture], first[picture + 1]) for picture in range(len(self))]
        return [np.unique(labels[span][trained[span]]) for span in spans]

    def _masks(self, annotations: range, size: tuple[int, int]) -> tuple[dict[str, Any], ...] | None:
        if self.coco.segmentations is None:
            return None
        return tuple(mask_of(self.coco, place, size) for place in annotations)


def number_as_id(number: int | str, path: Path) -> int | str:
    """Call a picture by the id that its annotations give it."""
    return number


def stem_as_id(number: int | str, path: Path) -> str:
    """Call a picture by the name of its file without suffix."""
    return path.stem


def records(
    coco: CocoAnnotations,
    paths: Sequence[str],
    name: str,
    *,
    evaluated: bool,
    removed: np.ndarray | None = None,
    image_id: Callable[[int | str, Path], int | str] = number_as_id,
    upright: bool = False,
) -> CocoRecords:
    """Return the records of all pictures after checking their boxes.

    Args:
        coco: the annotations.
        paths: of the picture files, in the order of the pictures.
        name: of the data set, for messages.
        evaluated: they are evaluated on, not trained on; see `datamodules.detection.annotations.check_boxes`.
        removed: (A,) bool, which annotations are known, but not to be trained on; none if None.
        image_id: what to call the picture with an id and a path.
        upright: see `datamodules.detection.annotations.PictureFile`.

    Raises:
        UserError: there is no annotation at all, or boxes cannot be right.
    """
    if not len(coco.ids):
        raise UserError(f"{coco.path} has pictures, but no annotation: give the file with the boxes")
    coco = with_sizes(coco, paths, upright=upright)
    removed = np.zeros(len(coco.ids), bool) if removed is None else removed
    images = coco.images

    def named(place: int) -> str:
        return f"annotation {coco.ids[place]} of {coco.files[images[place]]}"

    boxes, kept = check_boxes(coco.boxes, coco.sizes[images], "xywh", name, named, evaluated=evaluated)
    tell_without_mask(coco, kept, name, named, evaluated=evaluated)
    if not evaluated:
        _tell_ignored(coco.ignored[kept], f"{name} ({coco.path})")
    parts = coco.only(kept), boxes[kept], removed[kept]
    return CocoRecords(*parts, paths=tuple(paths), image_id=image_id, upright=upright)


def _tell_ignored(ignored: np.ndarray, name: str) -> None:
    """Say so if many annotations are not trained on, and refuse it if none is."""
    if ignored.size and ignored.all():
        raise UserError(
            f'{name}: all {len(ignored)} annotations are crowds or difficult ("iscrowd", "ignore", "difficult"), which '
            "are not trained on: set these to 0 where single objects are meant, as some tools write masks as crowds"
        )
    if ignored.size and ignored.mean() > MANY_IGNORED:
        told = '%s: %d of %d annotations are crowds or difficult ("iscrowd", "ignore", "difficult"), not trained on'
        report(told, name, ignored.sum(), len(ignored))


@dataclass(frozen=True)
class DrawnSplit:
    """A sparse split of the training annotations (thesis 3.3.2), drawn when they are read.

    ``python -m datamodules.sparse_annotations`` with the same settings and the same file removes the same annotations.

    Attributes:
        split: "1" to "5" or "siod".
        percent: how much splits 1, 2, 3 and 5 remove.
        level: "easy", "hard" or "extreme", how much split 4 removes.
        seed: of the choice.

    Raises:
        UserError: settings that do not go together.
    """

    split: str
    percent: float | None
    level: str | None
    seed: int

    def __post_init__(self) -> None:
        check_split(self.split, self.percent, self.level, self.seed, DEFAULTS)

    def removed(self, coco: CocoAnnotations) -> np.ndarray:
        """Return (A,) bool, what the split takes away."""
        images, settings = coco.image_ids[coco.images], (self.split, self.percent, self.level, self.seed)
        return choose_removed(images, coco.labels, *settings, protected=coco.ignored, ids=coco.ids)


def drawn_split(
    split: str | None, percent: float | None, level: str | None, seed: int, full_annotations: str | None
) -> DrawnSplit | None:
    """Return the split that a data module was asked for, None for none.

    Raises:
        UserError: settings that do not go together.
    """
    if split is None:
        if percent is not None or level is not None:
            raise UserError(f"percent is {percent} and level {level} without a split that they are for: give split")
        return None
    if full_annotations is not None:
        raise UserError("split draws a split and full_annotations belongs to one that was drawn: give one of them")
    return DrawnSplit(split, percent, level, seed=seed)


def with_removed(sparse: CocoAnnotations, full: CocoAnnotations) -> tuple[CocoAnnotations, np.ndarray]:
    """Return all annotations of the pictures of ``sparse``, and (A,) bool, which of them it lacks.

    Raises:
        UserError: ``sparse`` is not a part of ``full``.
    """
    foreign = int((~np.isin(sparse.ids, full.ids)).sum())
    if foreign or not np.isin(sparse.image_ids, full.image_ids).all() or sparse.classes != full.classes:
        raise UserError(
            f"{sparse.path} is not a part of {full.path} ({foreign} of its annotations are not in there, or pictures "
            "or categories are not): give the file that it was made from as --data.init_args.full_annotations"
        )
    coco = full.of(np.searchsorted(full.image_ids, sparse.image_ids))
    return coco, ~np.isin(coco.ids, sparse.ids)
