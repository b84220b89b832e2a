import numpy as np
import pytest
from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.detection.object_folder import ObjectFolder
from visionscapes.errors import UserError


@pytest.fixture
def folder(tmp_path):
    """A red disc of class "cat", a green square without alpha of class "dog"."""
    for name in ("cat", "dog/more", "empty"):
        (tmp_path / "objects" / name).mkdir(parents=True)
    disc = np.zeros((40, 40, 4), np.uint8)
    rows, columns = np.mgrid[:40, :40]
    disc[..., 3] = 255 * ((rows - 19.5) ** 2 + (columns - 19.5) ** 2 < 18**2)
    disc[disc[..., 3] > 0, 0] = 200
    Image.fromarray(disc).save(tmp_path / "objects" / "cat" / "1.png")
    Image.new("RGB", (8, 8), (0, 150, 0)).save(tmp_path / "objects" / "dog" / "more" / "1.JPG")
    (tmp_path / "objects" / "dog" / "notes.txt").write_text("no picture")
    return tmp_path / "objects"


def draw(folder, name, size=(10, 20)):
    return ObjectFolder(str(folder)).draw(name, size, np.random.default_rng(0))


def test_alpha_says_where_an_object_is(folder):
    picture = draw(folder, "cat")
    assert picture.pixels.shape == (10, 20, 4)
    assert picture.pixels[5, 10].tolist() == [200, 0, 0, 255]
    assert picture.pixels[0, 0, 3] == 0
    edge = (picture.pixels[..., 3] > 60) & (picture.pixels[..., 3] < 255)
    assert edge.any()
    assert (picture.pixels[edge, 0] > 150).all(), "no black of what is transparent"
    assert picture.background[5, 10].tolist() == [200, 0, 0]
    assert picture.background[0, 0].tolist() == [255, 255, 255]
    assert picture.verdict is None


def test_a_picture_without_alpha_is_all_object(folder):
    picture = draw(folder, "dog")
    assert (picture.pixels[..., 3] == 255).all()
    assert picture.pixels[3, 3, :3].tolist() == pytest.approx([0, 150, 0], abs=2)
    assert np.array_equal(picture.pixels[..., :3], picture.background)


def test_every_picture_of_a_class_is_drawn(folder):
    for number in range(4):
        Image.new("RGB", (8, 8), (number * 60, 0, 0)).save(folder / "empty" / f"{number}.png")
    rng, objects = np.random.default_rng(0), ObjectFolder(str(folder))
    assert {int(objects.draw("empty", (2, 2), rng).pixels[0, 0, 0]) for _ in range(60)} == {0, 60, 120, 180}


def test_a_class_without_pictures_is_named(folder):
    for name in ("cow", "empty"):
        with pytest.raises(UserError, match=rf"has no pictures of '{name}' \(cat, dog\): put some into"):
            draw(folder, name)


def test_a_folder_that_is_not_there_or_empty_is_told(folder):
    for place in (folder / "none", folder / "empty"):
        with pytest.raises(DatasetNotFoundError, match="The folder of objects"):
            ObjectFolder(str(place))


def test_a_picture_that_cannot_be_read_is_named(folder):
    (folder / "empty" / "a.png").write_bytes(b"none")
    with pytest.raises(UserError, match=r"a\.png: its content is not an image"):
        draw(folder, "empty")


def test_names_of_classes_may_have_slashes(folder):
    assert draw(folder, "dog/more").background[0, 0].tolist() == pytest.approx([0, 150, 0], abs=2)
    with pytest.raises(UserError, match="has no pictures of 'dog/less'"):
        draw(folder, "dog/less")
