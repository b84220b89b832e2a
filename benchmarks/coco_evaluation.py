"""Speed of COCO's figures, side by side with pycocotools on the same detections.

    python benchmarks/coco_evaluation.py [--quick] [--rounds N] [--masks] [--output FOLDER]

Prints JSON; the full run also writes it to benchmarks/results/. Ratios are ours / pycocotools, medians over rounds that
alternate between the two in one process. Both begin with the records that callbacks.COCOEvaluation has collected and
end with precision and recall of every class, threshold and area.
"""

import contextlib
import io
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from benchmarks.reports import finish, new_report, parser_of
from benchmarks.timing import Case, compare
from callbacks.detection.evaluation import EvaluatedImage, columns
from metrics.coco_average_precision import Curves, coco_curves

SIDE = 640  # pixels of the square pictures


@dataclass(frozen=True)
class Settings:
    """Sizes of the work; the defaults are those that the reached ratio is stated for."""

    pictures: int = 5_000
    boxes: int = 100
    objects: int = 7
    classes: int = 80
    masks: bool = False


QUICK = Settings(pictures=12, boxes=20, classes=5)


def random_images(settings: Settings, seed: int = 0) -> list[EvaluatedImage]:
    """Return pictures with about ``objects`` annotated objects each, most of them found, a hundredth of them crowds."""
    rng = np.random.default_rng(seed)
    images = []
    for number in range(settings.pictures):
        count = int(rng.integers(0, 2 * settings.objects + 1))
        boxes, labels = random_boxes(rng, count), rng.integers(0, settings.classes, count)
        found, found_labels = random_boxes(rng, settings.boxes), rng.integers(0, settings.classes, settings.boxes)
        near = min(count, settings.boxes)
        found[:near] = boxes[:near] + rng.normal(0, 4, (near, 4))
        found[:, 2:] = np.maximum(found[:, 2:], found[:, :2] + 1)
        found_labels[:near] = labels[:near]
        images.append(
            EvaluatedImage(
                number,
                (SIDE, SIDE),
                {"boxes": found, "scores": rng.random(settings.boxes, dtype=np.float32), "labels": found_labels},
                truth={
                    "boxes": boxes,
                    "labels": labels,
                    "areas": 0.7 * (boxes[:, 2:] - boxes[:, :2]).prod(1),
                    "ignored": rng.random(count) < 0.01,
                },
                found_masks=filled(found) if settings.masks else None,
                true_masks=filled(boxes) if settings.masks else None,
            )
        )
    return images


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    """Return (count, 4) float32 xyxy, half of them small."""
    corner = rng.uniform(0, 0.8 * SIDE, (count, 2))
    far = np.minimum(corner + 2 + rng.exponential(0.12 * SIDE, (count, 2)), SIDE)
    return np.column_stack([corner, far]).astype(np.float32)


def filled(boxes: np.ndarray) -> list[dict[str, Any]]:
    """Return the masks of whole boxes as compressed RLE."""
    from pycocotools import mask as rle

    xywh = np.column_stack([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]]).astype(np.float64)
    return rle.frPyObjects(xywh, SIDE, SIDE) if len(boxes) else []


def our_curves(images: Sequence[EvaluatedImage], num_classes: int, masks: bool = False) -> Curves:
    """Return the curves as callbacks.COCOEvaluation computes them."""
    return coco_curves(*columns(images), [image.size for image in images], num_classes, masks)


def pycocotools_curves(images: Sequence[EvaluatedImage], num_classes: int, masks: bool = False) -> Curves:
    """Return the same from pycocotools, used as its documentation says."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        for k, box in enumerate(image.truth["boxes"].astype(float).tolist()):
            annotation = described(number, int(image.truth["labels"][k]), box, image.true_masks if masks else None, k)
            area, crowd = float(image.truth["areas"][k]), int(image.truth["ignored"][k])
            annotations.append(annotation | {"area": area, "iscrowd": crowd, "id": len(annotations) + 1})
        for k, box in enumerate(image.found["boxes"].astype(float).tolist()):
            result = described(number, int(image.found["labels"][k]), box, image.found_masks if masks else None, k)
            results.append(result | {"score": float(image.found["scores"][k])})
    with contextlib.redirect_stdout(io.StringIO()):
        truth, found = COCO(), COCO()
        truth.dataset = {
            "info": {},
            "images": [
                {"id": number, "height": image.size[0], "width": image.size[1]}
                for number, image in enumerate(images, 1)
            ],
            "categories": [{"id": label + 1} for label in range(num_classes)],
            "annotations": annotations,
        }
        truth.createIndex()
        if results:
            found = truth.loadRes(results)
        else:  # loadRes looks at the first
            found.dataset = truth.dataset | {"annotations": []}
            found.createIndex()
        evaluation = COCOeval(truth, found, "segm" if masks else "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
    found = evaluation.eval
    return Curves(found["precision"][..., -1], found["recall"][..., -1], found["scores"][..., -1])


def described(
    image_id: int, label: int, box: list[float], masks: Sequence[dict[str, Any]] | None, k: int
) -> dict[str, Any]:
    """Return what pycocotools wants to know of an object: no box beside a mask, or it takes the box's area."""
    x1, y1, x2, y2 = box
    shape: dict[str, Any] = {"bbox": [x1, y1, x2 - x1, y2 - y1]} if masks is None else {"segmentation": masks[k]}
    return {"image_id": image_id, "category_id": label + 1} | shape


def evaluation(settings: Settings) -> Case:
    """Return the comparison of the two on the same records."""
    images = random_images(settings)
    curves: dict[str, Curves] = {}

    def ours(_: int) -> None:
        curves["ours"] = our_curves(images, settings.classes, settings.masks)

    def plain(_: int) -> None:
        curves["plain"] = pycocotools_curves(images, settings.classes, settings.masks)

    def difference() -> float:
        pairs = [(curves["ours"].precision, curves["plain"].precision), (curves["ours"].recall, curves["plain"].recall)]
        return max(float(np.abs(first - second).max()) for first, second in pairs)

    return Case(ours, plain, difference, reach=0.05)


def main(arguments: list[str] | None = None) -> dict[str, Any]:
    """Run the benchmark; returns what it prints."""
    parser = parser_of(__doc__, devices=False)
    parser.add_argument("--rounds", type=int, default=2, help="each takes a minute of pycocotools")
    parser.add_argument("--masks", action="store_true", help="compare masks instead of boxes")
    options = parser.parse_args(arguments)
    settings = Settings(**(asdict(QUICK if options.quick else Settings()) | {"masks": options.masks}))
    report = new_report(settings)
    report["evaluation"] = compare(evaluation(settings), options.rounds)
    finish(report, "coco-evaluation", options)
    return report


if __name__ == "__main__":
    main()
