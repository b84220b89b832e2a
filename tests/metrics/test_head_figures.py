import math

import pytest
import torch

from metrics.head_figures import HeadFigures, mean_iou

NAN = math.nan


def test_means_are_over_targets_and_errors_over_people():
    metric = HeadFigures()
    metric.update({"NMKE": torch.tensor([1.0, 2.0, 3.0]), "jitter": torch.tensor(0.5)})
    metric.update({"NMKE": torch.tensor([6.0])})
    found = metric.compute()
    assert found["NMKE"].value == pytest.approx(12 / 4)
    assert found["NMKE"].count == 2
    # Ratio of sums: residuals 6 - 3 * 3 and 6 - 3, twice their squares over one, over the four targets.
    assert found["NMKE"].standard_error == pytest.approx(math.sqrt((9 + 9) * 2 / 1) / 4)
    assert (found["jitter"].value, found["jitter"].count) == (0.5, 1)
    assert found.keys() == {"NMKE", "jitter"}


def test_what_a_target_lacks_does_not_count():
    metric = HeadFigures()
    metric.update({"NMKE": torch.tensor([1.0, NAN]), "no face": torch.tensor([0.0, 1.0])})
    metric.update({"NMKE": torch.tensor([NAN]), "no face": torch.tensor([1.0])})
    found = metric.compute()
    assert found["NMKE"].value == 1
    assert found["NMKE"].count == 1
    assert found["no face"].value == pytest.approx(2 / 3)


def test_thirds_by_difference_of_pose():
    metric = HeadFigures()
    metric.update({"pose difference": torch.tensor([0.1, 0.5, 0.9]), "NMKE": torch.tensor([1.0, 2, 3])})
    metric.update({"pose difference": torch.tensor([0.2, 0.6, NAN, 1.0]), "NMKE": torch.tensor([3.0, 4, 9, 5])})
    found = {name: float(each.value) for name, each in metric.compute().items()}
    assert [found[f"NMKE, {group}"] for group in ("low", "medium", "high")] == [2, 3, 4]
    assert found["pose difference, high"] == pytest.approx(0.95)
    assert found["NMKE"] == pytest.approx(27 / 7)


def test_nobody_has_no_figures():
    metric = HeadFigures()
    metric.update({"NMKE": torch.zeros(0)})
    with pytest.warns(UserWarning, match="compute"):
        assert HeadFigures().compute() == {}
    assert metric.compute() == {}


def test_iou_by_hand():
    # Truth 0 0 0 1, found 0 0 1 1: 2 of 3, 1 of 2; label 2 is nowhere and does not count.
    assert mean_iou(torch.tensor([[2, 1, 0], [0, 1, 0], [0, 0, 0]])) == pytest.approx((2 / 3 + 1 / 2) / 2)
    metric = HeadFigures()
    metric.update({"layout accuracy": torch.tensor([0.75])})
    metric.update_layout(torch.tensor([[[0, 0], [1, 1]]]), torch.tensor([[[0, 0], [0, 1]]], dtype=torch.uint8))
    assert metric.compute()["layout mIoU"].value == pytest.approx((2 / 3 + 1 / 2) / 2)
