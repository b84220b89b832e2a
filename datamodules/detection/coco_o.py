"""COCO-O: what COCO shows as sketches, tattoos or in bad weather, to see what a detector of photographs is worth there.

Mao et al. 2023, arXiv 2307.12730. The folders are those of the authors' page, github.com/alibaba/easyrobust, in
benchmarks/coco_o; it says as well how many pictures and boxes there are.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from torch.utils.data import DataLoader
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.evaluation import known_tasks, only_evaluates
from datamodules.common.inputs import Inputs
from datamodules.common.inspection.contents import PartContents
from datamodules.common.reports import compare_count, first_names
from datamodules.detection.annotations import AnnotatedImage
from datamodules.detection.categories import aligned
from datamodules.detection.coco_files import without_size
from datamodules.detection.coco_json import CocoAnnotations, read_annotations
from datamodules.detection.contents import detection_contents
from datamodules.detection.datamodule import DetectionDataModule, PictureSide
from datamodules.detection.orientations import check_orientations
from datamodules.detection.picture_places import locate_pictures, refuse_outside, usual_folders, without_missing
from datamodules.detection.records import CocoRecords, records
from datamodules.detection.second_view import SecondView
from visionscapes.checks import AnyInt, PositiveInt, Workers, check_options

DOMAINS = ("sketch", "weather", "cartoon", "painting", "tattoo", "handmake")
PUBLISHED_IMAGES, PUBLISHED_BOXES = 6_782, 26_624  # of all domains together
ANNOTATIONS = "annotations/instances_val2017.json"
ARCHIVE = "ood_coco"  # the folder that the archive is unpacked to
TREE = f"""
<root>/
    sketch/
        {ANNOTATIONS}
        val2017/<picture>.jpg
    weather/, cartoon/, painting/, tattoo/, handmake/      (each like sketch/)
