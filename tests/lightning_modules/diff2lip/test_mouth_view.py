import pytest
import torch

from lightning_modules.diff2lip.mouth_view import MouthView
from networks.face_region import FaceRegion
from tests.lightning_modules.diff2lip.cases import face_landmarks
from visionscapes.errors import UserError

VIEW = MouthView(16, FaceRegion(left=0.25, top=0.5, right=0.75, bottom=1.0), "lower")


def test_what_is_pasted_is_the_masked_part_and_the_rest_stays_bit_by_bit():
    faces, patches = torch.rand(5, 3, 16, 16), torch.zeros(5, 3, 8, 8)
    mask = VIEW.masks(VIEW.signed(faces), None)
    assert mask.shape == (5, 1, 8, 8)
    pasted = VIEW.pasted(faces, patches, mask)
    made = torch.zeros(16, 16, dtype=torch.bool)
    made[12:, 4:12] = True
    assert (pasted[..., made] == 0.5).all()
    assert torch.equal(pasted[..., ~made], faces[..., ~made])


def test_networks_see_the_region_in_signed_units():
    assert VIEW.signed(torch.ones(1, 3, 16, 16)).shape == (1, 3, 8, 8)
    assert (VIEW.signed(torch.zeros(1, 3, 16, 16)) == -1).all()


def test_masks_of_windows_have_their_leading_dimensions():
    view = MouthView(16, FaceRegion(), "landmarks")
    landmarks = face_landmarks().expand(2, 3, 5, 68, 2)
    assert view.masks(torch.zeros(2, 3, 5, 3, 16, 16), landmarks).shape == (2, 3, 5, 1, 16, 16)
    with pytest.raises(UserError, match="the data have none"):
        view.masks(torch.zeros(2, 3, 16, 16), None)


def test_sizes_that_cannot_be_halved_are_refused():
    VIEW.check(8)
    with pytest.raises(UserError, match="8 x 8 pixels; the network takes multiples of 16"):
        VIEW.check(16)
    with pytest.raises(UserError, match="0 x 16"):
        MouthView(16, FaceRegion(left=0.5, right=0.51), "lower").check(1)


@pytest.mark.parametrize(
    "region", [FaceRegion(bottom=0.6), FaceRegion(left=0.6), FaceRegion(right=0.4), FaceRegion(top=0.9, left=0.2)]
)
def test_a_region_without_a_mouth_is_refused(region):
    with pytest.raises(UserError, match="has no mouth"):
        MouthView(100, region, "lower").check(1)
