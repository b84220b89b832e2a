import math

import numpy as np
import pytest
import torch
import torchvision.ops
from hypothesis import example, given, settings
from hypothesis import strategies as st

from networks.detection.ops import ensure_ops
from visionscapes.errors import UserError

ensure_ops()
from mmcv.ops import batched_nms, nms_match, soft_nms  # noqa: E402
from mmcv.ops import nms as mmcv_nms  # noqa: E402
from mmcv.ops.deform_roi_pool import deform_roi_pool  # noqa: E402
from mmcv.ops.roi_align import roi_align  # noqa: E402

gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]
devices = pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=gpu)])


@st.composite
def scored_boxes(draw, most=12):
    """Boxes on a coarse grid, so that ties, identical boxes and boxes without area are frequent."""
    number = draw(st.integers(0, most))
    corners = draw(st.lists(st.tuples(*[st.integers(0, 6)] * 4), min_size=number, max_size=number))
    scores = draw(st.lists(st.integers(0, 4), min_size=number, max_size=number))
    boxes = [(x, y, x + w, y + h) for x, y, w, h in corners]
    return torch.tensor(boxes, dtype=torch.float32).view(-1, 4), torch.tensor(scores, dtype=torch.float32) / 4


def iou_of(a, b, offset):
    inter = max(0, min(a[2], b[2]) - max(a[0], b[0]) + offset) * max(0, min(a[3], b[3]) - max(a[1], b[1]) + offset)
    area_a, area_b = ((c[2] - c[0] + offset) * (c[3] - c[1] + offset) for c in (a, b))
    union = area_a + area_b - inter
    return inter / union if union else 0.0


def naive_nms(boxes, scores, threshold, offset=0):
    left = sorted(range(len(boxes)), key=lambda i: -scores[i])
    kept = []
    while left:
        kept.append(left.pop(0))
        ious = [np.float32(iou_of(boxes[kept[-1]], boxes[i], offset)) for i in left]
        left = [i for i, iou in zip(left, ious, strict=True) if not iou > np.float32(threshold)]
    return kept


@given(scored_boxes(), st.sampled_from([0.1, 0.3, 0.55, 0.7]), st.sampled_from([0, 1]))
@settings(max_examples=60, deadline=None)
def test_nms_equals_the_naive_one(case, threshold, offset):
    boxes, scores = case
    _, kept = mmcv_nms(boxes, scores, threshold, offset)
    assert kept.tolist() == naive_nms(boxes.tolist(), scores.tolist(), threshold, offset)


@devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_nms_equals_torchvision_in_every_precision(device, dtype):
    generator = torch.Generator().manual_seed(0)
    corner = torch.rand(200, 2, generator=generator) * 60
    boxes = torch.cat([corner, corner + torch.rand(200, 2, generator=generator) * 40], 1).to(device, dtype)
    scores = torch.rand(200, generator=generator).to(device, dtype)
    dets, kept = mmcv_nms(boxes, scores, 0.4)
    expected = torchvision.ops.nms(boxes.float(), scores.float(), 0.4)
    assert kept.tolist() == expected.tolist()
    assert 10 < len(kept) < 150
    torch.testing.assert_close(dets, torch.cat([boxes[kept], scores[kept, None]], 1))


@devices
def test_suppression_by_class_keeps_what_torchvision_keeps(device):
    generator = torch.Generator().manual_seed(1)
    corner = torch.rand(100, 2, generator=generator) * 30
    boxes = torch.cat([corner, corner + 5 + torch.rand(100, 2, generator=generator) * 20], 1).to(device)
    scores, labels = torch.rand(100, generator=generator).to(device), torch.arange(100).to(device) % 3
    _, kept = batched_nms(boxes, scores, labels, {"type": "nms", "iou_threshold": 0.5})
    assert kept.tolist() == torchvision.ops.batched_nms(boxes, scores, labels, 0.5).tolist()


