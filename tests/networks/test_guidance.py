import pytest
import torch

from networks.guidance import Guidance, pushed
from visionscapes.errors import UserError


def objective(losses, distance=0.0, **options):
    image = torch.zeros(3, 4)
    return Guidance(**options).objective(torch.tensor(losses), image, image + distance).item()


def test_the_mean_loss_is_raised_up_to_a_ceiling():
    assert objective([0.2, 1.0], ceiling=None) == pytest.approx(0.6)
    assert objective([0.2, 1.0], ceiling=0.5) == pytest.approx(0.35)


def test_objects_above_the_ceiling_are_not_made_harder():
    losses, image = torch.tensor([0.2, 2.0], requires_grad=True), torch.zeros(3, 4)
    Guidance(ceiling=1.5).objective(losses, image, image).backward()
    assert losses.grad.tolist() == [0.5, 0.0]


def test_distance_from_the_unguided_picture_is_drawn_down():
    assert objective([1.0], distance=0.5, near=4.0) == pytest.approx(1 - 4 * 0.25)
    assert objective([1.0], distance=0.5, near=0.0) == pytest.approx(1)


def test_steps_are_a_share_of_the_picture_along_the_gradient():
    noised, gradient = torch.tensor([3.0, 4.0]), torch.tensor([0.0, -7.0])
    assert torch.allclose(pushed(noised, gradient, 0.1), torch.tensor([3.0, 3.5]))
    assert torch.equal(pushed(noised, torch.zeros(2), 0.1), noised)
    assert torch.equal(pushed(noised, gradient, 0.0), noised)


@pytest.mark.parametrize("wrong", [{"scale": -0.1}, {"every": 0}, {"ceiling": 0.0}, {"near": -1.0}])
def test_bounds(wrong):
    with pytest.raises(UserError, match=rf"Guidance\.{next(iter(wrong))}"):
        Guidance(**wrong)
