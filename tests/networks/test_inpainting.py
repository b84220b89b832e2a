import pytest

from networks.inpainting import picture_prompt


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