def naive_soft_nms(boxes, scores, threshold, sigma, least, method, offset):
    """One box after the other in an array: the best moves to the front, the last one into a hole."""
    items = [[score, index] for index, score in enumerate(scores)]
    front = 0
    while front < len(items):
        best = max(range(front, len(items)), key=lambda i: (items[i][0], -i))
        items[front], items[best] = items[best], items[front]
        at = front + 1
        while at < len(items):
            iou = iou_of(boxes[items[front][1]], boxes[items[at][1]], offset)
            factor = {
                "naive": 0.0 if iou >= threshold else 1.0,
                # Rounded as mmcv rounds it: whether two scores tie hangs on the last bit.
                "linear": np.float32(1) - np.float32(iou) if iou >= threshold else 1.0,
                "gaussian": math.exp(-(iou**2) / sigma),
            }[method]
            items[at][0] = float(np.float32(items[at][0]) * np.float32(factor))
            if items[at][0] < least:
                items[at] = items[-1]
                items.pop()
            else:
                at += 1
        front += 1
    return items


@given(
    scored_boxes(),
    st.sampled_from(["naive", "linear", "gaussian"]),
    st.sampled_from([0, 1]),
    st.sampled_from([0.2, 0.6]),
)
@example(
    (torch.tensor([[0.0, 0, 1, 3], [0, 0, 0, 0], [0, 0, 1, 1]]), torch.tensor([0.75, 0.5, 0.75])), "linear", 0, 0.2
)
@settings(max_examples=100, deadline=None)
def test_soft_nms_equals_the_naive_one_in_order_of_ties_too(case, method, offset, threshold):
    boxes, scores = case
    dets, kept = soft_nms(boxes, scores, threshold, sigma=0.4, min_score=0.06, method=method, offset=offset)
    expected = naive_soft_nms(boxes.tolist(), scores.tolist(), threshold, 0.4, 0.06, method, offset)
    assert kept.tolist() == [index for _, index in expected]
    torch.testing.assert_close(dets[:, 4], torch.tensor([score for score, _ in expected], dtype=torch.float32))
    torch.testing.assert_close(dets[:, :4], boxes[kept])


def test_soft_nms_by_hand():
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [20, 20, 30, 30]])  # IoU of the first two is 1/2
    scores = torch.tensor([0.9, 0.8, 0.7])
    dets, kept = soft_nms(boxes, scores, 0.3, method="linear")
    assert kept.tolist() == [0, 2, 1]
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.7, 0.4]))
    dets, _ = soft_nms(boxes, scores, 0.3, sigma=0.5, method="gaussian")
    torch.testing.assert_close(dets[:, 4], torch.tensor([0.9, 0.7, 0.8 * math.exp(-0.5)]))
    assert soft_nms(boxes, scores, 0.3, method="naive")[1].tolist() == [0, 2]


@given(scored_boxes(), st.sampled_from([0.2, 0.5]))
@settings(max_examples=40, deadline=None)
def test_matched_groups_are_a_partition_led_by_what_nms_keeps(case, threshold):
    boxes, scores = case
    groups = [group.tolist() for group in nms_match(torch.cat([boxes, scores[:, None]], 1), threshold)]
    assert sorted(index for group in groups for index in group) == list(range(len(boxes)))
    firsts = [group[0] for group in groups]
    assert [scores[i].item() for i in firsts] == sorted((scores[i].item() for i in firsts), reverse=True)
    for group in groups:
        assert all(iou_of(boxes[group[0]].tolist(), boxes[i].tolist(), 0) >= threshold for i in group[1:])
        assert [scores[i].item() for i in group] == sorted((scores[i].item() for i in group), reverse=True)
    for number, first in enumerate(firsts):
        assert all(iou_of(boxes[first].tolist(), boxes[i].tolist(), 0) < threshold for i in firsts[:number])


def rois_of(number, generator, size=40.0):
    corner = torch.rand(number, 2, generator=generator) * size * 0.7
    sides = torch.rand(number, 2, generator=generator) * size * 0.5
    if number > 1:
        sides[0] = 0
    image = torch.randint(0, 2, (number, 1), generator=generator)
    return torch.cat([image, corner, corner + sides], 1).double()


