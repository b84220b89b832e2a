import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.common.resizing import to_tensor
from datamodules.translation.pictures import condition_tensor, image_tensor, labels_tensor, window_of
from tests.helpers.image_files import pixels


def test_images_become_squares_in_the_unit_range():
    made = image_tensor(Image.new("RGB", (9, 5), (255, 0, 51)), 4)
    assert made.shape == (3, 4, 4)
    assert torch.allclose(made[:, 0, 0], torch.tensor([1.0, 0.0, 0.2]))


def test_a_condition_of_one_channel_is_the_luma():
    image = Image.new("RGB", (5, 5), (255, 0, 0))
    assert torch.allclose(condition_tensor(image, 4, 1), torch.full((1, 4, 4), 76 / 255))
    assert torch.equal(condition_tensor(image, 4, 3), image_tensor(image, 4))


def test_labels_are_not_mixed():
    labels = np.array([[0, 4], [2, 2]], np.uint8)
    made = labels_tensor(labels, 4)
    assert made.dtype == torch.uint8
    assert made[0].tolist() == [0, 0, 4, 4]


@pytest.mark.parametrize(
    ("width", "height", "window"),
    [(8, 8, (0, 0, 8, 8)), (16, 8, (0, 2, 8, 6)), (3, 5, (1, 0, 6, 8)), (1, 900, (3, 0, 4, 8))],
)
def test_where_a_picture_lies_that_keeps_its_aspect(width, height, window):
    assert window_of(width, height, 8, True) == window
    assert window_of(width, height, 8, False) == (0, 0, 8, 8)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("width", "height"), [(12, 5), (5, 12), (3, 1), (8, 8)])
def test_the_edges_of_a_picture_are_repeated_around_it(channels, width, height):
    picture = Image.fromarray(pixels(width, height))
    made = condition_tensor(picture, 8, channels, keep_aspect=True)
    assert made.shape == (channels, 8, 8)
    left, top, right, bottom = window_of(*picture.size, 8, True)
    resized = picture.resize((right - left, bottom - top), Image.Resampling.BICUBIC)
    inner = made[:, top:bottom, left:right]
    if channels == 3:
        assert torch.equal(inner, to_tensor(resized))
    rows = torch.arange(8).clamp(top, bottom - 1) - top
    columns = torch.arange(8).clamp(left, right - 1) - left
    assert torch.equal(made, inner[:, rows][:, :, columns])
