"""A set of generated pictures, as configs/gen2det_filter.yaml leaves it."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.detection.scenes import NAMES

SIZE = 64


def write_generated(
    folder: Path, count: int = 9, names: Sequence[str] = NAMES, first: int = 1, copies: int | None = None
) -> Path:
    """Write generated pictures of one grey each, with an object of every third class in turn.

    Args:
        folder: gets them.
        count: of them.
        names: of the classes.
        first: number of the first class.
        copies: of each real picture, which those that were generated are called by then.
    """
    (folder / "images").mkdir(parents=True)
    images, annotations = [], []
    for k in range(count):
        name = f"{k:03d}.png" if copies is None else f"{k // copies}-{k % copies}.png"
        Image.fromarray(np.full((SIZE, SIZE, 3), 10 * k, np.uint8)).save(folder / "images" / name)
        images.append({"id": k, "file_name": name, "height": SIZE, "width": SIZE})
        category = first + 3 * (k % max(len(names) // 3, 1))
        box = [10, 12, 20, 24]
        annotations.append({"id": k, "image_id": k, "category_id": category, "bbox": box, "area": 480, "iscrowd": 0})
    categories = [{"id": first + place, "name": name} for place, name in enumerate(names)]
    path = folder / "filtered.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations, "categories": categories}))
    return path
