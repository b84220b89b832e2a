"""Annotations of PASCAL VOC: XML read into the arrays of COCO's format, and written as its JSON."""

import json
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_kinds import picture_suffixes
from datamodules.common.reports import compare_count, first_names, listed
from datamodules.detection.annotations import check_form, check_shares
from datamodules.detection.coco_files import picture_size
from datamodules.detection.coco_json import CocoAnnotations
from visionscapes.errors import UserError

CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip
PUBLISHED_IMAGES = {
    ("2007", "train"): 2_501,
    ("2007", "val"): 2_510,
    ("2007", "trainval"): 5_011,
    ("2007", "test"): 4_952,
    ("2012", "train"): 5_717,
    ("2012", "val"): 5_823,
    ("2012", "trainval"): 11_540,
}
VOC_TREE = """
<root>/VOCdevkit/VOC{year}/        (or <root>/VOC{year}/, or <root> itself)
    JPEGImages/{example}.jpg
    Annotations/{example}.xml
    ImageSets/Main/{split}.txt
"""
VOC_ARCHIVES = {"2007": "VOCtrainval_06-Nov-2007.tar", "2012": "VOCtrainval_11-May-2012.tar"}
CORNERS = ("xmin", "ymin", "xmax", "ymax")
SET = re.compile(r"(\d{4})\s+([\w-]+)")
OF_ONE_CLASS = re.compile(r"(\S+)\s+-?[01]")  # a line of ImageSets/Main/dog_trainval.txt
TRUE, FALSE = ("1", "1.0", "true", "yes"), ("", "0", "0.0", "false", "no", "unspecified")
IF_OWN = (
    "if the data are your own, convert them to COCO's format, for example with `datum convert -if voc -f"
    " coco_instances`, and read them with --data=COCODetection"
)


@dataclass(frozen=True)
class VOCObject:
    """An object of an annotation: its name, xyxy in pixels (0-based, x2 and y2 excluded), and its flag."""

    name: str
    box: tuple[float, float, float, float]
    difficult: bool


def voc_roots(root: Path) -> list[Path]:
    """Return the folders that can hold VOC2007 or VOC2012, if a user names ``root``."""
    return [root, root / "VOCdevkit", *sorted(root.glob("VOC*/VOCdevkit")), root.parent]


def set_names(sets: Sequence[str], option: str) -> list[tuple[str, str]]:
    """Return year and split of sets that are written as "2007 trainval".

    Raises:
        UserError: one is written otherwise, or stands there twice; there is none.
    """
    found = [SET.fullmatch(each.strip()) for each in sets]
    if not sets or None in found or len(set(sets)) < len(sets):
        raise UserError(f'{option} is {list(sets)}; it has to list different sets, such as "2007 trainval"')
    return [(match[1], match[2]) for match in found if match]


def read_sets(root: Path, sets: Sequence[tuple[str, str]]) -> CocoAnnotations:
    """Read the annotations of sets of pictures.

    Pictures are numbered from 1 in the order of the sets, annotations too. Sizes are those of the picture files, since
    some annotations state others. Boxes of body parts do not count.

    Args:
        root: a folder that holds VOCdevkit, the folder VOCdevkit, or the folder VOC2007 or VOC2012 itself.
        sets: year and split of ImageSets/Main.

    Raises:
        DatasetNotFoundError: a file or folder is missing.
        UserError: an annotation is damaged, or a picture cannot be read.
    """
    files: list[str] = []
    pictures: list[Path] = []
    found: list[list[VOCObject]] = []
    for year, split in sets:
        folder = voc_folder(root, year, split)
        stems = _stems(folder, split)
        if (year, split) in PUBLISHED_IMAGES:
            compare_count(f"VOC{year} {split}", "images", len(stems), PUBLISHED_IMAGES[year, split])
        annotations = [folder / "Annotations" / f"{stem}.xml" for stem in stems]
        images = _pictures(folder / "JPEGImages", stems)
        absent = [path for path in [*annotations, *images] if not path.is_file()]
        if absent or not stems:
            named = first_names(absent, root) if absent else f"a name in ImageSets/Main/{split}.txt"
            raise not_found(root, year, split, named)
        found += [voc_objects(path) for path in annotations]
        files += [f"VOC{year}/JPEGImages/{path.name}" for path in images]
        pictures += images
    with ThreadPool(16) as threads:
        sizes = np.array(threads.map(picture_size, pictures, chunksize=64), np.int64)
    return _as_coco(root, files, sizes, found)


