import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2.functional import resize

from networks.generated import Generated, Generates, at_size, frames_of, in_size_of, repeated, to_unit_range


def test_frames_of_a_video_are_its_images_one_after_the_other():
    video = torch.randn(2, 3, 3, 4, 5)
    generated = Generated(video, {"residual": 2 * video})
    assert generated.times == 3
    frames = generated.frames()
    assert frames.times is None
    for clip in range(2):
        for time in range(3):
            assert frames.image[3 * clip + time].equal(video[clip, time])
            assert frames.parts["residual"][3 * clip + time].equal(2 * video[clip, time])


def test_images_are_their_own_frames():
    images = torch.randn(2, 3, 4, 5)
    assert Generated(images, {}).times is None
    assert Generated(images, {}).frames().image is images
    assert frames_of(images) is images


def test_colours_that_are_shown():
    assert to_unit_range(torch.tensor([-2.0, -1.0, 0.0, 1.0, 3.0])).tolist() == [0, 0, 0.5, 1, 1]


def test_what_generates():
    class Module:
        def generate(self, batch, noise=None):
            return Generated(batch["image"], {})

    assert isinstance(Module(), Generates)
    assert not isinstance(torch.nn.Identity(), Generates)


def test_a_sample_is_repeated_and_the_rest_stays():
    batch = {"task": "translation", "name": ["a", "b"], "image": torch.rand(2, 3, 4, 4), "scale": torch.tensor(2.0)}
    again = repeated(batch, 1, 3)
    assert again["name"] == ["b"] * 3
    assert all(torch.equal(image, batch["image"][1]) for image in again["image"])
    assert len(again["image"]) == 3
    assert again["task"] == "translation"
    assert again["scale"] == 2


@pytest.mark.parametrize("size", [(5, 31), (8, 8), (1, 3), (40, 8)])
def test_a_window_gets_the_size_of_a_picture(size):
    image = torch.randn(3, 16, 16, generator=torch.Generator().manual_seed(0))
    made = at_size(image, size, (4, 2, 12, 10))
    assert torch.equal(made, resize(image[:, 2:10, 4:12], list(size), InterpolationMode.BICUBIC, antialias=True))
    assert torch.allclose(at_size(torch.full((1, 16, 16), 1.5), size, (0, 0, 16, 16)), torch.full((1, *size), 1.5))
    labels = torch.randint(0, 5, (1, 16, 16)).float()
    assert set(at_size(labels, size, (0, 0, 16, 16), smooth=False).unique().tolist()) <= set(range(5))


def test_sizes_are_those_of_the_batch_if_it_has_some():
    image = torch.rand(3, 4, 4)
    batch = {"size": torch.tensor([[4, 4], [3, 7]]), "window": torch.tensor([[0, 0, 4, 4]] * 2)}
    assert torch.equal(in_size_of({}, 1, image), image)
    assert torch.equal(in_size_of(batch, 0, image), image)
    assert in_size_of(batch, 1, image).shape == (3, 3, 7)
