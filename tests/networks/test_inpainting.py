import pytest

from datamodules.procedural.scenes.repainting import SceneInpainter
from networks.guidance import Guide
from networks.inpainting import picture_prompt
from visionscapes.errors import UserError


@pytest.mark.parametrize(
    ("names", "prompt"),
    [
        (["dog"], "a dog"),
        (["dog", "dog"], "a dog and a dog"),
        (["dog", "cat", "dog"], "a dog, a cat and a dog"),
        ([], ""),
    ],
)
def test_every_instance_is_named(names, prompt):
    assert picture_prompt(names) == prompt


def test_inpainters_that_cannot_be_guided_say_so():
    class Anything(Guide):
        def forward(self, image, boxes, names):
            return image.new_zeros(len(boxes))

    with pytest.raises(UserError, match="SceneInpainter cannot be guided"):
        SceneInpainter().guided_by(Anything())
