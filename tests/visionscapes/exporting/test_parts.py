from dataclasses import replace

import pytest
import torch
from torch import nn

from visionscapes.exporting.parts import BATCH, Exportable, HasExportable, Input, Size

SIZES = {"batch": BATCH, "height": Size(8, (12, 16), multiple=4, fixed=16)}
PART = Exportable(
    name="sum",
    network=nn.Identity(),
    inputs={
        "images": Input(shape=("batch", 3, "height", 5), meaning="images", low=-1.0),
        "labels": Input(shape=("batch",), meaning="labels", kind="integers", low=2, high=5),
        "noise": Input(shape=("height", 400), meaning="noise", kind="normal", low=None, high=None),
    },
    outputs={"sum": "of all"},
    sizes=SIZES,
)


def test_examples_have_the_shapes_and_ranges_that_are_described():
    images, labels, noise = PART.example()
    assert images.shape == (2, 3, 8, 5)
    assert labels.shape == (2,)
    assert noise.shape == (8, 400)
    assert images.dtype == noise.dtype == torch.float32
    assert labels.dtype == torch.int64
    first, second = PART.checks()
    assert [tuple(each[0].shape) for each in (first, second)] == [(3, 3, 12, 5), (1, 3, 16, 5)]
    assert images.min() < -0.5 < 0.5 < images.max() <= 1
    assert {int(each) for seed in range(20) for each in PART.example(seed)[1]} == {2, 3, 4}
    assert abs(noise.std() - 1) < 0.1
    assert noise.min() < -2


def test_boxes_have_their_corners_in_order():
    boxes = Input(shape=(50, 4), meaning="boxes", kind="boxes", low=10.0, high=90.0)
    drawn = boxes.drawn({}, torch.Generator().manual_seed(0))
    assert (drawn[:, 2:] > drawn[:, :2]).all()
    assert 10 <= drawn.min() < 20 < 80 < drawn.max() <= 91
    assert boxes.described()["range"] == [10.0, 90.0]


def test_examples_are_a_function_of_the_seed():
    assert torch.equal(PART.example(3)[0], PART.example(3)[0])
    assert not torch.equal(PART.example(3)[0], PART.example(4)[0])


def test_sizes_are_fixed_as_far_as_they_can_be():
    fixed = PART.with_fixed_sizes()
    assert fixed.inputs["images"].shape == ("batch", 3, 16, 5)
    assert fixed.inputs["noise"].shape == (16, 400)
    assert list(fixed.sizes) == ["batch"]
    assert fixed.with_fixed_sizes() is None
    last = replace(PART, sizes={**SIZES, "batch": Size(2, (3, 1), fixed=4)}).with_fixed_sizes()
    assert list(last.sizes) == ["batch"]
    assert last.with_fixed_sizes().inputs["labels"].shape == (4,)
    assert [len(each[0]) for each in fixed.checks()] == [3, 1]


@pytest.mark.parametrize(
    ("name", "described"),
    [
        ("images", {"shape": ["batch", 3, "height", 5], "dtype": "float32", "range": [-1.0, 1.0]}),
        ("labels", {"shape": ["batch"], "dtype": "int64", "range": [2, 4]}),
        ("noise", {"shape": ["height", 400], "dtype": "float32", "range": ["-inf", "inf"]}),
    ],
)
def test_inputs_are_described_in_plain_values(name, described):
    assert PART.inputs[name].described() == {**described, "meaning": name}


def test_a_module_without_the_method_offers_nothing():
    assert not isinstance(nn.Linear(1, 1), HasExportable)
