import pytest
import torch

from networks.detection.build import setup_mmdet
from networks.detection.mask_pasting import paste

setup_mmdet()
from mmdet.models.roi_heads.mask_heads import fcn_mask_head  # noqa: E402


def pasted(box):
    """The mask, all ones, of a box in a picture of 20x30 pixels."""
    masks, where = fcn_mask_head._do_paste_mask(torch.ones(1, 1, 4, 4), torch.tensor([box]), 20, 30)
    picture = torch.zeros(1, 20, 30)
    picture[(slice(None), *where)] = masks
    return picture[0]


@pytest.mark.parametrize("box", [[40.0, 5, 50, 9], [5.0, 30, 9, 40], [-20.0, 5, -10, 9], [5.0, -30, 9, -10]])
def test_a_box_beside_the_picture_has_no_mask(box):
    assert not pasted(box).any()
    original = fcn_mask_head._do_paste_mask.args[0]
    with pytest.raises(RuntimeError):  # else mmdet has been mended, and this module can go
        original(torch.ones(1, 1, 4, 4), torch.tensor([box]), 20, 30)


@pytest.mark.parametrize("box", [[4.0, 5, 12, 9], [-3.0, -2, 5, 6], [25.0, 15, 40, 30], [-5.0, -5, 50, 50]])
def test_other_boxes_are_pasted_by_mmdet(box):
    setup_mmdet()
    original = fcn_mask_head._do_paste_mask.args[0]
    args = (torch.rand(1, 1, 4, 4), torch.tensor([box]), 20, 30)
    ours, expected = paste(original, *args), original(*args)
    torch.testing.assert_close(ours[0], expected[0])
    assert ours[1] == expected[1]
    x1, y1, x2, y2 = (max(0, int(each)) for each in box)
    assert (pasted(box)[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2] > 0.5).all()
