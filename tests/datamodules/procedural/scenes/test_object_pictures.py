from collections import Counter

import numpy as np
import pytest
import torch

from datamodules.procedural.scenes.object_pictures import SceneObjects
from networks.inpainting import PictureLayout
from networks.object_pasting import ObjectPasting
from visionscapes.errors import UserError


def draw(name="fish", size=(20, 30), seed=0, **options):
    return SceneObjects(**options).draw(name, size, np.random.default_rng(seed))


@pytest.mark.parametrize("size", [(20, 30), (64, 17), (3, 2), (1, 1)])
def test_an_object_fills_its_picture(size):
    picture = draw(size=size)
    assert picture.pixels.shape == (*size, 4)
    assert picture.background.shape == (*size, 3)
    assert np.array_equal(picture.pixels[..., :3], picture.background)
    alpha = picture.pixels[..., 3]
    assert set(np.unique(alpha)) <= {0, 255}
    assert alpha.any()
    if size == (20, 30):
        assert (alpha > 0).mean() > 0.3
        assert (alpha > 0).any(0).mean() > 0.7
        assert (alpha > 0).any(1).mean() > 0.7
    assert picture.verdict == "right"


def test_faults_are_as_often_as_asked_and_are_what_they_are_called():
    found = [draw(seed=seed, wrong_class=0.3, missing=0.2) for seed in range(300)]
    shares = {verdict: n / 300 for verdict, n in Counter(each.verdict for each in found).items()}
    assert shares == pytest.approx({"right": 0.5, "wrong class": 0.3, "missing": 0.2}, abs=0.1)
    assert all((each.pixels[..., 3].max() == 0) == (each.verdict == "missing") for each in found)


def test_pictures_are_functions_of_their_random_numbers():
    assert np.array_equal(draw(seed=3).pixels, draw(seed=3).pixels)
    assert not np.array_equal(draw(seed=3).pixels, draw(seed=4).pixels)


def test_truth_goes_with_what_is_pasted():
    pasting = ObjectPasting(SceneObjects(missing=1.0))
    picture = torch.full((3, 40, 40), 90, dtype=torch.uint8)
    layout = PictureLayout(picture, torch.tensor([[2.0, 3.0, 30.0, 20.0], [5.0, 5.0, 9.0, 9.0]]), ("fish", "tree"))
    made = pasting.inpaint(layout, 0)
    assert made.truth is not None
    assert made.truth.verdicts == ("missing", "missing")
    assert torch.equal(made.image, picture)


def test_what_cannot_be_drawn():
    with pytest.raises(UserError, match="no class 'cow'"):
        draw("cow")
    with pytest.raises(UserError, match="more than 1 together"):
        SceneObjects(wrong_class=0.6, missing=0.5)
    with pytest.raises(UserError, match=r"missing is 1\.5"):
        SceneObjects(missing=1.5)
