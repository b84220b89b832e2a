"""Tiny replicas of the data sets for object detection, with the irregularities that their loaders have to stand."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.helpers.replicas import CROWD, make_voc, write_image, write_text
from tests.helpers.replicas_vit import crowd_rle, filled, polygon

COCO_CATEGORIES = {1: "person", 3: "car", 90: "toothbrush"}
COCO_SIZES = {9: (64, 40), 25: (30, 50), 30: (60, 44), 34: (40, 40), 139: (50, 34), 285: (48, 48)}
COCO_PARTS = {"train": (34, 9, 30, 25), "val": (285, 139)}
COCO_ANNOTATIONS = [  # (id, image, category, xywh, crowd)
    (700, 34, 90, (10.0, 10.0, 10.0, 20.0), 0),
    (12, 9, 1, (20.5, 10.25, 20.0, 20.0), 0),
    (699, 9, 90, (4.0, 2.0, 8.0, 8.0), CROWD),
    (698, 9, 3, (50.0, 20.0, 14.01, 20.0), 0),  # ends beyond the picture by less than rounding
    (697, 25, 3, (6.0, 15.0, 24.0, 20.0), 0),  # ends at the border
    (696, 34, 3, (5.0, 5.0, 0.0, 9.0), 0),  # no width
    (900_100_000_139, 139, 1, (0.0, 0.0, 4.0, 4.0), 0),
    (694, 139, 90, (20.0, 20.0, 20.0, 10.0), 0),
    (693, 139, 90, (30.0, 5.0, 15.0, 10.0), CROWD),
    (692, 285, 3, (8.0, 8.0, 0.0, 8.0), 0),  # no width
]


def make_coco_detection(root: Path, folder: str = "{part}2017", year: int = 2017) -> Path:
    """COCO with four pictures to train on and two to evaluate on, listed in an order that is not that of their ids.

    Category ids with gaps that are listed backwards, annotations that are not ordered by picture, a picture without
    annotations, crowds, masks of two polygons, a polygon of four numbers, boxes without width, one that rounding takes
    beyond its picture and one that ends at the border, an id beyond 32 bits, a greyscale picture, and stray files.
    """
    coco = root / "coco"
    for part, images in COCO_PARTS.items():
        pictures = coco / folder.format(part=part)
        for image_id in images:
            write_image(pictures / f"{image_id:012d}.jpg", *COCO_SIZES[image_id], "L" if image_id == 25 else "RGB")
        content = {
            "info": {"year": year},
            "images": [
                {"id": number, "file_name": f"{number:012d}.jpg", "width": width, "height": height}
                for number, (width, height) in ((number, COCO_SIZES[number]) for number in images)
            ],
            "annotations": [_coco_annotation(*each) for each in COCO_ANNOTATIONS if each[1] in images],
            "categories": [{"id": number, "name": name} for number, name in reversed(COCO_CATEGORIES.items())],
        }
        write_text(coco / "annotations" / f"instances_{part}{year}.json", json.dumps(content))
        write_text(pictures / ".DS_Store", "stray")
        write_text(pictures / "000000000001.jpg", "stray")
    return coco


def _coco_annotation(
    number: int, image: int, category: int, box: tuple[float, float, float, float], crowd: int
) -> dict[str, Any]:
    x1, y1, x2, y2 = round(box[0]), round(box[1]), round(box[0] + box[2]), round(box[1] + box[3])
    segmentation: Any = [polygon(x1, y1, x2, y1 + 3), polygon(x1, y1 + 3, x2, y2)]
    if crowd:
        segmentation = crowd_rle(filled(COCO_SIZES[image], (x1, y1, x2, y2)))
    elif box[2] == 0:
        segmentation = [[float(x1), float(y1), float(x1), float(y2)]]
    area = 1.0 if box[2] == 0 else 0.75 * box[2] * box[3]  # that of the mask, not of the box
    entry = {"id": number, "image_id": image, "category_id": category, "iscrowd": crowd, "bbox": list(box)}
    return entry | {"area": area, "segmentation": segmentation}


def edit_json(path: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    """Read a JSON file, let ``change`` alter its content, and write it again."""
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


def make_voc_detection(root: Path) -> Path:
    """PASCAL VOC: 2007 trainval as in `make_voc`, one picture in 2007 test, two in 2012 trainval.

    In 2012 names hold an underscore, corners come xmax first, flags are missing, and the size in the annotation is
    that of a picture on its side. A list names pictures that the other list does not.
    """
    make_voc(root, 2007, "trainval")
    write_text(root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / "test.txt", "000099\r\n")
    folder = root / "VOCdevkit" / "VOC2012"
    for stem, size, objects in (
        ("2008_000002", (48, 36), [("tvmonitor", (48, 11, 36, 1), ""), ("person", (20, 5, 30, 15), "")]),
        ("2011_000003", (36, 50), [("chair", (30, 2, 40, 12), "<difficult>1</difficult>")]),
    ):
        write_image(folder / "JPEGImages" / f"{stem}.jpg", *size)
        found = "".join(
            f"<object><name>{name}</name>{flags}<bndbox><xmax>{x2}</xmax><xmin>{x1}</xmin><ymax>{y2}</ymax>"
            f"<ymin>{y1}</ymin></bndbox></object>"
            for name, (x2, x1, y2, y1), flags in objects
        )
        turned = f"<size><width>{size[1]}</width><height>{size[0]}</height></size>"
        write_text(folder / "Annotations" / f"{stem}.xml", f"<annotation>{turned}{found}</annotation>")
    write_text(folder / "ImageSets" / "Main" / "trainval.txt", "2008_000002\n2011_000003\n")
    return root


LVIS_CATEGORIES = [  # (id, name, frequency)
    (1, "aerosol_can", "c"),
    (2, "air_conditioner", "r"),
    (3, "airplane", "f"),
    (4, "alarm_clock", "f"),
]
LVIS_IMAGES = {  # id: (part of COCO, size, negative, not exhaustive)
    "train": {
        30: ("train2017", (60, 44), [1], []),
        9: ("train2017", (64, 40), [], [3]),
        25: ("train2017", (30, 50), [], []),
        34: ("train2017", (40, 40), [], []),
    },
    "val": {139: ("val2017", (50, 34), [2], [4]), 72: ("train2017", (36, 52), [1, 3], [])},  # 72: negatives alone
}
LVIS_ANNOTATIONS = [  # (id, image, category, xywh)
    (1, 9, 3, (20.0, 10.0, 20.0, 20.0)),
    (2, 9, 1, (1.5, 2.5, 10.0, 10.0)),
    (3, 25, 3, (6.0, 15.0, 24.0, 20.0)),
    (4, 34, 2, (5.0, 5.0, 9.0, 9.0)),
    (5, 34, 3, (10.0, 10.0, 20.0, 20.0)),
    (6, 139, 4, (5.0, 5.0, 10.0, 10.0)),
]


def make_lvis(root: Path, annotations: str = "annotations") -> Path:
    """LVIS v1 with four pictures to train on and two to evaluate on.

    No file names, but URLs; no "iscrowd"; the pictures to evaluate on lie in train2017 and val2017; one has negative
    classes alone; classes of all frequencies; classes that are not exhaustively annotated; a picture without anything.
    """
    coco = root / "coco"
    for part, images in LVIS_IMAGES.items():
        entries = []
        for number, (folder, (width, height), negative, not_exhaustive) in images.items():
            write_image(coco / folder / f"{number:012d}.jpg", width, height)
            entry = {"id": number, "width": width, "height": height, "neg_category_ids": negative}
            url = f"http://images.cocodataset.org/{folder}/{number:012d}.jpg"
            entries.append(entry | {"not_exhaustive_category_ids": not_exhaustive, "coco_url": url})
        found = [
            {
                "id": number,
                "image_id": image,
                "category_id": category,
                "bbox": list(box),
                "area": box[2] * box[3] / 2,
                "segmentation": [polygon(box[0], box[1], box[0] + box[2], box[1] + box[3])],
            }
            for number, image, category, box in LVIS_ANNOTATIONS
            if image in images
        ]
        categories = [{"id": n, "name": name, "frequency": frequency} for n, name, frequency in LVIS_CATEGORIES]
        content = {"images": entries, "annotations": found, "categories": categories}
        write_text(coco / annotations / f"lvis_v1_{part}.json", json.dumps(content))
    write_text(coco / "val2017" / ".DS_Store", "stray")
    return coco
