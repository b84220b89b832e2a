import json

import numpy as np
import torch

from networks.inpainting import PictureLayout
from networks.object_pasting import ObjectPasting, ObjectPicture, ObjectPictures

BOXES = torch.tensor([[2.0, 3.0, 12.0, 9.0], [10.0, 5.0, 30.0, 20.0]])


class Objects(ObjectPictures):
    """A red disc of class "cat" on white, a green square of class "dog"; what it shows is known on request."""

    def __init__(self, known: bool = False):
        self.known = known

    def draw(self, name, size, rng):
        height, width = size
        rows, columns = np.mgrid[:height, :width]
        disc = ((rows + 0.5) / height - 0.5) ** 2 + ((columns + 0.5) / width - 0.5) ** 2 < 0.25
        inside = disc if name == "cat" else np.ones(size, bool)
        colour = np.array([200, 0, 0] if name == "cat" else [0, 150, 0], np.uint8)
        background = np.where(inside[..., None], colour, 255).astype(np.uint8)
        pixels = np.dstack([background, (255 * inside).astype(np.uint8)])
        return ObjectPicture(pixels, background, "right" if self.known else None)


def layout(*names, boxes=BOXES):
    picture = torch.full((3, 24, 32), 90, dtype=torch.uint8)
    return PictureLayout(picture, boxes[: len(names)], names)


def test_objects_are_cut_out_or_pasted_whole():
    cut = ObjectPasting(Objects()).inpaint(layout("cat"), 0).image
    whole = ObjectPasting(Objects(), cut_out=False).inpaint(layout("cat"), 0).image
    for image in (cut, whole):
        assert image[:, 6, 7].tolist() == [200, 0, 0]
        outside = torch.ones(24, 32, dtype=torch.bool)
        outside[3:9, 2:12] = False
        assert (image[:, outside] == 90).all()
    assert cut[:, 3, 2].tolist() == [90, 90, 90]
    assert whole[0, 3, 2] > 150


def test_the_largest_is_pasted_first():
    image = ObjectPasting(Objects(), cut_out=False).inpaint(layout("cat", "dog"), 0).image
    assert image[0, 6, 11] > 150  # of the cat, which is smaller, where the dog is too
    assert image[:, 15, 20].tolist() == [0, 150, 0]


def test_all_objects_are_new_and_nothing_is_known_of_them():
    made = ObjectPasting(Objects()).inpaint(layout("cat", "dog"), 3)
    assert made.repainted.all()
    assert made.truth is None
    known = ObjectPasting(Objects(known=True)).inpaint(layout("cat", "dog"), 3).truth
    assert known is not None
    assert known.verdicts == ("right", "right")
    assert made.image.dtype == torch.uint8
    again = ObjectPasting(Objects()).inpaint(layout("cat", "dog"), 3)
    assert torch.equal(made.image, again.image)


def test_boxes_at_the_border_and_of_less_than_a_pixel():
    boxes = torch.tensor([[25.0, 20.0, 32.0, 24.0], [4.2, 4.2, 4.4, 4.4], [0.0, 0.0, 32.0, 24.0]])
    made = ObjectPasting(Objects()).inpaint(layout("dog", "dog", "dog", boxes=boxes), 0)
    assert made.image.shape == (3, 24, 32)
    assert made.image[1].float().mean() > 140


def test_options_say_how_a_picture_was_made():
    options = ObjectPasting(Objects(), cut_out=False).options
    assert options == {
        "objects": {"class": f"{Objects.__module__}.Objects", "options": {"known": False}},
        "cut_out": False,
    }
    assert json.loads(json.dumps(options)) == options


def test_boxes_are_not_ignored():
    assert not ObjectPasting(Objects()).ignores_boxes(layout("cat"), 0)
