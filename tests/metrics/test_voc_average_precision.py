import math

import numpy as np
import pytest

from callbacks.detection.evaluation import columns
from metrics.voc_average_precision import voc_average_precision
from tests.callbacks.detection.cases import fuzzed


def inclusive(box):
    return box.astype(float) + np.array([1, 1, 0, 0])


def naive(images, label):
    """The development kits' loop over detections, with the +1 of inclusive corners."""
    objects = {k: [] for k in range(len(images))}
    detections, positives = [], 0
    for k, each in enumerate(images):
        for box, own, ignored in zip(*(each.truth[key] for key in ("boxes", "labels", "ignored")), strict=True):
            if own == label:
                objects[k].append([inclusive(box), ignored, False])
                positives += not ignored
        for box, own, score in zip(*(each.found[key] for key in ("boxes", "labels", "scores")), strict=True):
            if own == label:
                detections.append((k, score, inclusive(box)))
    hits = []
    for k, _, box in sorted(detections, key=lambda row: -row[1]):
        best, chosen = -1.0, None
        for each in objects[k]:
            width = min(box[2], each[0][2]) - max(box[0], each[0][0]) + 1
            height = min(box[3], each[0][3]) - max(box[1], each[0][1]) + 1
            if width > 0 and height > 0:
                areas = [(b[2] - b[0] + 1) * (b[3] - b[1] + 1) for b in (box, each[0])]
                overlap = width * height / (sum(areas) - width * height)
                if overlap > best:
                    best, chosen = overlap, each
        if best < 0.5:
            hits.append(0)
        elif not chosen[1]:
            hits.append(int(not chosen[2]))
            chosen[2] = True
    if not positives:
        return None
    points = [(sum(hits[:n]) / positives, sum(hits[:n]) / n) for n in range(1, len(hits) + 1)]
    eleven = sum(max((p for r, p in points if r >= k / 10), default=0) for k in range(11)) / 11
    steps = enumerate(zip([(0, 0), *points], points, strict=False))
    area = sum(max(p for _, p in points[n:]) * (after - before) for n, ((before, _), (after, _)) in steps)
    return eleven, area


@pytest.mark.parametrize("seed", range(6))
def test_equals_the_loop_of_the_development_kits(seed):
    images = fuzzed(np.random.default_rng(seed), crowds=0.2, ties=seed % 2 == 0)
    values = voc_average_precision(*columns(images), 5)
    for label in range(5):
        expected = naive(images, label)
        if expected is None:
            assert math.isnan(values["area"][label])
        else:
            found = (values["11 points"][label], values["area"][label])
            assert found == pytest.approx(expected, abs=1e-12)
    assert np.nanmax(values["area"]) > 0.01
