"""Images with the boxes of all their objects, for the discovery of single objects: PASCAL VOC and COCO20k."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from xml.etree import ElementTree

import torch
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.evaluation import EvaluationDataModule
from datamodules.common.file_names import refuse_escape
from datamodules.common.image_files import read_image
from datamodules.common.reports import compare_count, listed
from datamodules.common.resizing import squash, squash_boxes, to_tensor
from datamodules.detection.voc_annotations import PUBLISHED_IMAGES, not_found, voc_folder
from visionscapes.checks import ImageSizes, PositiveInt, Workers, check_options
from visionscapes.errors import UserError, in_words

PUBLISHED_COCO20K = 19_817

COCO_TREE = """
<root>/
    train2014/COCO_train2014_000000000009.jpg        (or images/train2014/)
    annotations/instances_train2014.json             (--data.init_args.annotations)
    coco_20k_filenames.txt                           (--data.init_args.names)
"""
COCO_REMEDIES = (
    "If you have the images and annotations, point to their folder: --data.init_args.root=<folder that holds train2014>"
    "; if not, download train2014.zip and annotations_trainval2014.zip from cocodataset.org and unpack both there",
    "The list of 19,817 names is the file datasets/coco_20k_filenames.txt of the repository valeoai/LOST; point to"
    " yours with --data.init_args.names=<file>. If you hold a JSON file that is reduced to these images already, give"
    " it as --data.init_args.annotations and set --data.init_args.names=null",
)


@dataclass(frozen=True)
class BoxedImage:
    """An image and the boxes (N, 4) float32 of its objects: xyxy in its pixels, 0-based, x2 and y2 excluded."""

    image_id: str
    path: Path
    boxes: Tensor


class ObjectDiscoveryDataset(Dataset):
    """Annotated images at one size.

    Args:
        images: the images.
        size: S; images are squashed to S x S (bilinear) and the boxes with them, pixels.
        truncate_boxes: cut the squashed boxes to whole pixels, as the official code does.
    """

    def __init__(self, images: Sequence[BoxedImage], size: int, truncate_boxes: bool = False):
        self.images, self.size, self.truncate_boxes = images, size, truncate_boxes

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.images[index]
        # The size of the file counts: the ones written in annotations disagree with it now and then.
        image = read_image(sample.path)
        boxes = squash_boxes(sample.boxes, *image.size, self.size)
        boxes = boxes.trunc() if self.truncate_boxes else boxes
        return {"image": to_tensor(squash(image, self.size)), "boxes": boxes, "image_id": sample.image_id}


class ObjectDiscoveryData(EvaluationDataModule):
    """Base of the discovery data sets: batches of task "discovery".

    A batch holds "image" (B, 3, S, S) float32 RGB in [0, 1]; "boxes", a list of B tensors (N_i, 4) float32 xyxy in
    pixels of the S x S image, where N_i may be 0; and "image_id", a list of B strings. Subclasses fill ``images`` in
    ``setup``.
    """

    task = "discovery"

    def __init__(self, image_sizes: list[int], truncate_boxes: bool, batch_size: int, num_workers: int):
        super().__init__(image_sizes, batch_size, num_workers)
        self.truncate_boxes = truncate_boxes
        self.images: list[BoxedImage] = []

    @override
    def dataset(self, size: int) -> ObjectDiscoveryDataset:
        return ObjectDiscoveryDataset(self.images, size, self.truncate_boxes)

    @staticmethod
    @override
    def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Stack images and list everything else."""
        return {
            "task": ObjectDiscoveryData.task,
            "image": torch.stack([sample["image"] for sample in samples]),
            "boxes": [sample["boxes"] for sample in samples],
            "image_id": [sample["image_id"] for sample in samples],
        }


