"""Sets of pictures with detections, and the smallest datamodule and detector that fit the callbacks of detection."""

from typing import Any

import numpy as np
import torch
from pycocotools import mask as rle
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from callbacks.detection.evaluation import EvaluatedImage
from tests.helpers.quiet_trainer import quiet_trainer

CLASSES = ("apple", "bottle", "cat", "dog", "egg")
SIDE = 160


def image(truth=(), found=(), image_id=0, size=(100, 100), **options) -> EvaluatedImage:
    """Return a picture from rows (label, x1, y1, x2, y2[, "ignored"]) and (label, score, x1, y1, x2, y2)."""
    boxes = np.array([row[1:5] for row in truth], np.float32).reshape(-1, 4)
    return EvaluatedImage(
        image_id,
        size,
        {
            "boxes": np.array([row[2:] for row in found], np.float32).reshape(-1, 4),
            "scores": np.array([row[1] for row in found], np.float32),
            "labels": np.array([row[0] for row in found], np.int64),
        },
        {
            "boxes": boxes,
            "labels": np.array([row[0] for row in truth], np.int64),
            "areas": (boxes[:, 2:] - boxes[:, :2]).prod(1),
            "ignored": np.array(["ignored" in row for row in truth], bool),
        },
        **options,
    )


def random_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner = rng.uniform(0, 0.8 * SIDE, (count, 2))
    far = np.minimum(corner + 1 + rng.exponential(0.15 * SIDE, (count, 2)), SIDE)
    return np.column_stack([corner, far]).astype(np.float32)


def mottled(rng: np.random.Generator, boxes: np.ndarray) -> list[dict[str, Any]]:
    """Return masks of boxes with holes, as compressed RLE."""
    masks = np.zeros((SIDE, SIDE, len(boxes)), np.uint8, order="F")
    for k, (x1, y1, x2, y2) in enumerate(boxes.clip(0, SIDE).astype(int)):
        masks[y1:y2, x1:x2, k] = rng.random((y2 - y1, x2 - x1)) < 0.9
    return rle.encode(masks) if len(boxes) else []


def fuzzed(
    rng: np.random.Generator,
    pictures: int = 6,
    classes: int = 3,
    objects: int = 10,
    detections: int = 40,
    ties: bool = False,
    crowds: float = 0.1,
    masks: bool = False,
) -> list[EvaluatedImage]:
    """Return pictures of which some have no object or no detection.

    With ``ties`` many scores, coordinates and overlaps are equal, and many areas are exactly on a border.
    """
    images = []
    for number in range(pictures):
        count, found_count = (int(rng.integers(0, most + 1)) * (rng.random() < 0.9) for most in (objects, detections))
        boxes, labels = random_boxes(rng, count), rng.integers(0, classes, count)
        found, found_labels = random_boxes(rng, found_count), rng.integers(0, classes, found_count)
        if count:
            near, source = rng.random(found_count) < 0.6, rng.integers(0, count, found_count)
            found[near] = (boxes[source] + rng.normal(0, 4, (found_count, 4)))[near]
            found_labels[near] = labels[source][near]
        scores = rng.random(found_count).astype(np.float32)
        areas = (0.8 * (boxes[:, 2:] - boxes[:, :2]).prod(1)).astype(np.float32)
        if ties:
            boxes, found, scores = boxes.round(), (found / 2).round() * 2, (scores * 5).round() / 5
            areas = np.where(rng.random(count) < 0.3, np.float32(1024), areas)
        for each in (boxes, found):
            each[:, 2:] = np.maximum(each[:, 2:], each[:, :2] + 1)
        true_masks, found_masks = (mottled(rng, each) for each in (boxes, found)) if masks else (None, None)
        if true_masks:
            areas = rle.area(true_masks).astype(np.float32)
        ignored = rng.random(count) < crowds
        truth = {"boxes": boxes, "labels": labels, "areas": areas, "ignored": ignored}
        predictions = {"boxes": found, "scores": scores, "labels": found_labels}
        images.append(EvaluatedImage(number, (SIDE, SIDE), predictions, truth, found_masks, true_masks))
    return images


class FakeData(LightningDataModule):
    """Fuzzed pictures, at half their size.

    Args:
        images: the pictures; what is found in them is left out of the batches.
        batch_size: pictures a batch.
        attributes: of the datamodule, such as ``known``.
    """

    classes, test_size = CLASSES, SIDE // 2

    def __init__(self, images: list[EvaluatedImage], batch_size: int = 2, **attributes: Any):
        super().__init__()
        self.images, self.batch_size = images, batch_size
        for name, value in attributes.items():
            setattr(self, name, value)

    def test_dataloader(self) -> DataLoader:
        return DataLoader(self.images, batch_size=self.batch_size, collate_fn=as_batch)  # type: ignore[arg-type]

    val_dataloader = test_dataloader


def as_batch(images: list[EvaluatedImage]) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(0)
    halves = [[3, each.size[0] // 2, each.size[1] // 2] for each in images]
    truths = [{key: torch.from_numpy(value) for key, value in each.truth.items()} for each in images]
    return {
        "task": "detection",
        "image": [torch.randint(256, half, generator=generator, dtype=torch.uint8) for half in halves],
        "image_id": [each.image_id for each in images],
        "size": [torch.tensor(each.size) for each in images],
        "truth": [
            truth | {"masks": each.true_masks, "negative": each.negative, "not_exhaustive": each.not_exhaustive}
            for truth, each in zip(truths, images, strict=True)
        ],
    }


class FakeDetector(LightningModule):
    """Returns for every picture what is said to be found in it; proposals are the detections without classes."""

    def __init__(self, images: list[EvaluatedImage]):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.found = {each.image_id: each for each in images}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> list[dict[str, Any]] | None:
        if batch["task"] != "detection":
            return None
        return [self.detect(image_id) for image_id in batch["image_id"]]

    test_step = validation_step

    def detect(self, image_id: int | str) -> dict[str, Any]:
        each = self.found[image_id]
        order = np.argsort(-each.found["scores"], kind="stable")
        found: dict[str, Any] = {key: torch.from_numpy(value[order]) for key, value in each.found.items()}
        return found if each.found_masks is None else found | {"masks": [each.found_masks[k] for k in order]}

    def proposals(self, batch: dict[str, Any]) -> list[dict[str, Tensor]]:
        return [
            {key: value for key, value in self.detect(image_id).items() if key in ("boxes", "scores")}
            for image_id in batch["image_id"]
        ]


def run_test(folder: Any, callbacks: list[Callback], images: list[EvaluatedImage], **attributes: Any) -> Trainer:
    """Run ``Trainer.test`` of a detector on these pictures quietly in a run folder."""
    trainer = quiet_trainer(folder, callbacks)
    trainer.test(FakeDetector(images), datamodule=FakeData(images, **attributes), verbose=False)
    return trainer
