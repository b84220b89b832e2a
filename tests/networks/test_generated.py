import torch

from networks.generated import Generated, Generates, frames_of, to_unit_range


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
