import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, jaccard_score

from metrics.segmentation_scores import SegmentationScores


def test_by_hand():
    metric = SegmentationScores(4)
    metric.update(torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 1, 255]]], dtype=torch.uint8))
    metric.update(torch.tensor([[[2, 0, 0, 0]]]), torch.tensor([[[2, 0, 0, 255]]], dtype=torch.uint8))
    found = metric.compute()  # intersection over union: 3 / 4 of label 0, 1 / 2 of 1, 1 of 2, and 3 is nowhere
    assert float(found["mIoU"]) == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert float(found["pixel accuracy"]) == pytest.approx(5 / 6)
    assert int(metric.images) == 2


def test_as_scikit_learn_has_it_whatever_the_batches():
    random = np.random.default_rng(0)
    labels = random.integers(0, 6, (5, 7, 9)).astype(np.uint8)
    labels[labels == 5] = 255
    predicted = np.where(random.random(labels.shape) < 0.6, labels % 5, random.integers(0, 5, labels.shape))
    found = []
    for sizes in ([5], [2, 1, 2]):
        metric = SegmentationScores(5)
        parts = (torch.from_numpy(each).split(sizes) for each in (predicted, labels))
        for pair in zip(*parts, strict=True):
            metric.update(*pair)
        found.append(metric.compute())
    known = labels != 255
    assert found[0] == found[1]
    assert float(found[0]["mIoU"]) == pytest.approx(jaccard_score(labels[known], predicted[known], average="macro"))
    assert float(found[0]["pixel accuracy"]) == pytest.approx(accuracy_score(labels[known], predicted[known]))


def test_nothing_to_compare():
    metric = SegmentationScores(3)
    metric.update(torch.zeros(1, 2, 2), torch.full((1, 2, 2), 255))
    assert all(torch.isnan(value) for value in metric.compute().values())
