import pytest
import torch

from metrics.corloc import CorLoc


def boxes(*rows):
    return torch.tensor(rows, dtype=torch.float32).reshape(-1, 4)


def test_counts_images_by_any_box_at_the_threshold():
    metric = CorLoc()
    metric.update(torch.tensor([0.0, 0, 10, 10]), boxes([50, 50, 60, 60], [0, 0, 10, 5]))  # second has IoU 0.5
    metric.update(torch.tensor([0.0, 0, 10, 10]), boxes([0, 0, 10, 4.99]))
    metric.update(torch.tensor([0.0, 0, 10, 10]), boxes())
    metric.update(torch.tensor([3.0, 3, 7, 9]), boxes([3, 3, 7, 9]))
    estimate = metric.compute()["CorLoc"]
    assert float(estimate.value) == pytest.approx(0.5)
    assert float(estimate.standard_error) == pytest.approx((0.5 * 0.5 / 4) ** 0.5)
    assert estimate.count == 4


def test_images_without_boxes_can_be_left_out():
    metric = CorLoc(without_boxes="skip")
    metric.update(torch.tensor([0.0, 0, 10, 10]), boxes())
    assert metric.compute()["CorLoc"].count == 0
    assert torch.isnan(metric.compute()["CorLoc"].value)
    with pytest.raises(ValueError, match="miss"):
        CorLoc(without_boxes="ignore")


def test_threshold_is_an_option_and_parts_add_up():
    parts = [CorLoc(iou_threshold=0.4), CorLoc(iou_threshold=0.4)]
    for metric, width in zip(parts, [3.9, 4.0], strict=True):
        metric.update(torch.tensor([0.0, 0, 10, 10]), boxes([0, 0, 10, width]))
    parts[0].merge_state(parts[1])
    assert float(parts[0].compute()["CorLoc"].value) == pytest.approx(0.5)
