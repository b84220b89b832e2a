import torch

from lightning_modules.diff2lip.windows import Frames, Windows


def test_nothing_but_the_masked_part_is_generated():
    truth, mask = torch.rand(2, 5, 3, 4, 4), torch.zeros(2, 5, 1, 4, 4)
    mask[..., 2:, :] = 1
    windows = Windows(truth, truth, truth, mask, frame_mel=torch.zeros(2, 5, 80, 16), mel=torch.zeros(2, 80, 16))
    made = windows.outside_true(torch.full_like(truth, 7))
    assert (made[..., 2:, :] == 7).all()
    assert torch.equal(made[..., :2, :], truth[..., :2, :])


def test_frames_are_cut_part_by_part():
    frames = Frames(*torch.arange(6.0).expand(5, 6))
    assert Frames(*(part[2:4] for part in frames)).numbers.tolist() == [2, 3]
