import numpy as np
import pytest
from PIL import Image

from datamodules.common.image_files import UnreadableImageError
from datamodules.common.inspection.contents import HasContents, PartContents, opened, picture_files
from datamodules.images.image_folder import ImageFolder
from tests.helpers.image_files import save_photo
from tests.helpers.tiny import TinyData


def test_copies_have_one_digest_whatever_their_file_format(tmp_path):
    paths = [save_photo(tmp_path / "a.png"), save_photo(tmp_path / "b.bmp"), save_photo(tmp_path / "c.png", seed=1)]
    part = picture_files(paths, labels=[0, 1, -1], classes=["cat", "dog"])
    digests = [part.open(position).digest for position in range(3)]
    assert digests[0] == digests[1] != digests[2]
    assert part.open(0).size == (40, 30)
    assert part.names == [str(path) for path in paths]
    assert part.labels.tolist() == [0, 1, -1]


def test_pictures_of_one_shape_turned_are_not_the_same():
    wide, high = Image.new("RGB", (4, 2)), Image.new("RGB", (2, 4))
    assert opened(wide).digest != opened(high).digest


def test_a_single_colour_is_told():
    assert opened(Image.new("RGB", (3, 3), "red")).plain
    spotted = np.zeros((3, 3, 3), np.uint8)
    spotted[1, 1, 2] = 1
    assert not opened(Image.fromarray(spotted)).plain


def test_what_cannot_be_opened_says_why(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"")
    with pytest.raises(UnreadableImageError, match=r"x\.jpg: the file is empty"):
        picture_files([tmp_path / "x.jpg"]).open(0)


def test_who_tells_of_its_contents_is_known_by_the_method():
    assert isinstance(ImageFolder("nowhere"), HasContents)
    assert not isinstance(TinyData(), HasContents)
    assert PartContents([], open=lambda position: None).labels is None
