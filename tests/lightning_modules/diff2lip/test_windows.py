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


def test_of_every_window_one_frame_with_its_own_reference_mask_and_sound():
    frames = torch.arange(30.0).reshape(6, 5)
    marked = (frames[..., None, None, None], frames[..., None, None, None], -frames[..., None, None, None])
    windows = Windows(*marked, frames[..., None, None, None], frame_mel=frames[..., None, None], mel=torch.arange(6))
    single = windows.single()
    chosen = single.faces.flatten()
    assert single.faces.shape == (6, 1, 1, 1, 1)
    assert (chosen // 5).tolist() == list(range(6))
    assert all(torch.equal(part.flatten(), chosen) for part in (single.truth, -single.reference, single.frame_mel))
    assert single.mel.tolist() == list(range(6))
    drawn = {int(frame % 5) for _ in range(20) for frame in windows.single().faces.flatten().tolist()}
    assert drawn == set(range(5))


def test_every_fifth_window():
    windows = Windows(*torch.arange(7.0).expand(6, 7))
    assert windows.every(5).truth.tolist() == [0, 5]
