"""PASCAL VOC for object detection: complete, sparsely annotated, and with pictures that nobody annotated.

``python -m datamodules.voc_detection <VOCdevkit> <out.json> --sets "2007 trainval" "2012 trainval"`` writes the
annotations in COCO's format, which ``datamodules.sparse_annotations`` takes.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.inputs import Inputs
from datamodules.common.reports import first_names
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.coco_files import annotation_file
from datamodules.detection.coco_json import CocoAnnotations, read_annotations
from datamodules.detection.datamodule import DetectionDataModule, PictureSide
from datamodules.detection.picture_places import locate_pictures, refuse_outside
from datamodules.detection.records import CocoRecords, drawn_split, records, stem_as_id, with_removed
from datamodules.detection.second_view import SecondView
from datamodules.detection.synthetic import SyntheticPictures
from datamodules.detection.voc_annotations import CLASSES, as_json, read_sets, set_names, voc_roots
from visionscapes.checks import Among, AnyInt, NonNegativeInt, Percent, PositiveInt, Workers, check_options
from visionscapes.errors import UserError, tell
from visionscapes.files import write_text

MAKE_JSON = 'python -m datamodules.voc_detection <VOCdevkit> <out.json> --sets "2007 trainval"'
TREE = """
<root>/VOCdevkit/VOC2007/        (or <root>/VOC2007/)
    JPEGImages/000005.jpg
