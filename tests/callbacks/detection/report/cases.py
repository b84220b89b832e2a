"""Findings of a test, for the files, charts and the page of a report."""

from typing import Any

import numpy as np

from callbacks.detection.detection_report import DetectionReport
from callbacks.detection.report.findings import Findings
from metrics.detection_matching import matched
from tests.callbacks.detection.cases import CLASSES, FakeData, fuzzed


def findings_of(images: list[Any], *, classes: tuple[str, ...] = CLASSES, **attributes: Any) -> Findings:
    """Return what a report says of pictures with detections."""
    report = DetectionReport()
    collected = [(image, matched(image.found, image.truth, min_score=report.min_score)) for image in images]
    data = FakeData(images, classes=classes, **attributes)
    return report.findings(collected, data, {"missed": [], "false": [], "confused": []})


def some(seed: int = 0, classes: int = 5, **options: Any) -> list[Any]:
    """Return pictures in which classes are confused, too."""
    rng = np.random.default_rng(seed)
    images = fuzzed(rng, pictures=12, classes=classes, **options)
    for each in images:
        labels, wrong = each.found["labels"], rng.random(len(each.found["labels"])) < 0.3
        labels[wrong] = rng.integers(0, classes, wrong.sum())
    return images
