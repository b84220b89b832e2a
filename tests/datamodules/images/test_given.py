import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.dense.scene_world import SceneWorld
from datamodules.images.given import GivenPhotographs, GivenSquares
from datamodules.images.image_folder import FilesToPredict, ImageFolder
from tests.helpers.image_files import save_photo
from visionscapes.errors import UserError


@pytest.mark.parametrize("longer_side", [None, 24, 100])
def test_a_photograph_is_prepared_as_its_file_is_for_predict(longer_side, tmp_path):
    path = save_photo(tmp_path / "a.png", 50, 30)
    of_file = FilesToPredict.collate([FilesToPredict([path], longer_side)[0]])
    (batch,) = GivenPhotographs(longer_side).ask(path).batches(1)
    assert torch.equal(batch["image"], of_file["image"])
    assert batch["task"] == of_file["task"]


def test_the_shorter_side_may_be_given_instead():
    (batch,) = GivenPhotographs(shorter_side=16).ask(Image.new("RGB", (20, 40))).batches(1)
    assert batch["image"].shape == (1, 3, 32, 16)


def test_squares_are_the_middle():
    pixels = np.zeros((8, 24, 3), np.uint8)
    pixels[:, 8:16] = 255
    (batch,) = GivenSquares(8).ask(pixels).batches(1)
    assert batch["image"].shape == (1, 3, 8, 8)
    assert batch["image"].min() > 0.99


def test_data_say_how_they_prepare(tmp_path):
    assert ImageFolder(str(tmp_path), predict_size=96).inputs == GivenPhotographs(96)
    assert SceneWorld(predict_size=96).inputs == GivenPhotographs(96)


def test_sizes_are_checked():
    with pytest.raises(UserError, match=r"GivenPhotographs\.longer_side"):
        GivenPhotographs(0)
    with pytest.raises(UserError, match=r"GivenSquares\.image_size"):
        GivenSquares(0)
