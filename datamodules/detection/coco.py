"""COCO for object detection: complete, sparsely annotated, or a random part of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from typing_extensions import override

from datamodules.common.inputs import Inputs
from datamodules.common.reports import compare_count, first_names
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.categories import aligned, tell_categories, used_categories, without_unused
from datamodules.detection.coco_files import annotation_file, held_out, without_size
from datamodules.detection.coco_json import CocoAnnotations, read_annotations
from datamodules.detection.coco_source import PUBLISHED_IMAGES, CocoSource, Part
from datamodules.detection.datamodule import DetectionDataModule, PictureSide
from datamodules.detection.json_entries import quick_categories, read_json_file
from datamodules.detection.orientations import check_orientations
from datamodules.detection.picture_places import refuse_outside, without_missing
from datamodules.detection.prediction import categories_in
from datamodules.detection.records import CocoRecords, drawn_split, records, with_removed
from datamodules.detection.second_view import SecondView
from datamodules.detection.synthetic import SyntheticPictures
from visionscapes.checks import (
    Among,
    AnyInt,
    NonNegativeInt,
    Percent,
    PositiveInt,
    ShareBelowOne,
    Workers,
    check_options,
)
from visionscapes.errors import UserError
from visionscapes.seeding import derived_seed

VOC_CLASSES = (  # as COCO calls them, in VOC's order
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
    "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
)  # fmt: skip


class COCODetection(DetectionDataModule):
    """COCO, and other data in its format: boxes and, if asked for, masks; batches as ``datamodules.detection.samples``.

    Pictures come in the order of their ids; those without annotations are trained on too. Category ids have gaps:
    labels are their places in ascending order, and ``category_ids[label]`` is the id. Crowds are ignored. Classes are
    those of the file to train on; one to evaluate on may have some of them, in any order and with other ids.

    Args:
        root: the folder that holds train2017 and val2017, or images/train2017 and images/val2017, and annotations; or
            what an annotation tool has exported: the layouts of Roboflow, CVAT, Datumaro, FiftyOne, Label Studio,
            labelme and supervision are known.
        year: 2017 or 2014, whose pictures are the same, divided in another way.
        train_annotations: file to train on in place of annotations/instances_train<year>.json, such as one that
            ``datamodules.sparse_annotations`` made of it; a path, or one within ``root``.
        val_annotations: file to evaluate on in place of annotations/instances_val<year>.json.
        train_images: folder of the pictures that ``train_annotations`` names, a path, or one within ``root``; the usual
            folders if None.
        val_images: folder of the pictures that ``val_annotations`` names.
        val_fraction: share of the pictures to train on that is held out to evaluate on in place of a file of its own.
        val_seed: of the pictures that are held out.
        skip_missing: leave out pictures that are not there, and annotations of pictures or categories that the file
            does not define, and say how many; an error if not.
        leave_out_unused: leave out categories that nothing is annotated with.
        ambiguous_orientation: whether pictures are read as they are stored or "upright", turned as EXIF says, where the
            size in the annotations leaves it open: they are to be turned by 180 degrees, mirrored, or square, or the
            annotations state no size.
        full_annotations: the file that ``train_annotations`` was made from. What it holds beyond them is then known as
            "removed_boxes", for figures about the run; it is never trained on.
        split: sparse split "1" to "5" or "siod" (thesis 3.3.2), drawn over the annotations to train on; none if None.
            What it removes is known as "removed_boxes".
        percent: how much splits 1, 2, 3 and 5 remove.
        level: "easy", "hard" or "extreme", how much split 4 removes.
        split_seed: of the split; ``seed`` leaves it alone.
        labelled_classes: classes that are annotated in training, by name, or "voc" for the twenty of PASCAL VOC
            (recall study of thesis section 3.3.7); all if None. Annotations of the others count as removed, and
            evaluation keeps every class: ``known`` and ``unknown`` hold the labels of the two parts.
        train_images_count: how many pictures to train on, drawn at random; 6000 in section 3.3.7, all if None.
        train_images_percent: the same in percent of all, above 0 to 100; only one of the two can be given.
        subset_seed: of that draw; with one seed, fewer pictures are a part of more.
        batch_size: pictures a batch and process.
        num_workers: processes that load.
        seed: of order, sizes, flips and views.
        train_sizes: shorter sides in pixels, one of which is drawn for every picture to train on.
        longest: most pixels of the longer side.
        test_size: shorter side in pixels of pictures to evaluate on.
        with_masks: whether training batches and the truth hold "masks".
        second_view: draws "second_view", for methods that compare two views of a picture.
        pictures: to predict: a file, a folder, a pattern such as "photos/*.jpg", or a list of these; those that are
            evaluated if None.
        skip_unreadable: leave out pictures to predict that cannot be read, and say which.
        synthetic: generated pictures to train on too, see `SyntheticPictures`.

    Raises:
        UserError: a number out of its range; in ``setup``, an unknown class, damaged annotations, or boxes that cannot
            be right.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    classes: tuple[str, ...] = ()
    category_ids: tuple[int | str, ...] = ()

    def __init__(
        self,
        root: str,
        year: Literal[2017, 2014] = 2017,
        train_annotations: str | None = None,
        val_annotations: str | None = None,
        full_annotations: str | None = None,
        split: Literal["1", "2", "3", "4", "5", "siod"] | None = None,
        percent: Percent | None = None,
        level: Literal["easy", "hard", "extreme"] | None = None,
        split_seed: NonNegativeInt = 0,
        labelled_classes: Literal["voc"] | list[str] | None = None,
        train_images_count: PositiveInt | None = None,
        train_images_percent: Percent | None = None,
        subset_seed: AnyInt = 0,
        batch_size: PositiveInt = 8,
        num_workers: Workers = 2,
        seed: AnyInt = 0,
        train_sizes: list[Annotated[PictureSide, Among(1)]] = list(range(480, 801, 32)),  # noqa: B006 (read only, and the help shows it)
        longest: PictureSide = 1333,
        test_size: PictureSide = 800,
        with_masks: bool = False,
        second_view: SecondView | None = None,
        pictures: Inputs | None = None,
        skip_unreadable: bool = False,
        train_images: str | None = None,
        val_images: str | None = None,
        val_fraction: ShareBelowOne | None = None,
        val_seed: AnyInt = 0,
        skip_missing: bool = False,
        leave_out_unused: bool = False,
        ambiguous_orientation: Literal["stored", "upright"] = "stored",
        synthetic: SyntheticPictures = SyntheticPictures(),
    ):
        check_options(COCODetection, locals())
        super().__init__(
            batch_size,
            num_workers,
            seed,
            train_sizes=train_sizes,
            longest=longest,
            test_size=test_size,
            with_masks=with_masks,
            second_view=second_view,
            pictures=pictures,
            skip_unreadable=skip_unreadable,
            synthetic=synthetic,
        )
        if train_images_count is not None and train_images_percent is not None:
            raise UserError("train_images_count and train_images_percent are both given: set one of them to null")
        self.root, self.year = Path(root).expanduser(), year
        if val_fraction is not None and val_annotations is not None:
            raise UserError("val_fraction and val_annotations are both given: set one of them to null")
        self.source = CocoSource(
            self.root,
            year,
            annotations={"train": train_annotations, "val": val_annotations},
            images={"train": train_images, "val": val_images},
            held_out=bool(val_fraction),
        )
        self.val_fraction, self.val_seed = val_fraction or None, val_seed
        self.skip_missing, self.leave_out_unused = skip_missing, leave_out_unused
        self.upright = ambiguous_orientation == "upright"
        self.full_annotations = full_annotations
        self.split = drawn_split(split, percent, level, split_seed, full_annotations)
        self.labelled_classes = list(VOC_CLASSES) if labelled_classes == "voc" else labelled_classes
        self.train_images_count, self.train_images_percent = train_images_count, train_images_percent
        self.subset_seed = subset_seed
        self.train: CocoRecords | None = None
        self.val: CocoRecords | None = None

    @override
    def setup(self, stage: str) -> None:
        """Read the annotations; those to train on for "fit", and to know the classes of data of the user's own.

        Nothing is read where pictures of the user are predicted.

        Raises:
            UserError: the files contradict themselves or each other.
        """
        if self.finds_pictures(stage):
            return
        wanted: list[Part] = ["train"] if stage == "fit" and self.train is None else []
        wanted += ["val"] if self.val is None and self._evaluates(stage) else []
        if not wanted:
            return
        val = self._read("val") if "val" in wanted and self.val_fraction is None else None
        train = self._read("train") if "train" in wanted or self._defines_classes(val) else None
        full = self._full() if train is not None and self.full_annotations is not None else None
        reference = train or val
        assert reference is not None
        if self.leave_out_unused:
            reference = without_unused(reference, used_categories(reference, val, full))
        self.classes, self.category_ids = reference.classes, tuple(reference.category_ids.tolist())
        train, val, full = (None if each is None else aligned(each, reference) for each in (train, val, full))
        if train is not None and self.val_fraction:
            train, val = held_out(train, self.val_fraction, self.val_seed)
            val = val if full is None else with_removed(val, full)[0]
        if val is not None and "val" in wanted:
            self.val = self._records(val, "val", folder="train" if self.val_fraction else "val")
        if train is not None and "train" in wanted:
            self.train = self._training_records(train, full)

    @override
    def training_images(self) -> Sequence[AnnotatedImage]:
        return self.train or ()

    @override
    def evaluation_images(self) -> Sequence[AnnotatedImage]:
        return self.val or ()

    @override
    def read_categories(self) -> list[dict[str, Any]]:
        if self.categories:
            return self.categories
        part: Part = "train" if self._has_classes() else "val"
        known = categories_in(self.source.annotation_file(part))
        if not known or not self.leave_out_unused:
            return known
        try:
            return [each for each in known if each["name"] in self._used()]
        except UserError:
            return []

    @property
    def known(self) -> list[int]:
        """Labels of the classes that are annotated in training, after ``setup``."""
        if self.labelled_classes is None:
            return list(range(len(self.classes)))
        return [label for label, name in enumerate(self.classes) if name in self.labelled_classes]

    @property
    def unknown(self) -> list[int]:
        """Labels of the other classes, after ``setup``."""
        return sorted(set(range(len(self.classes))) - set(self.known))

    def _evaluates(self, stage: str) -> bool:
        """Return whether a stage evaluates: training does not if the trainer is told so."""
        return stage != "fit" or getattr(self.trainer, "limit_val_batches", 1) != 0

    def _has_classes(self) -> bool:
        """Return whether the file to train on says what the classes are; both files of COCO's own do."""
        return (self.leave_out_unused or not self.source.published) and self.source.annotation_file("train").is_file()

    def _defines_classes(self, val: CocoAnnotations | None) -> bool:
        """Return whether the file to train on has to be read to know the classes, or the pictures to evaluate on."""
        if val is None or not self._has_classes():
            return val is None
        ids = dict(zip(val.category_ids.tolist(), val.classes, strict=True))
        return self.leave_out_unused or quick_categories(read_json_file(self.source.annotation_file("train"))) != ids

    def _used(self) -> set[str]:
        """Return the names of the categories that something is annotated with."""
        files = [self.source.annotation_file(part) for part in ("train", "val")]
        found = [read_annotations(path, skip_orphans=self.skip_missing) for path in files if path.is_file()]
        return {each.classes[label] for each in found for label in np.unique(each.labels)}

    def _read(self, part: Part) -> CocoAnnotations:
        """Return the annotations of a part, of all its pictures that are there if others are skipped."""
        path = self.source.annotation_file(part)
        if not path.is_file():
            raise self.source.not_found(path, part)
        coco = read_annotations(path, self.with_masks, skip_orphans=self.skip_missing)
        if self.source.published:
            compare_count(f"COCO {part}{self.year}", "images", len(coco.image_ids), PUBLISHED_IMAGES[part, self.year])
        else:
            tell_categories(coco)
        if self.skip_missing:
            coco, _ = without_missing(coco, *self.source.located(coco, part), self.source.name(part), self.root)
        return coco

    def _training_records(self, coco: CocoAnnotations, full: CocoAnnotations | None) -> CocoRecords:
        coco = self._subset(coco)
        removed = None if self.split is None else self.split.removed(coco)
        if full is not None:
            coco, removed = with_removed(coco, full)
        train = self._records(coco, "train", folder="train", removed=removed)
        return train if self.labelled_classes is None else self._labelled(train)

    def _records(
        self, coco: CocoAnnotations, part: Part, *, folder: Part, removed: np.ndarray | None = None
    ) -> CocoRecords:
        paths, absent = self.source.located(coco, folder)
        if absent.any():
            refuse_outside(coco, absent)
            missing = [Path(paths[place]) for place in np.flatnonzero(absent).tolist()]
            raise self.source.not_found(first_names(missing, self.root), folder, pictures=True)
        name = self.source.name(folder) + ("" if part == folder else ", held out")
        evaluated = part == "val"
        found = records(coco, paths, name, evaluated=evaluated, removed=removed, upright=self.upright)
        if len(coco.image_ids) != PUBLISHED_IMAGES[part, self.year]:  # whose annotations are of the stored pixels
            unstated = without_size(coco)
            check_orientations(paths, found.coco.sizes, name, upright=self.upright, unstated=unstated)
        return found

    def _subset(self, coco: CocoAnnotations) -> CocoAnnotations:
        there, count = len(coco.image_ids), self.train_images_count
        if self.train_images_percent is not None:
            count = max(1, round(there * self.train_images_percent / 100))
        if count is None:
            return coco
        if count > there:
            raise UserError(f"train_images_count is {count}, but {coco.path} has {there} pictures: ask for fewer")
        order = np.random.default_rng(derived_seed(self.subset_seed)).permutation(there)
        return coco.of(np.sort(order[:count]))

    def _full(self) -> CocoAnnotations:
        path = annotation_file(self.full_annotations, self.root, [])
        if not path.is_file():
            raise self.source.not_found(path, "train")
        return read_annotations(path, self.with_masks, skip_orphans=self.skip_missing)

    def _labelled(self, train: CocoRecords) -> CocoRecords:
        unheard = sorted(set(self.labelled_classes or ()) - set(self.classes))
        if unheard:
            raise UserError(f"labelled_classes names {', '.join(unheard)}; the classes are {', '.join(self.classes)}")
        return train.hiding(self.unknown)