def voc_folder(root: Path, year: str, split: str) -> Path:
    """Return the folder VOC<year> with a list of the split.

    Raises:
        DatasetNotFoundError: there is none.
    """
    for place in voc_roots(root):
        if (place / f"VOC{year}" / "ImageSets" / "Main" / f"{split}.txt").is_file():
            return place / f"VOC{year}"
    raise not_found(root, year, split, f"VOC{year}/ImageSets/Main/{split}.txt")


def not_found(root: Path, year: str, split: str, missing: str | Path) -> DatasetNotFoundError:
    """Return the error of a set that is not there."""
    archive = VOC_ARCHIVES.get(year, f"the archive of {year}") if split != "test" else f"VOCtest of {year}"
    example = "000005" if year == "2007" else "2008_000008"
    return DatasetNotFoundError(
        name=f"PASCAL VOC {year}",
        looked_in=root,
        expected=VOC_TREE.format(year=year, example=example, split=split),
        remedies=(
            "If you have it, point to its folder: --data.init_args.root=<folder that holds VOCdevkit>",
            f"If not, download {archive} from the PASCAL VOC home page, unpack it, and point to the folder that you"
            " unpacked it in",
            IF_OWN[0].upper() + IF_OWN[1:],
        ),
        missing=missing,
    )


def voc_objects(annotation: Path) -> list[VOCObject]:
    """Read the objects of an annotation; coordinates with decimals are kept, as in Detectron2.

    Raises:
        UserError: the file is not XML, or an object has no box or a name that VOC does not have.
    """
    own = ""
    try:
        objects = []
        for item in ElementTree.parse(annotation).getroot().findall("object"):  # not iter: body parts have boxes too
            name = item.findtext("name", "").strip()
            if name not in CLASSES:
                own = f", or, {IF_OWN}"
                raise ValueError(f"an object called {name!r}, which is none of VOC's classes")
            x1, y1, x2, y2 = (float(item.findtext(f"bndbox/{corner}", "")) for corner in CORNERS)
            # 1-based and inclusive in the file: one less on the left, and one less but one more on the right.
            objects.append(VOCObject(name, (x1 - 1, y1 - 1, x2, y2), _flag(item, "difficult")))
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(
            f"{annotation} is no annotation of PASCAL VOC ({error}): unpack the data set again{own}"
        ) from error
    return objects


def _flag(item: ElementTree.Element, name: str) -> bool:
    text = item.findtext(name, "0").strip()
    if text.lower() not in TRUE + FALSE:
        raise ValueError(f"{name} is {text!r}; it has to be 0 or 1")
    return text.lower() in TRUE


def _stems(folder: Path, split: str) -> list[str]:
    """Return the names of a list, as text: those of 2007 have leading zeros.

    Raises:
        UserError: a line is no name, or a name stands there twice.
    """
    path = folder / "ImageSets" / "Main" / f"{split}.txt"
    stems = [stem.removeprefix("\ufeff") for stem in listed(path)]
    lines = [number for number, line in enumerate(path.read_text().splitlines(), start=1) if line.strip()]
    first: dict[str, int] = {}
    for line, stem in zip(lines, stems, strict=True):
        named = f"{path}: line {line} is {stem!r}"
        if first.setdefault(stem, line) != line:
            raise UserError(f"{named}, as line {first[stem]}: take one out")
        if (folder / "Annotations" / f"{stem}.xml").is_file():
            continue
        of_class, bare = OF_ONE_CLASS.fullmatch(stem), Path(stem).stem
        if of_class and (folder / "Annotations" / f"{of_class[1]}.xml").is_file():
            raise UserError(f"{named}, as in a list of one class: name a list of pictures alone, such as trainval")
        if bare != stem and (folder / "Annotations" / f"{bare}.xml").is_file():
            raise UserError(f"{named}, which has to be a name without folder and suffix: write {bare}")
    return stems


