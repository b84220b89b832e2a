"""COCO for object detection: complete, sparsely annotated, or a random part of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.inputs import Inputs
from datamodules.common.reports import compare_count, first_names
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.coco_files import absent_files, annotation_file, picture_paths
from datamodules.detection.coco_json import CocoAnnotations, read_annotations
from datamodules.detection.datamodule import DetectionDataModule, PictureSide
from datamodules.detection.prediction import categories_in
from datamodules.detection.records import CocoRecords, drawn_split, records, with_removed
from datamodules.detection.second_view import SecondView
from visionscapes.checks import (
    Among,
    AnyInt,
    NonNegativeInt,
    Percent,
    PositiveInt,
    Workers,
    check_options,
)
from visionscapes.errors import UserError
from visionscapes.seeding import derived_seed

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
EXAMPLES = {2017: "000000000009.jpg", 2014: "COCO_train2014_000000000009.jpg"}
VOC_CLASSES = (  # as COCO calls them, in VOC's order
    "airplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "dining table", "dog",
    "horse", "motorcycle", "person", "potted plant", "sheep", "couch", "train", "tv",
)  # fmt: skip


class COCODetection(DetectionDataModule):
    """COCO: boxes and, if asked for, masks of 80 classes; batches as in ``datamodules.detection.samples``.

    Pictures come in the order of their ids; those without annotations are trained on too. Category ids have gaps:
    labels are their places in ascending order, and ``category_ids[label]`` is the id. Crowds are ignored.

    Args:
        root: the folder that holds train2017 and val2017, or images/train2017 and images/val2017, and annotations.
        year: 2017 or 2014, whose pictures are the same, divided in another way.
        train_annotations: file to train on in place of annotations/instances_train<year>.json, such as one that
            ``datamodules.sparse_annotations`` made of it; a path, or one within ``root``.
        val_annotations: file to evaluate on in place of annotations/instances_val<year>.json.
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

    Raises:
        UserError: a number out of its range; in ``setup``, an unknown class, damaged annotations, or boxes that cannot
            be right.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    classes: tuple[str, ...] = ()
    category_ids: tuple[int, ...] = ()

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
        )
        if train_images_count is not None and train_images_percent is not None:
            raise UserError("train_images_count and train_images_percent are both given: set one of them to null")
        self.root, self.year = Path(root).expanduser(), year
        self.given = {"train": train_annotations, "val": val_annotations}
        self.full_annotations = full_annotations
        self.split = drawn_split(split, percent, level, split_seed, full_annotations)
        self.labelled_classes = list(VOC_CLASSES) if labelled_classes == "voc" else labelled_classes
        self.train_images_count, self.train_images_percent = train_images_count, train_images_percent
        self.subset_seed = subset_seed
        self.train: CocoRecords | None = None
        self.val: CocoRecords | None = None

    @override
    def setup(self, stage: str) -> None:
        """Read the annotations; those to train on for "fit" only, and none where pictures of the user are predicted.

        Raises:
            UserError: the files define different categories.
        """
        if self.finds_pictures(stage):
            return
        if self.val is None:
            self.val = self._records("val")
            self.classes = self.val.coco.classes
            self.category_ids = tuple(self.val.coco.category_ids.tolist())
        if stage == "fit" and self.train is None:
            train = self._records("train")
            if train.coco.classes != self.classes:
                raise UserError(
                    f"{train.coco.path} and {self.val.coco.path} define other categories: give files of one kind"
                )
            self.train = train if self.labelled_classes is None else self._labelled(train)

    @override
    def training_images(self) -> Sequence[AnnotatedImage]:
        return self.train or ()

    @override
    def evaluation_images(self) -> Sequence[AnnotatedImage]:
        return self.val or ()

    @override
    def read_categories(self) -> list[dict[str, Any]]:
        return self.categories or categories_in(self._annotation_file("val"))

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

    def _records(self, part: Literal["train", "val"]) -> CocoRecords:
        path = self._annotation_file(part)
        if not path.is_file():
            raise self._not_found(path)
        coco = read_annotations(path, self.with_masks)
        if self.given[part] is None:
            compare_count(f"COCO {part}{self.year}", "images", len(coco.image_ids), PUBLISHED_IMAGES[part, self.year])
        removed = None
        if part == "train":
            coco = self._subset(coco)
            removed = None if self.split is None else self.split.removed(coco)
            if self.full_annotations is not None:
                coco, removed = with_removed(coco, read_annotations(self._full(self.full_annotations), self.with_masks))
        paths = picture_paths(coco, [self.root, self.root / "images"], f"{part}{self.year}")
        absent = absent_files(paths)
        if absent:
            raise self._not_found(first_names(absent, self.root))
        return records(coco, paths, f"COCO {part}{self.year}", evaluated=part == "val", removed=removed)

    def _annotation_file(self, part: Literal["train", "val"]) -> Path:
        return annotation_file(self.given[part], self.root, [f"annotations/instances_{part}{self.year}.json"])

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

    def _full(self, given: str) -> Path:
        path = annotation_file(given, self.root, [])
        if not path.is_file():
            raise self._not_found(path)
        return path

    def _labelled(self, train: CocoRecords) -> CocoRecords:
        unheard = sorted(set(self.labelled_classes or ()) - set(self.classes))
        if unheard:
            raise UserError(f"labelled_classes names {', '.join(unheard)}; the classes are {', '.join(self.classes)}")
        return train.hiding(self.unknown)

    def _not_found(self, missing: str | Path) -> DatasetNotFoundError:
        archives = f"train{self.year}.zip, val{self.year}.zip and annotations_trainval{self.year}.zip"
        return DatasetNotFoundError(
            name=f"COCO {self.year}",
            looked_in=self.root,
            expected=TREE.format(year=self.year, example=EXAMPLES[self.year]),
            remedies=(
                "If you have it, point to its folder: --data.init_args.root=<folder that holds annotations>",
                f"If not, download {archives} from cocodataset.org and unpack them there",
            ),
            missing=missing,
        )
