import math

import pytest
import torch
from torch.nn import functional as F

from datamodules.clips.clip import crop
from networks.face_region import FaceRegion
from networks.pasting import feathered, paste, resampling
from networks.turning import turned


def lower_half(side=16):
    mask = torch.zeros(1, side, side)
    mask[:, side // 2 :] = 1
    return mask


def frame_of(height=90, width=120, seed=0):
    return torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def pasted(frame, patch, mask, box, **options):
    new = frame.clone()
    paste(new, patch, mask, torch.tensor(box), **options)
    return new


def test_only_the_mask_changes_and_its_middle_becomes_the_patch():
    frame, patch = frame_of(), torch.full((3, 16, 16), 1.0)
    new = pasted(frame, patch, lower_half(), [20.0, 10.0, 84.0, 74.0])
    changed = (new != frame).any(2)
    assert not changed[:42].any(), "rows 10 to 41 are the upper half of the box"
    assert not changed[74:].any()
    assert not changed[:, :20].any()
    assert not changed[:, 84:].any()
    assert (new[52:64, 40:64] == 255).all()


def test_the_edge_is_soft():
    """Across each edge the paste rises steadily, from the frame to the patch, over more than a pixel or two."""
    frame = torch.zeros(90, 120, 3, dtype=torch.uint8)
    new = pasted(frame, torch.ones(3, 16, 16), lower_half(), [20.0, 10.0, 84.0, 74.0], feather=0.2)[..., 0].int()
    for line in (new[40:58, 52], new[58, 20:52], new[58, 52:84].flip(0), new[58:75, 52].flip(0)):
        assert (line.diff() >= 0).all()
        assert line[0] <= 20
        assert line.max() == 255
        assert line.diff().max() < 60, "no step"


@pytest.mark.parametrize("box", [[20.0, 10.0, 36.0, 26.0], [-8.0, 70.0, 8.0, 86.0], [110.0, 80.0, 126.0, 96.0]])
def test_a_patch_at_its_own_size_is_placed_pixel_by_pixel_and_cut_at_the_border(box):
    """Naive version: blend each pixel that both have."""
    frame = frame_of()
    patch = torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    new = pasted(frame, patch, lower_half(), box, fade=0.75)
    weights = 0.75 * feathered(lower_half(), 0.1)[0]
    for row in range(16):
        for column in range(16):
            y, x = int(box[1]) + row, int(box[0]) + column
            if 0 <= y < 90 and 0 <= x < 120:
                old = frame[y, x].float()
                wanted = old + weights[row, column] * ((patch[:, row, column] + 1) * 127.5 - old)
                assert (new[y, x].float() - wanted).abs().max() < 0.51
                frame[y, x] = new[y, x]
    assert torch.equal(new, frame), "nothing else has changed"


def test_a_smooth_patch_keeps_its_place_when_it_is_enlarged_by_a_fraction():
    """A ramp over the patch is the same ramp over the box."""
    ramp = ((torch.arange(16) + 0.5) / 16 * 2 - 1).expand(3, 16, 16)
    new = pasted(frame_of(), ramp, torch.ones(1, 16, 16), [20.3, 10.6, 95.8, 80.1])
    columns = torch.arange(35, 80)
    wanted = (columns + 0.5 - 20.3) / 75.5 * 255
    assert (new[45, 35:80, 0].float() - wanted).abs().max() < 1.5


def test_a_patch_that_is_made_smaller_is_antialiased():
    stripes = torch.ones(3, 64, 64)
    stripes[..., ::2] = -1
    new = pasted(frame_of(), stripes, torch.ones(1, 64, 64), [20.0, 20.0, 36.0, 36.0])
    assert (new[24:32, 24:32].float() - 127.5).abs().max() < 25, "grey, not some of the stripes"


def test_without_weight_or_beside_the_frame_nothing_changes():
    frame, patch = frame_of(), torch.ones(3, 16, 16)
    assert torch.equal(pasted(frame, patch, lower_half(), [20.0, 10.0, 84.0, 74.0], fade=0.0), frame)
    assert torch.equal(pasted(frame, patch, 0 * lower_half(), [20.0, 10.0, 84.0, 74.0]), frame)
    assert torch.equal(pasted(frame, patch, lower_half(), [-90.0, 10.0, -10.0, 74.0]), frame)


def test_what_is_beyond_the_colours_is_clamped():
    new = pasted(frame_of(), torch.full((3, 16, 16), 7.0), torch.ones(1, 16, 16), [20.0, 20.0, 52.0, 52.0])
    assert (new[30:42, 30:42] == 255).all()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_patch_on_a_gpu_is_pasted_alike():
    frame, patch = frame_of(), torch.rand(3, 16, 16) * 2 - 1
    box = [20.3, 10.6, 95.8, 80.1]
    here, there = pasted(frame, patch, lower_half(), box), pasted(frame, patch.cuda(), lower_half().cuda(), box)
    assert (here.int() - there.int()).abs().max() <= 1


def test_a_feathered_mask_rises_from_its_edge_to_one_and_never_leaves_the_mask():
    mask = lower_half(40)
    soft = feathered(mask, 0.1)[0]
    assert soft[:21].max() == 0
    assert soft[-1].max() == soft[:, 0].max() == soft[:, -1].max() == 0
    assert (soft[25:35, 6:34] == 1).all()
    assert (soft[20:26, 20].diff() > 0).sum() >= 3
    turned = (torch.arange(40)[:, None] + torch.arange(40) / 3 > 30).float()[None]
    soft = feathered(turned, 0.1)
    assert (soft[turned == 0] == 0).all()
    inner = -F.max_pool2d(-F.pad(turned, [9] * 4), 19, 1) > 0
    assert (soft[inner] == 1).all()


@pytest.mark.parametrize(("size", "start", "end"), [(8, 0.0, 8.0), (8, 3.3, 21.9), (40, 3.3, 21.9)])
@pytest.mark.parametrize("cubic", [False, True])
def test_a_line_is_stretched_without_a_shift(size, start, end, cubic):
    """Weights sum to one, and a straight line stays one; at its own size it is the same."""
    weights = resampling(range(4, 20), start, end, size, cubic=cubic)
    inner = weights[:, 4:12] if size == 8 and end == 8 else weights[:, 4:13]
    line = (torch.arange(size) + 0.5) * (end - start) / size + start
    if end == 8:
        assert torch.equal(resampling(range(8), start, end, size, cubic=cubic), torch.eye(8).double())
        return
    assert torch.allclose(inner.sum(0), torch.ones(9).double())
    assert torch.allclose(line.double() @ inner, torch.arange(8, 17).double() + 0.5, atol=0.05)


def test_a_line_ends_in_itself_or_in_nothing():
    cubic, straight = (resampling(range(-6, 12), 0.0, 8.0, 4, cubic=each) for each in (True, False))
    assert torch.allclose(cubic.sum(0), torch.ones(18).double())
    assert straight.sum(0)[:5].max() == straight.sum(0)[-3:].max() == 0


@pytest.mark.parametrize(("height", "box"), [(90, [30.0, 20.0, 94.0, 84.0]), (40, [30.3, -15.0, 84.8, 61.5])])
def test_a_patch_that_hardly_leans_is_pasted_as_one_that_does_not(height, box):
    frame, patch = frame_of(height), torch.rand(3, 16, 16, generator=torch.Generator().manual_seed(1)) * 2 - 1
    upright, leaning = pasted(frame, patch, lower_half(), box), pasted(frame, patch, lower_half(), box, roll=1e-6)
    assert (upright.int() - leaning.int()).abs().max() <= 1
    assert torch.equal(pasted(frame, patch, lower_half(), box, roll=0.0), upright)


@pytest.mark.parametrize("turns", [1, 2, 3])
@pytest.mark.parametrize("size", [16, 64])
def test_a_patch_that_lies_on_its_side_is_pasted_like_a_turned_frame(turns, size):
    """In a square frame with the box in its middle: turn the frame back, paste upright, turn it again."""
    frame, patch = frame_of(90, 90), torch.rand(3, size, size, generator=torch.Generator().manual_seed(1)) * 2 - 1
    mask, box = lower_half(size), [25.0, 25.0, 65.0, 65.0]
    wanted = torch.rot90(pasted(torch.rot90(frame, turns).contiguous(), patch, mask, box), -turns)
    new = pasted(frame, patch, mask, box, roll=turns * math.pi / 2)
    assert (new.int() - wanted.int()).abs().max() <= 1
    assert (new != frame).any()


def test_a_leaning_patch_stays_within_its_turned_mask():
    """All that lies more than a pixel of the patch outside keeps its bits, its middle becomes the patch."""
    frame, box, roll = frame_of(), torch.tensor([30.0, 15.0, 78.0, 63.0]), 0.4
    new = pasted(frame, torch.ones(3, 16, 16), lower_half(), box.tolist(), roll=roll)
    y, x = torch.meshgrid(torch.arange(90) + 0.5, torch.arange(120) + 0.5, indexing="ij")
    upright = turned(torch.stack([x, y], -1).view(1, -1, 2), box.view(2, 2).mean(0)[None], torch.tensor([-roll]))
    across, down = upright[0].view(90, 120, 2).unbind(-1)
    inside = (across > 30) & (across < 78) & (down > 39) & (down < 63)
    changed = (new != frame).any(2)
    assert not changed[~inside].any()
    middle = (across > 40) & (across < 68) & (down > 47) & (down < 55)
    assert (new[middle] == 255).all()
    assert changed[inside].float().mean() > 0.8


@pytest.mark.parametrize(
    "box", [[-60.0, 20.0, -20.0, 60.0], [100.0, 70.0, 140.0, 110.0], [-500.0, -400.0, 800.0, 700.0]]
)
def test_a_leaning_patch_is_cut_at_the_border(box):
    """As in a larger frame of which this one is a part."""
    wide, patch = frame_of(900, 900), torch.rand(3, 16, 16) * 2 - 1
    frame = wide[400:490, 380:500].clone()
    shifted = (torch.tensor(box) + torch.tensor([380.0, 400.0, 380.0, 400.0])).tolist()
    whole = pasted(wide, patch, lower_half(), shifted, roll=0.5)[400:490, 380:500]
    assert (pasted(frame, patch, lower_half(), box, roll=0.5).int() - whole.int()).abs().max() <= 1


def test_what_is_cropped_upright_is_pasted_back_unchanged():
    """A smooth picture whose face leans by 25 degrees, there and back."""
    y, x = torch.meshgrid(torch.arange(240), torch.arange(320), indexing="ij")
    waves = [127 + 80 * torch.sin(x / 17 + k) * torch.cos(y / 23 - k) + 30 * torch.sin((x + y) / 40) for k in range(3)]
    frame = torch.stack(waves, -1).round().to(torch.uint8)
    box, roll, region = torch.tensor([90.0, 40.0, 214.0, 190.0]), math.radians(25), FaceRegion(0.125, 0.25, 0.875, 1.0)
    for size in (64, 128):
        face = crop(frame.permute(2, 0, 1), box, size, roll)
        patch = region.of(face).float() / 127.5 - 1
        new = frame.clone()
        there = region.in_frame(box[None], torch.tensor([roll]))[0]
        paste(new, patch, torch.ones_like(patch[:1]), there, roll=roll)
        assert (new.int() - frame.int()).abs().max() <= 2
        other = frame.clone()
        paste(other, -patch, torch.ones_like(patch[:1]), there, roll=roll)
        assert (other.int() - frame.int()).abs().max() > 100, "it is pasted"