def _pictures(folder: Path, stems: Sequence[str]) -> list[Path]:
    """Return the pictures of some names: JPEG as VOC has them, or the only picture of another kind."""
    there = set(os.listdir(folder)) if folder.is_dir() else set[str]()
    others: dict[str, list[str]] = {}
    for name in there:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in picture_suffixes():
            others.setdefault(stem, []).append(name)
    jpeg = {stem: f"{stem}.jpg" for stem in stems}
    alone = {stem: names[0] for stem, names in others.items() if len(names) == 1}
    return [folder / (name if name in there else alone.get(stem, name)) for stem, name in jpeg.items()]


def _as_coco(root: Path, files: list[str], sizes: np.ndarray, found: list[list[VOCObject]]) -> CocoAnnotations:
    objects = [each for of_picture in found for each in of_picture]
    counts = np.array([len(of_picture) for of_picture in found], np.int64)
    images = np.repeat(np.arange(len(files)), counts)
    corners = np.array([each.box for each in objects], np.float64).reshape(-1, 4)
    written, of_picture = corners + np.array([1, 1, 0, 0]), sizes[images]
    # Only here are there corners, and as they were written. What else may be wrong is checked with the records.
    check_shares(written, of_picture, "xyxy", "PASCAL VOC", lambda place: files[images[place]])
    check_form(corners, of_picture, "xyxy", "PASCAL VOC", lambda place: files[images[place]])
    boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], 1)
    return CocoAnnotations(
        path=root,
        category_ids=np.arange(1, len(CLASSES) + 1),
        classes=CLASSES,
        frequencies=("",) * len(CLASSES),
        image_ids=np.arange(1, len(files) + 1),
        files=tuple(files),
        sizes=sizes,
        negative=((),) * len(files),
        not_exhaustive=((),) * len(files),
        first=np.concatenate([[0], np.cumsum(counts)]),
        ids=np.arange(1, len(objects) + 1),
        places=np.arange(len(objects)),
        labels=np.array([CLASSES.index(each.name) for each in objects], np.int64),
        boxes=boxes,
        areas=boxes[:, 2] * boxes[:, 3],
        ignored=np.array([each.difficult for each in objects], bool),
        segmentations=None,
    )


def as_json(coco: CocoAnnotations) -> str:
    """Return annotations in COCO's format; difficult objects carry "difficult" and "ignore", as converters do."""
    images = [
        {"id": int(number), "file_name": name, "height": int(height), "width": int(width)}
        for number, name, (height, width) in zip(coco.image_ids, coco.files, coco.sizes, strict=True)
    ]
    annotations = [
        {
            "id": int(coco.ids[place]),
            "image_id": int(coco.image_ids[picture]),
            "category_id": int(coco.category_ids[coco.labels[place]]),
            "bbox": coco.boxes[place].tolist(),
            "area": float(coco.areas[place]),
            "iscrowd": 0,
            "difficult": int(coco.ignored[place]),
            "ignore": int(coco.ignored[place]),
        }
        for place, picture in enumerate(coco.images)
    ]
    categories = [
        {"id": int(number), "name": name, "supercategory": "none"}
        for number, name in zip(coco.category_ids, coco.classes, strict=True)
    ]
    return json.dumps({"images": images, "annotations": annotations, "categories": categories})
