"""LVIS v1 for object detection: 1,203 long-tailed classes on the pictures of COCO."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.inputs import Inputs
from datamodules.common.reports import compare_count, first_names
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.coco_files import annotation_file, without_size
from datamodules.detection.coco_json import read_annotations
from datamodules.detection.datamodule import DetectionDataModule, PictureSide
from datamodules.detection.orientations import check_orientations
from datamodules.detection.picture_places import locate_pictures, refuse_outside, usual_folders, without_missing
from datamodules.detection.prediction import categories_in
from datamodules.detection.records import CocoRecords, records
from datamodules.detection.second_view import SecondView
from datamodules.detection.synthetic import SyntheticPictures
from visionscapes.checks import Among, AnyInt, PositiveInt, PositiveShare, Workers, check_options
from visionscapes.errors import UserError
from visionscapes.seeding import derived_seed

PUBLISHED_IMAGES = {"train": 100_170, "val": 19_809}
TREE = """
<root>/
    train2017/000000000009.jpg         (or images/train2017/; pictures of COCO)
    val2017/                           (lvis_v1_val.json names pictures of both)
    annotations/lvis_v1_train.json     (or <root>/lvis_v1_train.json; --data.init_args.train_annotations)
    annotations/lvis_v1_val.json       (--data.init_args.val_annotations)
