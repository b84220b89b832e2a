import math

import torch

from lightning_modules.diff2lip.masks import below_the_nose, lower_half
from networks.face_region import FaceRegion
from tests.lightning_modules.diff2lip.cases import face_landmarks


def test_the_lower_half_begins_in_the_middle():
    assert lower_half((4, 2)).tolist() == [[[0, 0], [0, 0], [1, 1], [1, 1]]]
    assert lower_half((5, 1)).flatten().tolist() == [0, 0, 0, 1, 1]


def test_an_upright_face_has_a_level_line_below_the_nose():
    mask = below_the_nose(face_landmarks(20), FaceRegion(), 20)  # the nose ends at row 12
    assert mask.shape == (1, 20, 20)
    assert mask[0, :12].sum() == 0
    assert mask[0, 12:].mean() == 1


def test_the_line_turns_with_the_head():
    """With the right side of the head lower by 45 degrees the corner at the left bottom is below the nose."""
    mask = below_the_nose(face_landmarks(20, roll=math.pi / 4), FaceRegion(), 20)[0]
    assert (mask[19, 0], mask[0, 19]) == (1, 0)
    wanted = torch.tensor([[float(down + 0.5 - 12 >= across + 0.5 - 10) for across in range(20)] for down in range(20)])
    assert (mask - wanted).abs().mean() < 0.05  # but for pixels on the line


def test_in_a_region_it_is_what_the_whole_has_there():
    region, points = FaceRegion(left=0.1, top=0.3, right=0.8, bottom=1.0), face_landmarks(20, roll=0.3)
    points = torch.stack([points, points + 2])
    whole = below_the_nose(points, FaceRegion(), 20)
    assert torch.equal(below_the_nose(points, region, 20), region.of(whole))


def test_mouth_and_chin_do_not_move_it():
    points = face_landmarks(20, roll=0.2)
    open_wide = points.clone()
    open_wide[48:] += 5
    open_wide[:17] -= 3
    assert torch.equal(*(below_the_nose(each, FaceRegion(), 20) for each in (points, open_wide)))
