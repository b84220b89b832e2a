import math

import pytest
import torch

from networks.turning import reach, turned, turned_picture


def test_points_turn_clockwise_on_the_screen():
    points = torch.tensor([[[12.0, 20.0], [10.0, 20.0]], [[12.0, 20.0], [10.0, 23.0]]])
    about, angles = torch.tensor([[10.0, 20.0]] * 2), torch.tensor([math.pi / 2, math.pi])
    wanted = torch.tensor([[[10.0, 22.0], [10.0, 20.0]], [[8.0, 20.0], [10.0, 17.0]]])
    assert torch.allclose(turned(points, about, angles), wanted, atol=1e-5)
    assert torch.equal(turned(points, about, torch.zeros(2)), points)
    assert torch.allclose(turned(turned(points, about, angles), about, -angles), points, atol=1e-5)


def test_a_turned_rectangle_reaches_its_corners():
    assert reach(range(2, 8), range(10, 12), about=(5.25, 11.0), angle=math.pi / 2) == (range(4, 7), range(7, 14))
    diagonal = reach(range(0, 10), range(0, 10), about=(5.0, 5.0), angle=math.pi / 4)
    assert diagonal == (range(-3, 13), range(-3, 13)), "5 - 7.07 and 5 + 7.07"
    assert reach(range(2, 8), range(10, 12), about=(0.3, 0.7), angle=0.0) == (range(2, 8), range(10, 12))


@pytest.mark.parametrize("cubic", [False, True])
def test_without_an_angle_pixels_are_as_they_are_and_the_border_repeats(cubic):
    picture = torch.rand(3, 20, 30)
    same = turned_picture(picture, (5, 7), range(9, 30), range(10, 20), about=(3.3, 4.4), angle=0.0, cubic=cubic)
    assert torch.allclose(same, picture[:, 3:13, 4:25], atol=1e-4)
    beyond = turned_picture(picture, (5, 7), range(-9, -5), range(10, 20), about=(3.3, 4.4), angle=0.0, cubic=cubic)
    assert torch.allclose(beyond, picture[:, 3:13, :1].expand(3, 10, 4), atol=1e-4)


@pytest.mark.parametrize("cubic", [False, True])
def test_a_quarter_of_a_turn_turns_whole_pixels(cubic):
    """The pixels turn clockwise, so what they show turns the other way."""
    picture = torch.rand(1, 10, 10)
    quarter = turned_picture(picture, (0, 0), range(10), range(10), about=(5.0, 5.0), angle=math.pi / 2, cubic=cubic)
    assert torch.allclose(quarter[0], torch.rot90(picture[0], 1), atol=1e-4)


@pytest.mark.parametrize("cubic", [False, True])
def test_each_pixel_shows_what_is_at_its_turned_place(cubic):
    """Naive version, on a plane, of which straight pieces know every place; torch's cubic ones miss it by a little."""
    y, x = torch.meshgrid(torch.arange(40) + 50.5, torch.arange(60) + 20.5, indexing="ij")
    plane = (2 * x - 3 * y)[None]
    shown = turned_picture(plane, (20, 50), range(40, 61), range(60, 76), about=(47.0, 71.5), angle=0.4, cubic=cubic)
    for row in range(16):
        for column in range(21):
            dx, dy = 40.5 + column - 47.0, 60.5 + row - 71.5
            place_x = 47.0 + math.cos(0.4) * dx - math.sin(0.4) * dy
            place_y = 71.5 + math.sin(0.4) * dx + math.cos(0.4) * dy
            assert abs(shown[0, row, column] - (2 * place_x - 3 * place_y)) < (0.3 if cubic else 0.02)
