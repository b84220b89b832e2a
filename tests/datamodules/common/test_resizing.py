import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms

from datamodules.common.resizing import (
    centre_square,
    centre_square_tensor,
    letterbox,
    shorter_side_to,
    squash,
    squash_boxes,
    to_tensor,
)
from tests.helpers.image_files import pixels

sides = st.integers(1, 90)


def test_letterbox_by_hand():
    # 80 x 50 to 56: scale 0.7, 56 x 35, 21 rows left over of which 10 go above.
    white = Image.new("RGB", (80, 50), "white")
    canvas, placement = letterbox(white, 56)
    assert placement == (0.7, 0, 10)
    mapped = placement.points(torch.tensor([[0.0, 0.0], [79.0, 49.0]]))
    assert torch.allclose(mapped, torch.tensor([[0.0, 10.0], [55.3, 44.3]]))
    rows = to_tensor(canvas)[0].mean(1)
    assert rows.tolist() == [0.0] * 10 + [1.0] * 35 + [0.0] * 11


def test_letterbox_of_a_tall_image_has_its_bars_at_the_sides():
    canvas, placement = letterbox(Image.new("RGB", (40, 64), "white"), 32)
    assert placement == (0.5, 6, 0)
    assert to_tensor(canvas)[0].mean(0).tolist() == [0.0] * 6 + [1.0] * 20 + [0.0] * 6


@given(sides, sides, sides)
def test_letterbox_is_square_and_keeps_points_inside(width, height, size):
    canvas, placement = letterbox(Image.new("RGB", (width, height)), size)
    assert canvas.size == (size, size)
    corners = placement.points(torch.tensor([[0.0, 0.0], [width - 1.0, height - 1.0]]))
    assert corners.min() >= 0
    assert corners.max() < size


def test_a_marked_pixel_and_its_keypoint_stay_together():
    pixels = np.zeros((30, 20, 3), np.uint8)
    pixels[24, 5] = 255
    canvas, placement = letterbox(Image.fromarray(pixels), 120)  # 4 x larger: a pixel becomes a spot of 4 x 4
    x, y = placement.points(torch.tensor([5.5, 24.5])).tolist()
    spot = to_tensor(canvas)[0]
    row, column = divmod(int(spot.argmax()), 120)
    assert abs(column - x) <= 1
    assert abs(row - y) <= 1


def test_squash_scales_boxes_by_a_factor_for_each_axis():
    image = Image.new("RGB", (50, 40))
    assert squash(image, 100).size == (100, 100)
    boxes = squash_boxes(torch.tensor([[0.0, 0.0, 50.0, 40.0], [10.0, 10.0, 20.0, 30.0]]), *image.size, 100)
    assert boxes.tolist() == [[0, 0, 100, 100], [20, 25, 40, 75]]
    assert squash_boxes(torch.zeros(0, 4), *image.size, 100).shape == (0, 4)


@pytest.mark.parametrize(
    ("size", "multiple", "expected"),
    [
        ((854, 480), 64, (832, 480)),
        ((480, 854), 64, (480, 832)),
        ((854, 480), 1, (854, 480)),
        ((50, 50), 64, (480, 480)),
    ],
)
def test_shorter_side(size, multiple, expected):
    assert shorter_side_to(Image.new("RGB", size), 480, multiple).size == expected


def test_to_tensor_keeps_channels_rows_and_range():
    pixels = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    pixels[1, 2, 0] = 255
    tensor = to_tensor(Image.fromarray(pixels))
    assert tensor.shape == (3, 2, 3)
    assert tensor.dtype == torch.float32
    assert tensor[0, 1, 2] == 1
    assert tensor[2, 0, 1] == pytest.approx(5 / 255)


@given(sides, sides, st.integers(1, 40))
def test_centre_square_equals_torchvision(width, height, size):
    image = Image.fromarray(pixels(height, width))
    steps = [transforms.Resize(size, transforms.InterpolationMode.BICUBIC), transforms.CenterCrop(size)]
    official = transforms.Compose([*steps, transforms.ToTensor()])
    assert torch.equal(centre_square_tensor(image, size), official(image))


def test_centre_square_keeps_the_mode():
    assert centre_square(Image.new("F", (40, 30)), 8, Image.Resampling.BILINEAR).mode == "F"
