import numpy as np
import torch
from PIL import Image

from datamodules.common.inspection.examples import example_pictures, sheet


def test_pictures_are_as_the_batch_has_them():
    images = torch.zeros(3, 3, 10, 20)
    images[1, 0] = 1
    pictures = example_pictures({"image": images}, 2, side=40)
    assert [picture.size for picture in pictures] == [(40, 20)] * 2
    assert pictures[0].getpixel((5, 5)) == (0, 0, 0)
    assert pictures[1].getpixel((5, 5)) == (255, 0, 0)
    assert example_pictures({"image": [(images[1] * 255).byte()]}, 9, side=40)[0].getpixel((5, 5)) == (255, 0, 0)


def test_boxes_lie_where_they_belong():
    batch = {"image": [torch.zeros(3, 20, 40, dtype=torch.uint8)], "boxes": [torch.tensor([[10.0, 5, 20, 15]])]}
    (picture,) = example_pictures(batch | {"labels": [torch.tensor([0])]}, 1, side=80)
    inked = np.argwhere(np.asarray(picture).any(2))
    assert inked.min(0).tolist() == [10, 20]
    assert inked.max(0).tolist() == [29, 39]


def test_label_maps_conditions_and_styles_stand_beside_their_image():
    batch = {"image": torch.ones(1, 3, 8, 8), "labels": torch.arange(64).reshape(1, 8, 8)}
    (picture,) = example_pictures(batch, 1, side=16)
    assert picture.size == (32, 16)
    colours = {picture.getpixel((16 + 2 * x, 2 * y)) for x in range(8) for y in range(8)}
    assert len(colours) > 60, "every label has a colour of its own"
    batch = {"image": torch.ones(1, 3, 8, 8), "condition": torch.zeros(1, 1, 8, 8), "style": torch.rand(1, 3, 8, 8)}
    assert example_pictures(batch, 1, side=16)[0].size == (48, 16)


def test_of_clips_some_frames_are_shown():
    faces = torch.zeros(2, 3, 5, 3, 16, 16)
    assert len(example_pictures({"faces": faces, "boxes": torch.zeros(2, 5, 4)}, 99)) == 8


def test_what_shows_nothing_gives_no_picture():
    for batch in ({"mel": torch.zeros(2, 80, 16)}, {}, None, torch.zeros(2), {"image": torch.zeros(0, 3, 8, 8)}):
        assert example_pictures(batch, 5) == []


def test_a_sheet_breaks_its_rows():
    pictures = [Image.new("RGB", (40, 10 + k), "red") for k in range(5)]
    canvas = sheet(pictures, width=100, gap=4)
    assert canvas.size == (84, 11 + 13 + 14 + 8)
    assert sum(pixel == (255, 0, 0) for pixel in canvas.get_flattened_data()) == sum(40 * (10 + k) for k in range(5))
