import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.detection.given import GivenScenes
from datamodules.detection.prediction import PicturesToDetect
from datamodules.detection.scenes import DetectionScenes
from datamodules.detection.second_view import SecondView
from tests.helpers.image_files import save_photo
from visionscapes.errors import UserError


@pytest.mark.parametrize("view", [None, SecondView(contrast=[0.9, 1.1])])
def test_a_picture_is_prepared_as_its_file_is_for_predict(view, tmp_path):
    path = save_photo(tmp_path / "a.png", 50, 30)
    expected = PicturesToDetect([path], 16, 40, second_view=view, seed=3)[0]
    options = None if view is None else vars(view)
    for given in (path, Image.open(path), np.asarray(Image.open(path))):
        (batch,) = GivenScenes(16, 40, second_view=options, seed=3).ask(given).batches(1)
        assert torch.equal(batch["image"][0], expected["image"])
        assert torch.equal(batch["size"][0], expected["size"])
        assert ("second_view" in batch) == (view is not None)
        assert view is None or torch.equal(batch["second_view"][0], expected["second_view"])


def test_data_say_how_they_prepare():
    data = DetectionScenes(image_size=64, second_view=SecondView(at_test="clean"), seed=5)
    found = data.inputs
    assert (found.size, found.longest, found.seed) == (data.test_size, data.longest, 5)
    assert found.classes == list(data.classes)
    assert SecondView(**found.second_view).at_test == "clean"
    assert GivenScenes(**found.options()) == found


def test_sizes_are_checked():
    with pytest.raises(UserError, match=r"GivenScenes\.size"):
        GivenScenes(1)