"""


class VOCDetection(DetectionDataModule):
    """PASCAL VOC: boxes of 20 classes; batches as in ``datamodules.detection.samples``.

    Boxes are 1-based and inclusive in the files; (xmin - 1, ymin - 1, xmax, ymax) has x2 and y2 excluded. Difficult
    objects are ignored, in training too; Detectron2 trains on them. Pictures are called by the name of their file.

    Args:
        root: a folder that holds VOCdevkit, the folder VOCdevkit, or the folder VOC2007 or VOC2012 itself.
        train: sets to train on, year and split of ImageSets/Main: "2007 trainval", "2012 trainval".
        val: sets to evaluate on.
        train_annotations: file in COCO's format to train on in place of ``train``, such as one that
            ``datamodules.sparse_annotations`` made of what the command line above wrote; a path, or one within
            ``root``.
        full_annotations: the file that ``train_annotations`` was made from. What it holds beyond them is then known as
            "removed_boxes", for figures about the run; it is never trained on.
        split: sparse split "1" to "5" or "siod" (thesis 3.3.2), drawn over the annotations to train on; none if None.
            What it removes is known as "removed_boxes"; difficult objects are neither removed nor counted.
        percent: how much splits 1, 2, 3 and 5 remove.
        level: "easy", "hard" or "extreme", how much split 4 removes.
        split_seed: of the split; ``seed`` leaves it alone.
        unlabelled: sets whose pictures are trained on as if nobody had annotated them ("2012 trainval" in table 3.3 of
            the thesis); their objects are known as "removed_boxes".
        batch_size: pictures a batch and process.
        num_workers: processes that load.
        seed: of order, sizes, flips and views.
        train_sizes: shorter sides in pixels, one of which is drawn for every picture to train on.
        longest: most pixels of the longer side.
        test_size: shorter side in pixels of pictures to evaluate on.
        second_view: draws "second_view", for methods that compare two views of a picture.
        pictures: to predict: a file, a folder, a pattern such as "photos/*.jpg", or a list of these; those that are
            evaluated if None.
        skip_unreadable: leave out pictures to predict that cannot be read, and say which.
        synthetic: generated pictures to train on too, see `SyntheticPictures`.

    Raises:
        UserError: a set is not written as year and split, or a number below 1; in ``setup``, damaged annotations, boxes
            that cannot be right, or a picture that is labelled and unlabelled.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    classes = CLASSES

    def __init__(
        self,
        root: str,
        train: list[str] = ["2007 trainval", "2012 trainval"],  # noqa: B006 (read only, and the help shows it)
        val: list[str] = ["2007 test"],  # noqa: B006
        train_annotations: str | None = None,
        full_annotations: str | None = None,
        split: Literal["1", "2", "3", "4", "5", "siod"] | None = None,
        percent: Percent | None = None,
        level: Literal["easy", "hard", "extreme"] | None = None,
        split_seed: NonNegativeInt = 0,
        unlabelled: list[str] = [],  # noqa: B006
        batch_size: PositiveInt = 8,
        num_workers: Workers = 2,
        seed: AnyInt = 0,
        train_sizes: list[Annotated[PictureSide, Among(1)]] = list(range(480, 801, 32)),  # noqa: B006
        longest: PictureSide = 1333,
        test_size: PictureSide = 800,
        second_view: SecondView | None = None,
        pictures: Inputs | None = None,
        skip_unreadable: bool = False,
        synthetic: SyntheticPictures = SyntheticPictures(),
    ):
        check_options(VOCDetection, locals())
        super().__init__(
            batch_size,
            num_workers,
            seed,
            train_sizes=train_sizes,
            longest=longest,
            test_size=test_size,
            with_masks=False,
            second_view=second_view,
            pictures=pictures,
            skip_unreadable=skip_unreadable,
            synthetic=synthetic,
        )
        if full_annotations is not None and train_annotations is None:
            raise UserError("full_annotations is given without train_annotations, the part of it to train on")
        self.root = Path(root).expanduser()
        self.sets = {"train": set_names(train, "train"), "val": set_names(val, "val")}
        self.unlabelled = set_names(unlabelled, "unlabelled") if unlabelled else []
        self.train_annotations, self.full_annotations = train_annotations, full_annotations
        self.split = drawn_split(split, percent, level, split_seed, full_annotations)
        self.train: list[AnnotatedImage] = []
        self.val: CocoRecords | None = None

    @override
    def setup(self, stage: str) -> None:
        """Read the annotations; those to train on for "fit" only, and none where pictures of the user are predicted.

        Raises:
            UserError: a picture is in two sets to train on.
        """
        if self.finds_pictures(stage):
            return
        if self.val is None:
            self.val = self._records(read_sets(self.root, self.sets["val"]), evaluated=True)
        if stage == "fit" and not self.train:
            self.train = [*self._labelled(), *self._unlabelled()]
            names = [each.image_id for each in self.train]
            if len(set(names)) < len(names):
                raise UserError(
                    f"{len(names) - len(set(names))} pictures are in two sets to train on, labelled or unlabelled: "
                    "let train (or train_annotations) and unlabelled name different ones"
                )

    @override
    def training_images(self) -> Sequence[AnnotatedImage]:
        return self.train

    @override
    def evaluation_images(self) -> Sequence[AnnotatedImage]:
        return self.val or ()

    def _labelled(self) -> CocoRecords:
        given, removed = self.train_annotations, None
        coco = read_sets(self.root, self.sets["train"]) if given is None else self._read(given)
        if self.full_annotations is not None:
            coco, removed = with_removed(coco, self._read(self.full_annotations))
        if self.split is not None:
            removed = self.split.removed(coco)
        return self._records(coco, evaluated=False, removed=removed)

    def _unlabelled(self) -> Sequence[AnnotatedImage]:
        if not self.unlabelled:
            return ()
        return self._records(read_sets(self.root, self.unlabelled), evaluated=False).hiding(range(len(CLASSES)))

    def _read(self, given: str) -> CocoAnnotations:
        path = annotation_file(given, self.root, [])
        if not path.is_file():
            raise UserError(f"{path} does not exist: name a file in COCO's format, made with `{MAKE_JSON}`")
        coco = read_annotations(path)
        if coco.classes != CLASSES:
            raise UserError(f"{path} does not define the 20 classes of VOC in their order: make it with `{MAKE_JSON}`")
        return coco

    def _records(self, coco: CocoAnnotations, *, evaluated: bool, removed: np.ndarray | None = None) -> CocoRecords:
        folders = voc_roots(self.root)
        paths, absent = locate_pictures(coco, [*folders, *(folder / "VOC2007" / "JPEGImages" for folder in folders)])
        if absent.any():
            refuse_outside(coco, absent)
            raise DatasetNotFoundError(
                name="PASCAL VOC",
                looked_in=self.root,
                expected=TREE,
                remedies=("Unpack the archives of the PASCAL VOC home page again, or give the annotations of yours",),
                missing=first_names([Path(path) for path in np.array(paths)[absent].tolist()], self.root),
            )
        return records(coco, paths, "PASCAL VOC", evaluated=evaluated, removed=removed, image_id=stem_as_id)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write annotations in COCO's format and return the exit status: 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m datamodules.voc_detection", description="Write annotations of PASCAL VOC in COCO's format."
    )
    parser.add_argument("root", type=Path, help="folder that holds VOCdevkit, or VOCdevkit itself")
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--sets", nargs="+", default=["2007 trainval"], help='such as "2007 trainval" "2012 trainval"')
    options = parser.parse_args(arguments)
    try:
        coco = read_sets(options.root.expanduser(), set_names(options.sets, "--sets"))
    except UserError as error:
        return tell(error)
    write_text(options.output, as_json(coco))
    difficult = int(coco.ignored.sum())
    print(f"{options.output}: {len(coco.image_ids)} pictures, {len(coco.ids)} objects, {difficult} of them difficult")
    return 0
