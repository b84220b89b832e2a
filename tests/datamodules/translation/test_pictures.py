import numpy as np
import torch
from PIL import Image

from datamodules.translation.pictures import condition_tensor, image_tensor, labels_tensor


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
