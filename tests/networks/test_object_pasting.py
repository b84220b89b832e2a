import json

import numpy as np
import pytest
import torch
from PIL import Image

from networks.inpainting import PictureLayout
from networks.object_pasting import ObjectFolder, ObjectPasting
from visionscapes.errors import UserError

BOXES = torch.tensor([[2.0, 3.0, 12.0, 9.0], [10.0, 5.0, 30.0, 20.0]])


@pytest.fixture
def folder(tmp_path):
    """A red disc of class "cat", a green square without alpha of class "dog"."""
    for name in ("cat", "dog", "empty"):
        (tmp_path / "objects" / name).mkdir(parents=True)
    disc = np.zeros((40, 40, 4), np.uint8)
    rows, columns = np.mgrid[:40, :40]
    disc[..., 0] = 200
    disc[..., 3] = 255 * ((rows - 19.5) ** 2 + (columns - 19.5) ** 2 < 18**2)
    Image.fromarray(disc).save(tmp_path / "objects" / "cat" / "1.png")
    Image.new("RGB", (8, 8), (0, 150, 0)).save(tmp_path / "objects" / "dog" / "1.JPG")
    (tmp_path / "objects" / "dog" / "notes.txt").write_text("no picture")
    return str(tmp_path / "objects")


def layout(*names, boxes=BOXES):
    picture = torch.full((3, 24, 32), 90, dtype=torch.uint8)
    return PictureLayout(picture, boxes[: len(names)], names)


def test_objects_are_cut_out_or_pasted_whole(folder):
    cut = ObjectPasting(ObjectFolder(folder)).inpaint(layout("cat"), 0).image
    whole = ObjectPasting(ObjectFolder(folder), cut_out=False).inpaint(layout("cat"), 0).image
    for image in (cut, whole):
        assert image[:, 6, 7].tolist() == pytest.approx([200, 0, 0], abs=3)
        outside = torch.ones(24, 32, dtype=torch.bool)
        outside[3:9, 2:12] = False
        assert (image[:, outside] == 90).all()
    assert cut[:, 3, 2].tolist() == [90, 90, 90]
    assert whole[0, 3, 2] > 150


def test_the_largest_is_pasted_first(folder):
    image = ObjectPasting(ObjectFolder(folder), cut_out=False).inpaint(layout("cat", "dog"), 0).image
    assert image[0, 6, 11] > 150  # of the cat, which is smaller, where the dog is too
    assert image[:, 15, 20].tolist() == pytest.approx([0, 150, 0], abs=2)


def test_all_objects_are_new_and_nothing_is_known_of_them(folder):
    made = ObjectPasting(ObjectFolder(folder)).inpaint(layout("cat", "dog"), 3)
    assert made.repainted.all()
    assert made.truth is None
    assert made.image.dtype == torch.uint8
    again = ObjectPasting(ObjectFolder(folder)).inpaint(layout("cat", "dog"), 3)
    assert torch.equal(made.image, again.image)


def test_boxes_at_the_border_and_of_less_than_a_pixel(folder):
    boxes = torch.tensor([[25.0, 20.0, 32.0, 24.0], [4.2, 4.2, 4.4, 4.4], [0.0, 0.0, 32.0, 24.0]])
    made = ObjectPasting(ObjectFolder(folder)).inpaint(layout("dog", "dog", "dog", boxes=boxes), 0)
    assert made.image.shape == (3, 24, 32)
    assert made.image[1].float().mean() > 140


def test_a_class_without_pictures_is_named(folder):
    for name in ("cow", "empty"):
        with pytest.raises(UserError, match=rf"has no pictures of '{name}' \(cat, dog\): put some into"):
            ObjectPasting(ObjectFolder(folder)).inpaint(layout(name), 0)
    with pytest.raises(UserError, match="is no folder"):
        ObjectFolder(folder + "/none")


def test_a_picture_that_cannot_be_read_is_named(folder):
    with open(f"{folder}/empty/a.png", "wb") as file:
        file.write(b"none")
    with pytest.raises(UserError, match=r"a\.png cannot be read"):
        ObjectFolder(folder).draw("empty", (4, 4), np.random.default_rng(0))


def test_options_say_how_a_picture_was_made(folder):
    options = ObjectPasting(ObjectFolder(folder), cut_out=False).options
    assert options == {
        "objects": {"class": "networks.object_pasting.ObjectFolder", "options": {"folder": folder}},
        "cut_out": False,
    }
    assert json.loads(json.dumps(options)) == options


def test_boxes_are_not_ignored(folder):
    assert not ObjectPasting(ObjectFolder(folder)).ignores_boxes(layout("cat"), 0)
