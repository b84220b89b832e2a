import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.sources.given import GivenSources
from datamodules.sources.pictures import PictureFiles, PicturesToPredict
from datamodules.sources.world import SourceWorld
from tests.helpers.image_files import save_photo
from visionscapes.errors import UserError


@pytest.mark.parametrize("size", [(50, 30), (16, 16), (7, 90)])
def test_an_image_is_prepared_as_its_file_is_for_predict(size, tmp_path):
    path = save_photo(tmp_path / "a.png", *size)
    expected = PicturesToPredict(PictureFiles([path], 16))[0]["image"]
    for given in (path, Image.open(path), np.asarray(Image.open(path))):
        (batch,) = GivenSources(16).ask(given).batches(1)
        assert torch.equal(batch["image"], expected[None])


def test_data_say_how_they_prepare():
    assert SourceWorld(image_size=32).inputs == GivenSources(32)


def test_sizes_are_checked():
    with pytest.raises(UserError, match=r"GivenSources\.image_size"):
        GivenSources(0)
