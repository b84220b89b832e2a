from dataclasses import dataclass

import pytest
import torch
from PIL import Image

from datamodules.common.given import Asked, GivenPictures, grouped
from tests.helpers.image_files import pixels as noise
from visionscapes.errors import UserError


@dataclass(frozen=True)
class Plain(GivenPictures):
    upright: bool = True

    def sample(self, image):
        return {"image": torch.zeros(3, image.height, image.width)}

    def batch(self, samples):
        return {"image": torch.stack([each["image"] for each in samples])}


def sizes(*images, most):
    samples = [{"image": torch.zeros(3, size, size)} for size in images]
    batches = grouped(samples, most, lambda group: {"images": [each["image"].shape[1] for each in group]})
    return [batch["images"] for batch in batches]


def test_batches_hold_one_size_and_no_more_than_asked_for():
    assert sizes(4, 4, 4, 8, 4, 8, 8, most=2) == [[4, 4], [4], [8], [4], [8, 8]]
    assert sizes(4, 4, 4, most=1) == [[4], [4], [4]]
    assert sizes(most=3) == []


def test_a_batch_of_none_is_refused():
    with pytest.raises(UserError, match="batch_size is 0"):
        sizes(4, most=0)


def test_one_picture_is_one_result_and_a_list_is_a_list():
    image = Image.fromarray(noise(4, 4))
    one, many = Plain().ask(image), Plain().ask([image])
    assert (one.many, many.many) == (False, True)
    assert one.result(["a"]) == "a"
    assert many.result(["a"]) == ["a"]
    assert [batch["image"].shape for batch in Plain().ask([image] * 3).batches(2)] == [(2, 3, 4, 4), (1, 3, 4, 4)]


def test_answers_may_be_joined():
    assert Asked(lambda most: iter([]), False, lambda answers: ["".join(answers)]).result(["a", "b"]) == "ab"


def test_options_make_another_one():
    assert Plain(**Plain(upright=False).options()) == Plain(upright=False)