"""
REMEDIES = (
    "If you have it, point to its folder: --data.init_args.root=<folder that holds sketch and the others>",
    "If not, download ood_coco.zip, to which benchmarks/coco_o of github.com/alibaba/easyrobust has a link, and unpack"
    " it there",
    "Evaluate on some of the domains: --data.init_args.domains=[sketch,weather]",
    "Leave out pictures that are missing: --data.init_args.skip_missing=true",
)


class COCOO(DetectionDataModule):
    """COCO-O, six domains that detectors of COCO are tested on; batches as in ``datamodules.detection.samples``.

    All domains are one data set, whose pictures are called "<domain>/<id>"; ``domain_of`` says of which one a picture
    is, so that ``callbacks.DomainEvaluation`` gives figures of each and their mean. The classes are the eighty of COCO
    in their order, whatever a file defines. Nothing is there to train on.

    Args:
        root: the folder that holds the folders of the domains, or one with it, ood_coco.
        domains: which ones: "sketch", "weather", "cartoon", "painting", "tattoo", "handmake".
        batch_size: pictures a batch and process.
        num_workers: processes that load.
        seed: of second views.
        longest: most pixels of the longer side.
        test_size: shorter side in pixels.
        second_view: draws "second_view", for detectors that compare two views of a picture.
        pictures: to predict: a file, a folder, a pattern such as "photos/*.jpg", or a list of these; those that are
            evaluated if None.
        skip_unreadable: leave out pictures to predict that cannot be read, and say which.
        skip_missing: leave out pictures that are not there, and annotations of pictures or categories that a file does
            not define, and say how many; an error if not.

    Raises:
        UserError: a number out of its range, or an unknown domain; in ``setup``, damaged annotations, those of classes
            that COCO has not, or boxes that cannot be right; to whoever trains on it.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    def __init__(
        self,
        root: str,
        domains: list[str] = list(DOMAINS),  # noqa: B006 (read only, and the help shows it)
        batch_size: PositiveInt = 8,
        num_workers: Workers = 2,
        seed: AnyInt = 0,
        longest: PictureSide = 1333,
        test_size: PictureSide = 800,
        second_view: SecondView | None = None,
        pictures: Inputs | None = None,
        skip_unreadable: bool = False,
        skip_missing: bool = False,
    ):
        check_options(COCOO, locals())
        super().__init__(
            batch_size,
            num_workers,
            seed,
            train_sizes=[test_size],
            longest=longest,
            test_size=test_size,
            with_masks=False,
            second_view=second_view,
            pictures=pictures,
            skip_unreadable=skip_unreadable,
        )
        given = Path(root).expanduser()
        self.root = given / ARCHIVE if (given / ARCHIVE).is_dir() else given
        self.domains = tuple(known_tasks(domains, DOMAINS, "domains"))
        self.skip_missing = skip_missing
        self.category_ids, self.classes = zip(*coco_categories().items(), strict=True)
        self.parts: dict[str, CocoRecords] = {}

    @override
    def setup(self, stage: str) -> None:
        """Read the annotations of all domains; none where pictures of the user are predicted."""
        if self.finds_pictures(stage) or self.parts:
            return
        found = {domain: self._records(domain) for domain in self.domains}
        if len(found) == len(DOMAINS):
            compare_count("COCO-O", "pictures", sum(map(len, found.values())), PUBLISHED_IMAGES)
            compare_count("COCO-O", "boxes", sum(len(each.boxes) for each in found.values()), PUBLISHED_BOXES)
        self.parts = found

    @override
    def training_images(self) -> Sequence[AnnotatedImage]:
        """Return nothing."""
        return ()

    @override
    def evaluation_images(self) -> Sequence[AnnotatedImage]:
        return PicturesOfDomains(self.parts.values())

    @override
    def train_dataloader(self) -> DataLoader:
        """Raise: there is nothing to train on."""
        raise only_evaluates(self)

    @override
    def contents(self) -> dict[str, PartContents]:
        """Return the pictures and boxes of every domain."""
        return {domain: detection_contents(images, self.classes) for domain, images in self.parts.items()}

    def domain_of(self, image_id: int | str) -> str:
        """Return of which of the ``domains`` a picture is."""
        return str(image_id).partition("/")[0]

    def _records(self, domain: str) -> CocoRecords:
        folder, name = self.root / domain, f"COCO-O {domain}"
        path = folder / ANNOTATIONS
        if not path.is_file():
            raise self._not_found(path)
        coco = as_coco(read_annotations(path, skip_orphans=self.skip_missing))
        paths, absent = locate_pictures(coco, usual_folders(folder, path, ["val2017", "images/val2017"]), part="val")
        if self.skip_missing:
            coco, paths = without_missing(coco, paths, absent, name, folder)
        elif absent.any():
            refuse_outside(coco, absent)
            missing = [Path(paths[place]) for place in np.flatnonzero(absent).tolist()]
            raise self._not_found(first_names(missing, self.root))
        found = records(coco, paths, name, evaluated=True, image_id=partial(id_in_domain, domain))
        check_orientations(paths, found.coco.sizes, name, upright=False, unstated=without_size(coco), option="")
        return found

    def _not_found(self, missing: str | Path) -> DatasetNotFoundError:
        return DatasetNotFoundError(
            name="COCO-O", looked_in=self.root, expected=TREE, remedies=REMEDIES, missing=missing
        )


class PicturesOfDomains(list[AnnotatedImage]):
    """The pictures of several domains, one after the other.

    Args:
        parts: the pictures of each.

    Attributes:
        paths: of their files.
    """

    def __init__(self, parts: Iterable[CocoRecords]):
        parts = list(parts)
        super().__init__(each for part in parts for each in part)
        self.paths = tuple(path for part in parts for path in part.paths)


def id_in_domain(domain: str, number: int | str, path: Path) -> str:
    """Call a picture by its domain and its id there: every domain numbers its own."""
    return f"{domain}/{number}"


def coco_categories() -> dict[int, str]:
    """Return the names of COCO's eighty classes by their ids, ascending."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    names = FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"]
    return {number: name for number, name in enumerate(names) if number and name != "N/A"}


def as_coco(coco: CocoAnnotations) -> CocoAnnotations:
    """Return annotations with the classes of COCO, found by their names.

    Raises:
        UserError: an annotation is of none of them.
    """
    known = coco_categories()
    reference = replace(
        coco,
        path=Path("COCO"),
        category_ids=np.array(list(known), np.int64),
        classes=tuple(known.values()),
        frequencies=("",) * len(known),
    )
    return aligned(coco, reference)