@devices
@pytest.mark.parametrize("number", [0, 1, 5])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("aligned", [True, False])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_roi_align_equals_torchvision(device, number, ratio, aligned, scale):
    generator = torch.Generator().manual_seed(number)
    ours = torch.randn(2, 3, 11, 13, generator=generator, dtype=torch.float64).to(device).requires_grad_()
    theirs = ours.detach().clone().requires_grad_()
    rois = rois_of(number, generator).to(device)
    out = roi_align(ours, rois, (3, 2), scale, ratio, "avg", aligned)
    expected = torchvision.ops.roi_align(theirs, rois, (3, 2), scale, ratio, aligned)
    torch.testing.assert_close(out, expected)
    weight = torch.arange(out.numel(), dtype=torch.float64, device=device).view_as(out)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


@devices
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_roi_align_in_reduced_precision_is_the_rounded_one(device, dtype):
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(2, 4, 10, 10, generator=generator).to(device, dtype).requires_grad_()
    full = x.detach().float().requires_grad_()
    rois = rois_of(6, generator).float().to(device)
    out = roi_align(x, rois, 2, 0.25)
    expected = roi_align(full, rois, 2, 0.25)
    assert out.dtype == dtype
    torch.testing.assert_close(out, expected.to(dtype))
    out.sum().backward()
    expected.sum().backward()
    torch.testing.assert_close(x.grad, full.grad.to(dtype))


@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "pool", [lambda x, r, n: roi_align(x, r, 2, 1.0, n), lambda x, r, n: deform_roi_pool(x, r, None, 2, 1.0, n)]
)
def test_boxes_of_diverged_training_do_not_crash_the_process(pool, wrong, ratio):
    x = torch.randn(1, 2, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rois = torch.tensor([[0, wrong, 1, wrong, 5], [0, 1, 1, 6, 5], [0, wrong, wrong, wrong, wrong]])
    out = pool(x, rois, ratio)
    torch.testing.assert_close(out[1:2], pool(x, rois[1:2], ratio))
    out[[0, 2]].sum().backward()
    assert x.grad.isfinite().all()


def test_maxima_of_roi_align_are_refused():
    with pytest.raises(UserError, match="choose 'avg'"):
        roi_align(torch.zeros(1, 1, 4, 4), torch.zeros(1, 5), 2, 1.0, 0, "max")


@devices
@pytest.mark.parametrize("ratio", [0, 2])
def test_deformable_pooling_without_offsets_is_roi_align(device, ratio):
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(2, 3, 12, 14, generator=generator, dtype=torch.float64).to(device).requires_grad_()
    rois = rois_of(7, generator).to(device)
    out = deform_roi_pool(x, rois, None, (2, 3), 0.25, ratio)
    expected = torchvision.ops.roi_align(x, rois, (2, 3), 0.25, ratio, aligned=True)
    torch.testing.assert_close(out, expected)
    torch.testing.assert_close(*(torch.autograd.grad(each.sin().sum(), x)[0] for each in (out, expected)))


def test_an_offset_moves_a_cell_by_a_fraction_of_the_box():
    generator = torch.Generator().manual_seed(5)
    x = torch.randn(1, 2, 20, 20, generator=generator, dtype=torch.float64)
    rois = torch.tensor([[0, 4.0, 3, 12, 9]], dtype=torch.float64)
    offset = torch.zeros(1, 2, 2, 2, dtype=torch.float64)
    offset[0, :, 1, 0] = torch.tensor([0.5, -0.25])
    out = deform_roi_pool(x, rois, offset, 2, 1.0, 2, 0.1)
    still = torchvision.ops.roi_align(x, rois, 2, 1.0, 2, True)
    moved = rois + torch.tensor([0, 0.1 * 8 * 0.5, -0.1 * 6 * 0.25, 0.1 * 8 * 0.5, -0.1 * 6 * 0.25])
    there = torchvision.ops.roi_align(x, moved, 2, 1.0, 2, True)
    still[..., 1, 0] = there[..., 1, 0]
    torch.testing.assert_close(out, still)


def test_gradients_of_deformable_pooling_are_derivatives():
    generator = torch.Generator().manual_seed(6)
    x = torch.randn(1, 1, 8, 8, generator=generator, dtype=torch.float64).requires_grad_()
    rois = torch.tensor([[0, 1.3, 2.1, 5.4, 6.2], [0, 2.2, 1.7, 4.1, 5.9]], dtype=torch.float64)
    offset = torch.randn(2, 2, 2, 1, generator=generator, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: deform_roi_pool(a, rois, b, (2, 1), 1.0, 2, 0.1), (x, offset))