class VOCDiscovery(ObjectDiscoveryData):
    """PASCAL VOC 2007 or 2012 for object discovery (thesis section 8.3.3), see ``ObjectDiscoveryData``.

    Boxes of all objects of all classes count, as in LOST and TokenCut, whose protocol this is.

    Args:
        root: a folder that holds VOCdevkit, the folder VOCdevkit, or the folder VOC2007 or VOC2012 itself.
        year: 2007 or 2012.
        split: of ImageSets/Main; "trainval" in the thesis' table.
        image_sizes: S, one loader each, pixels.
        drop_hard: leave out truncated and difficult objects, and images that have no others ("no_hard" of LOST).
        truncate_boxes: cut the squashed boxes to whole pixels, as the official code does.
        batch_size: images a batch.
        num_workers: processes that load images.

    Raises:
        UserError: an option is out of its bounds.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    def __init__(
        self,
        root: str,
        year: Literal[2007, 2012] = 2007,
        split: Literal["train", "val", "trainval", "test"] = "trainval",
        image_sizes: ImageSizes = [224],  # noqa: B006 (read only, and the help shows it)
        drop_hard: bool = False,
        truncate_boxes: bool = False,
        batch_size: PositiveInt = 8,
        num_workers: Workers = 2,
    ):
        check_options(VOCDiscovery, locals())
        super().__init__(image_sizes, truncate_boxes, batch_size, num_workers=num_workers)
        self.root, self.year, self.split, self.drop_hard = Path(root).expanduser(), str(year), split, drop_hard

    @override
    def setup(self, stage: str | None = None) -> None:
        """Read the annotations of the split.

        Raises:
            DatasetNotFoundError: a file is missing.
        """
        if self.images:
            return
        folder = voc_folder(self.root, self.year, self.split)
        stems = listed(folder / "ImageSets" / "Main" / f"{self.split}.txt")  # strings: 2007 has leading zeros
        if (self.year, self.split) in PUBLISHED_IMAGES:  # the labels of the test split of 2012 are not public
            published = PUBLISHED_IMAGES[self.year, self.split]
            compare_count(f"VOC{self.year} {self.split}", "images", len(stems), published)
        for stem in stems:
            annotation = folder / "Annotations" / f"{stem}.xml"
            if not annotation.exists():
                raise not_found(self.root, self.year, self.split, annotation)
            boxes = voc_boxes(annotation, self.drop_hard)
            if len(boxes) or not self.drop_hard:
                self.images.append(BoxedImage(stem, folder / "JPEGImages" / f"{stem}.jpg", boxes))
        if not self.images:
            missing = f"an image with objects in ImageSets/Main/{self.split}.txt"
            raise not_found(self.root, self.year, self.split, missing)


def voc_boxes(annotation: Path, drop_hard: bool = False) -> Tensor:
    """Read the boxes of all objects from an annotation of PASCAL VOC.

    Only the boxes of objects count, not of body parts. They are 1-based and inclusive in the file, so that
    (xmin - 1, ymin - 1, xmax, ymax) has x2 and y2 excluded. Some files have coordinates with decimals, which are cut.

    Args:
        annotation: the XML file.
        drop_hard: leave out truncated and difficult objects.

    Returns:
        (N, 4) float32 xyxy in pixels.

    Raises:
        UserError: the file is not XML, or an object has no box.
    """
    try:
        objects = ElementTree.parse(annotation).getroot().findall("object")
        if drop_hard:
            flags = ("truncated", "difficult")
            objects = [item for item in objects if not any(item.findtext(flag, "0").strip() == "1" for flag in flags)]
        boxes = []
        for item in objects:
            xmin, ymin, xmax, ymax = (
                int(float(item.findtext(f"bndbox/{side}", ""))) for side in ("xmin", "ymin", "xmax", "ymax")
            )
            boxes.append([xmin - 1, ymin - 1, xmax, ymax])
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{annotation} is no annotation of PASCAL VOC ({error}): unpack the data set again") from error
    return torch.tensor(boxes, dtype=torch.float32).view(-1, 4)


class COCO20k(ObjectDiscoveryData):
    """COCO20k, 19,817 images of COCO train2014, for object discovery (thesis section 8.3.3).

    See ``ObjectDiscoveryData`` for the batches. Images and annotations are paired by image id. Boxes of crowds are
    left out, and the others are rounded to whole pixels, as in LOST and TokenCut, whose protocol this is.

    Args:
        root: the folder that holds train2014 or images/train2014.
        annotations: COCO's JSON file, or one reduced to the images of COCO20k; a path in ``root`` or an absolute one.
        names: file of image names, one "train2014/COCO_train2014_<12 digits>.jpg" a line; a path in ``root`` or an
            absolute one. If None, all images of ``annotations`` are taken.
        image_sizes: S, one loader each, pixels.
        truncate_boxes: cut the squashed boxes to whole pixels, as the official code does.
        batch_size: images a batch.
        num_workers: processes that load images.

    Raises:
        UserError: an option is out of its bounds.
        DatasetNotFoundError: in ``setup``, if a file or folder is missing.
    """

    def __init__(
        self,
        root: str,
        annotations: str = "annotations/instances_train2014.json",
        names: str | None = "coco_20k_filenames.txt",
        image_sizes: ImageSizes = [224],  # noqa: B006 (read only, and the help shows it)
        truncate_boxes: bool = False,
        batch_size: PositiveInt = 8,
        num_workers: Workers = 2,
    ):
        check_options(COCO20k, locals())
        super().__init__(image_sizes, truncate_boxes, batch_size, num_workers=num_workers)
        self.root = Path(root).expanduser()
        self.annotations = self.root / Path(annotations).expanduser()
        self.names = None if names is None else self.root / Path(names).expanduser()

    @override
    def setup(self, stage: str | None = None) -> None:
        """Read the annotations of the listed images.

        Raises:
            DatasetNotFoundError: a file or the pictures are missing.
                UserError: no picture is listed.
        """
        if self.images:
            return
        folders = [
            folder for folder in (self.root / "train2014", self.root / "images" / "train2014") if folder.is_dir()
        ]
        missing = [path for path in (self.annotations, self.names) if path is not None and not path.exists()]
        if missing or not folders:
            raise DatasetNotFoundError(
                name="COCO20k",
                looked_in=self.root,
                expected=COCO_TREE,
                remedies=COCO_REMEDIES,
                missing=", ".join(map(str, missing)) or "train2014",
            )
        names = None if self.names is None else [Path(name).name for name in listed(self.names)]
        boxes = coco_boxes(self.annotations, names)
        if not boxes:
            raise UserError(f"{self.names or self.annotations} lists no image: get the original file again")
        compare_count("COCO20k", "images", len(boxes), PUBLISHED_COCO20K)
        self.images = [BoxedImage(Path(name).stem, folders[0] / name, found) for name, found in boxes.items()]


def coco_boxes(annotations: Path, names: Sequence[str] | None = None) -> dict[str, Tensor]:
    """Read the boxes of images from a JSON file in COCO's format.

    Args:
        annotations: the JSON file.
        names: file names of the images wanted, in the order wanted; if None all, in the order of the file.

    Returns:
        By file name, (N, 4) float32 xyxy in whole pixels, without those of crowds; N is 0 for an image without
        annotations.

    Raises:
        UserError: the file is not in COCO's format, names a picture outside of the data set, or lacks a name.
    """
    try:
        content = json.loads(annotations.read_text())
        ids = {image["file_name"]: image["id"] for image in content["images"]}
        found: dict[int, list[list[int]]] = {image_id: [] for image_id in ids.values()}
        for annotation in content["annotations"]:
            if not annotation.get("iscrowd"):
                x, y, width, height = annotation["bbox"]
                found[annotation["image_id"]].append([round(x), round(y), round(x + width), round(y + height)])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{annotations} is not an instances file in COCO's format ({in_words(error)})") from error
    refuse_escape(ids, annotations)
    absent = [name for name in names or () if name not in ids]
    if absent:
        raise UserError(
            f"{len(absent)} of {len(names or ())} listed images are not in {annotations}, the first is {absent[0]}:"
            " COCO20k is a part of train2014, give instances_train2014.json (not 2017) or the list that belongs to it"
        )
    wanted = ids if names is None else names
    return {name: torch.tensor(found[ids[name]], dtype=torch.float32).view(-1, 4) for name in wanted}
