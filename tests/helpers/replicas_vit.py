"""Tiny replicas of the public data sets of chapter 2, with the irregularities that their loaders have to stand."""

import json
import pickle
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datamodules.analysis.imagenet_50 import WORDNET_IDS
from tests.helpers.image_files import save_awkward, save_photo, truncate
from tests.helpers.replicas import CROWD, write_text

Box = tuple[int, int, int, int]


def polygon(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    """Return a rectangle as COCO writes a polygon; pixels x1..x2-1, y1..y2-1 lie inside."""
    return [x1, y1, x2, y1, x2, y2, x1, y2]


def filled(size: tuple[int, int], *boxes: Box) -> np.ndarray:
    """Return (height, width) bool, True within boxes xyxy."""
    mask = np.zeros(size[::-1], bool)
    for x1, y1, x2, y2 in boxes:
        mask[y1:y2, x1:x2] = True
    return mask


def crowd_rle(mask: np.ndarray) -> dict[str, Any]:
    """Return a mask as the uncompressed run lengths, column by column, in which COCO writes crowds."""
    runs = [(inside, len(list(run))) for inside, run in groupby(mask.T.reshape(-1).tolist())]
    first = [0] if runs[0][0] else []  # the first run lies outside, even if it is empty
    return {"size": list(mask.shape), "counts": first + [length for _, length in runs]}


def write_masked(path: Path, mask: np.ndarray, mode: str = "RGB") -> None:
    """Write a picture that is white where the mask is and black elsewhere."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask.astype(np.uint8) * 255).convert(mode).save(path, "JPEG", quality=95)


def make_imagenet_50(root: Path, per_class: int = 3) -> Path:
    """The training part of ImageNet with the fifty classes, ``per_class`` images each and one class that is not theirs.

    Stray files that sort before the images, _2 and _10, a CMYK and a greyscale image, and a PNG called .JPEG.
    """
    for wordnet_id in [*reversed(WORDNET_IDS), "n01440764"]:
        folder = root / "train" / wordnet_id
        for seed, number in enumerate([2, 10, *range(30, 28 + per_class)][:per_class]):
            save_photo(folder / f"{wordnet_id}_{number}.JPEG", 12, 9, seed=seed)
        for stray in (".DS_Store", "AAA.txt", "Thumbs.db"):
            (folder / stray).write_text("stray")
    for name, wordnet_id in {"cmyk.jpg": "n02747177", "greyscale.jpg": "n07583066", "palette.png": "n01601694"}.items():
        folder = root / "train" / wordnet_id
        save_awkward(folder / name).rename(folder / f"{wordnet_id}_10.JPEG")
    return root


def make_imagenet_parts(root: Path, train: int = 4, val: int = 3) -> Path:
    """ImageNet with three classes in folders, for training and validation."""
    for wordnet_id in ("n03126707", "n01440764", "n02012849"):
        for number in range(1, train + 1):
            save_photo(root / "train" / wordnet_id / f"{wordnet_id}_{number}.JPEG", 12, 9, seed=number)
        for number in range(1, val + 1):
            name = f"ILSVRC2012_val_{int(wordnet_id[1:4]) * 10 + number:08d}.JPEG"
            save_photo(root / "val" / wordnet_id / name, 9, 14, seed=number)
    return root


PART_CATEGORIES = [
    {"id": 0, "name": "Quadruped Head", "supercategory": "Quadruped"},
    {"id": 1, "name": "Tail", "supercategory": "Quadruped"},
    {"id": 2, "name": "Tail", "supercategory": "Fish"},
    {"id": 3, "name": "Fish Head", "supercategory": "Fish"},
]
PART_SIZE = (48, 36)
# Class -> (part of the data set, supercategory's categories, images). Dogs have four images, cats two.
PART_CLASSES = {
    "n02110341": ("train", (0, 1), 4),
    "n01440764": ("train", (3, 2), 2),
    "n02123394": ("val", (0, 1), 2),
    "n01491361": ("test", (3, 2), 3),
}


def make_part_imagenet(root: Path) -> Path:
    """PartImageNet, the release "OOD", with four classes of two supercategories.

    Category 0, a part of two polygons, polygons of four numbers (one beside valid ones, one alone), the run lengths of
    a crowd, ids of images and annotations that repeat from one file to the next, a part name that two supercategories
    share, an image without annotations, one that no file lists, and stray files. The first image of the goldfish is
    black: nothing of it is annotated.
    """
    content: dict[str, dict[str, list]] = {
        split: {"images": [], "annotations": [], "categories": PART_CATEGORIES} for split in ("train", "val", "test")
    }
    head, tail, second = (14, 4, 22, 12), (20, 14, 34, 22), (24, 26, 34, 32)
    for wordnet_id, (split, (first, last), count) in PART_CLASSES.items():
        images, annotations = content[split]["images"], content[split]["annotations"]
        for number in reversed(range(1, count + 1)):
            name, image_id = f"{wordnet_id}_{number}.JPEG", len(images) + 1
            images.append({"id": image_id, "file_name": name, "width": PART_SIZE[0], "height": PART_SIZE[1]})
            empty = (wordnet_id, number) == ("n01440764", 1)
            boxes = [] if empty else [head, tail, second]
            write_masked(root / split / wordnet_id / name, filled(PART_SIZE, *boxes), "CMYK" if number == 2 else "RGB")
            segmentations: list[tuple[int, int, Any]] = [
                (first, 0, [polygon(*head)]),
                (last, 0, [polygon(*tail), [1.0, 1.0, 2.0, 2.0], polygon(*second)]),
            ]
            if wordnet_id == "n02123394" and number == 1:
                segmentations[1] = (last, CROWD, crowd_rle(filled(PART_SIZE, tail, second)))
                segmentations.append((first, 0, [[5.0, 5.0, 9.0, 9.0]]))
            for category, crowd, segmentation in [] if empty else segmentations:
                entry = {"id": len(annotations) + 1, "image_id": image_id, "category_id": category, "iscrowd": crowd}
                annotations.append(entry | {"segmentation": segmentation, "bbox": [0, 0, 1, 1], "area": 1})
        for stray in (".DS_Store", "Thumbs.db"):
            (root / split / wordnet_id / stray).write_text("stray")
        write_masked(root / split / wordnet_id / f"{wordnet_id}_0.JPEG", filled(PART_SIZE))  # not listed
    for split, each in content.items():
        write_text(root / f"{split}.json", json.dumps(each))
    (root / ".DS_Store").write_text("stray")
    return root


COCO_SIZES = {9: (64, 40), 25: (30, 50), 30: (60, 44), 34: (40, 40), 139: (50, 34)}
COCO_BOXES: dict[int, list[tuple[int, Box]]] = {
    9: [(1, (20, 10, 40, 30)), (90, (4, 2, 12, 10))],
    25: [(3, (6, 15, 30, 35))],  # reaches the border
    30: [],
    34: [(90, (10, 10, 20, 30))],
    139: [(1, (0, 0, 4, 4))],  # lies outside of the central square of 34 pixels
}


def make_coco_instances(root: Path, folder: str = "val2017") -> Path:
    """COCO val2017 with five images, listed in an order that is not that of their ids.

    Category ids with gaps, an image without annotations, the run lengths of a crowd, a polygon of two parts, a
    greyscale image, a box of no width, a polygon of four numbers, one of no area, and stray files.
    """
    coco = root / "coco"
    images, annotations = [], []
    for image_id in (34, 9, 139, 30, 25):
        size, name = COCO_SIZES[image_id], f"{image_id:012d}.jpg"
        images.append({"id": image_id, "file_name": name, "width": size[0], "height": size[1]})
        boxes = [box for _, box in COCO_BOXES[image_id]]
        write_masked(coco / folder / name, filled(size, *boxes), "L" if image_id == 25 else "RGB")
        for category, box in COCO_BOXES[image_id]:
            x1, y1, x2, y2 = box
            segmentation: Any = [polygon(x1, y1, x2, y1 + 3), polygon(x1, y1 + 3, x2, y2)]
            crowd = 0
            if image_id == 9 and category == 90:
                segmentation, crowd = crowd_rle(filled(size, box)), CROWD
            annotations.append((image_id, category, crowd, segmentation))
    annotations.append((34, 3, 0, [[3.0, 3.0, 7.0, 9.0]]))
    annotations.append((34, 3, 0, [[5.0, 5.0, 5.0, 5.0, 5.0, 5.0]]))
    content = {
        "images": images,
        "annotations": [
            {
                "id": 700 - place,
                "image_id": image_id,
                "category_id": category,
                "iscrowd": crowd,
                "segmentation": segmentation,
                "bbox": [1.0, 1.0, 0.0, 5.0],
                "area": 1.0,
            }
            for place, (image_id, category, crowd, segmentation) in enumerate(annotations)
        ],
        "categories": [{"id": number, "name": f"thing {number}", "supercategory": "things"} for number in (1, 3, 90)],
    }
    write_text(coco / "annotations" / "instances_val2017.json", json.dumps(content))
    write_text(coco / folder / ".DS_Store", "stray")
    write_text(coco / folder / "000000000001.jpg", "stray")
    return coco


def make_retrieval(root: Path, name: str = "roxford5k", protocol: int = 2) -> Path:
    """ROxford5k or RParis6k with five images in the database and two queries.

    An image that is not listed, a query without easy images, empty lists that numpy takes for numbers with decimals,
    a picture that breaks off, and a name that repeats the underscore.
    """
    folder = root / name
    database = [f"all_souls_{number:06d}" for number in (13, 2, 101, 7, 55)]
    queries = ["all_souls_000026", "_bodleian_000108"]
    for seed, stem in enumerate([*database, *queries, "unlisted_000001"]):
        save_photo(folder / "jpg" / f"{stem}.jpg", 60, 40 if seed % 2 else 90, seed=seed)
    truncate(folder / "jpg" / f"{database[2]}.jpg", 0.7)
    write_text(folder / "jpg" / ".DS_Store", "stray")
    content = {
        "imlist": database,
        "qimlist": queries,
        "gnd": [
            {"bbx": [10.4, 5.0, 50.6, 35.2], "easy": np.array([4, 0]), "hard": np.array([2]), "junk": np.array([1])},
            {"bbx": np.array([0.0, 0.0, 30.0, 20.0]), "easy": np.array([]), "hard": [3], "junk": []},
        ],
    }
    (folder / f"gnd_{name}.pkl").write_bytes(pickle.dumps(content, protocol=protocol))
    return root
