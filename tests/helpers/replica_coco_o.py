"""A tiny replica of COCO-O, with what a loader of it has to stand."""

import json
from collections.abc import Sequence
from pathlib import Path

from datamodules.detection.coco_o import DOMAINS, coco_categories
from tests.helpers.replicas import write_image, write_text

SIZES = {1: (50, 34), 7: (48, 40)}  # width and height, the same ids in every domain
BOXES = {1: [(90, (20.0, 10.0, 20.0, 10.0))], 7: [(1, (4.0, 4.0, 16.0, 30.0)), (3, (24.0, 8.0, 20.0, 20.0))]}


def make_coco_o(root: Path, domains: Sequence[str] = DOMAINS) -> Path:
    """COCO-O with two pictures in every domain, which have the same ids and names in all of them.

    No masks; in "tattoo" the classes that it shows alone are defined, backwards and with other ids; a stray file.
    """
    folder = root / "ood_coco"
    for domain in domains:
        names = coco_categories()
        ids = {number: number for number in names}
        if domain == "tattoo":
            ids = {90: 1, 3: 2, 1: 3}
        annotations = [
            {"image_id": image, "category_id": ids[category], "bbox": list(box), "area": box[2] * box[3], "iscrowd": 0}
            for image, boxes in BOXES.items()
            for category, box in boxes
        ]
        content = {
            "images": [
                {"id": number, "file_name": f"{number:012d}.jpg", "width": width, "height": height}
                for number, (width, height) in SIZES.items()
            ],
            "annotations": [each | {"id": number} for number, each in enumerate(annotations, 1)],
            "categories": [{"id": own, "name": names[number]} for number, own in ids.items()],
        }
        write_text(folder / domain / "annotations" / "instances_val2017.json", json.dumps(content))
        for number, size in SIZES.items():
            write_image(folder / domain / "val2017" / f"{number:012d}.jpg", *size)
    write_text(folder / ".DS_Store", "stray")
    return folder