"""
REMEDIES = (
    "If you have it, point to its folder: --data.init_args.root=<folder that holds train2017 and val2017>",
    "If not, download train2017.zip and val2017.zip from cocodataset.org, lvis_v1_train.json.zip and"
    " lvis_v1_val.json.zip from lvisdataset.org, and unpack them there",
    "Leave out what is missing: --data.init_args.skip_missing=true",
)


class LVISDetection(DetectionDataModule):
    """LVIS v1: boxes and, if asked for, masks of 1,203 classes; batches as in ``datamodules.detection.samples``.

    Of a picture only some classes were judged: the truth carries "negative", labels verified to be absent, and
    "not_exhaustive", labels of which there may be more than is annotated. Pictures without annotations are kept, for
    their negative labels. ``frequencies[label]`` is "r", "c" or "f" (rare, common, frequent), as the file says.

    Args:
        root: the folder that holds COCO's train2017 and val2017, or images/train2017 and images/val2017.
        train_annotations: file to train on in place of lvis_v1_train.json; a path, or one within ``root``.
        val_annotations: file to evaluate on in place of lvis_v1_val.json.
        repeat_threshold: t of `repeat_factors`, the frequency below which pictures of a class are repeated in an
            epoch; null for none.
        batch_size: pictures a batch and process.
        num_workers: processes that load.
        seed: of order, sizes, flips, views, and the rounding of repeats.
        train_sizes: shorter sides in pixels, one of which is drawn for every picture to train on.
        longest: most pixels of the longer side.
        test_size: shorter side in pixels of pictures to evaluate on.
        with_masks: whether training batches and the truth hold "masks".
        skip_missing: leave out pictures that are not there, and annotations of pictures or categories that the file
            does not define, and say how many; an error if not.
        second_view: draws "second_view", for methods that compare two views of a picture.
        pictures: to predict: a file, a folder, a pattern such as "photos/*.jpg", or a list of these; those that are
            evaluated if None.
        skip_unreadable: leave out pictures to predict that cannot be read, and say which.
        synthetic: generated pictures to train on too, see `SyntheticPictures`.

    Raises:
        UserError: a number out of its range; in ``setup``, damaged annotations, or boxes that cannot be right.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    classes: tuple[str, ...] = ()
    frequencies: tuple[str, ...] = ()
    category_ids: tuple[int | str, ...] = ()

    def __init__(
        self,
        root: str,
        train_annotations: str | None = None,
        val_annotations: str | None = None,
        repeat_threshold: PositiveShare | None = 0.001,
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
        synthetic: SyntheticPictures = SyntheticPictures(),
        skip_missing: bool = False,
    ):
        check_options(LVISDetection, locals())
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
        self.root, self.repeat_threshold = Path(root).expanduser(), repeat_threshold
        self.skip_missing = skip_missing
        self.given = {"train": train_annotations, "val": val_annotations}
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
            coco = self.val.coco
            self.classes, self.frequencies = coco.classes, coco.frequencies
            self.category_ids = tuple(coco.category_ids.tolist())
        if stage == "fit" and self.train is None:
            self.train = self._records("train")
            if self.train.coco.classes != self.classes:
                raise UserError(
                    f"{self.train.coco.path} and {self.val.coco.path} define other categories: give files of one kind"
                )

    @override
    def training_images(self) -> Sequence[AnnotatedImage]:
        return self.train or ()

    @override
    def evaluation_images(self) -> Sequence[AnnotatedImage]:
        return self.val or ()

    @override
    def repeats(self) -> np.ndarray | None:
        """Return (M,) int64, how often each picture is gone through in an epoch; None for once.

        Factors are rounded up or down at random with the probability of their fraction, as Detectron2 does in every
        epoch; here once, so that all epochs have one length and a run can resume within one. (mmdet rounds up always.)
        """
        if self.repeat_threshold is None or self.train is None:
            return None
        factors = repeat_factors(self.train.label_sets(), len(self.classes), self.repeat_threshold)
        chance = np.random.default_rng(derived_seed(self.seed)).random(len(factors))
        return np.floor(factors + chance).astype(np.int64)

    @override
    def read_categories(self) -> list[dict[str, Any]]:
        return self.categories or categories_in(self._annotation_file("val"))

    def _annotation_file(self, part: Literal["train", "val"]) -> Path:
        name = f"lvis_v1_{part}.json"
        return annotation_file(self.given[part], self.root, [f"annotations/{name}", name])

    def _records(self, part: Literal["train", "val"]) -> CocoRecords:
        path = self._annotation_file(part)
        if not path.is_file():
            raise self._not_found(path)
        coco = read_annotations(path, self.with_masks, skip_orphans=self.skip_missing)
        if not set(coco.frequencies) <= {"r", "c", "f"}:
            raise UserError(
                f'{path} does not give a "frequency" of r, c or f to every category: give a file of LVIS v1'
            )
        if self.given[part] is None:
            compare_count(f"LVIS v1 {part}", "images", len(coco.image_ids), PUBLISHED_IMAGES[part])
        paths, absent = locate_pictures(coco, usual_folders(self.root, path, ["", "images", "train2017"]), part=part)
        if self.skip_missing:
            coco, paths = without_missing(coco, paths, absent, f"LVIS v1 {part}", self.root)
        elif absent.any():
            refuse_outside(coco, absent)
            raise self._not_found(first_names([Path(each) for each in np.array(paths)[absent].tolist()], self.root))
        found = records(coco, paths, f"LVIS v1 {part}", evaluated=part == "val")
        if len(coco.image_ids) != PUBLISHED_IMAGES[part]:  # whose annotations are of the stored pixels
            check_orientations(
                paths, found.coco.sizes, f"LVIS v1 {part}", upright=False, unstated=without_size(coco), option=""
            )
        return found

    def _not_found(self, missing: str | Path) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name="LVIS v1", looked_in=self.root, expected=TREE, remedies=REMEDIES, missing=missing
        )


def repeat_factors(label_sets: Sequence[np.ndarray], classes: int, threshold: float) -> np.ndarray:
    """Return how often each picture should be seen in an epoch so that rare classes are seen more often.

    With f(c) the share of the pictures that show class c: r(c) = max(1, sqrt(threshold / f(c))), and a picture has the
    largest r(c) of its classes, 1 if it shows none (Gupta et al. 2019, LVIS, repeat factor sampling).

    Args:
        label_sets: of each of M pictures, its labels, each once.
        classes: K; labels lie in [0, K).
        threshold: t, a share of the pictures; classes above are not repeated.

    Returns:
        (M,) float64, at least 1.
    """
    shown = np.bincount(np.concatenate([*label_sets, np.empty(0, np.int64)]), minlength=classes)
    share = np.maximum(shown, 1) / len(label_sets)  # what no picture shows is asked of none
    of_class = np.maximum(1, np.sqrt(threshold / share))
    return np.array([of_class[labels].max(initial=1) for labels in label_sets])
