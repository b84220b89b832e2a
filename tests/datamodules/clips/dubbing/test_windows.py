import pytest
import torch

from datamodules.clips.clip_files import PreparedClip
from datamodules.clips.dubbing.windows import DubbingWindows
from datamodules.clips.windows import SyncWindows
from networks.audio import mel_windows
from tests.helpers.prepared_clips import make_prepared_clip
from visionscapes.errors import UserError


@pytest.fixture
def clip(tmp_path):
    make_prepared_clip(tmp_path / "clip.safetensors", 20)
    return PreparedClip(tmp_path / "clip.safetensors")


def test_frames_have_the_sound_that_begins_a_frame_before_them_and_landmarks_where_the_faces_are(clip):
    torch.manual_seed(0)
    sample = DubbingWindows([clip], size=24, windows=4)[0]
    assert sample["frame_mel"].shape == (4, 5, 80, 16)
    assert sample["landmarks"].shape == (4, 5, 68, 2)
    assert sample["frame_mel"].dtype == sample["landmarks"].dtype == torch.float32
    for window, start in enumerate(sample["frame"].tolist()):
        for place in range(5):
            frame = start + place
            begin = int(3.2 * max(frame - 1, 0))
            assert torch.equal(sample["frame_mel"][window, place], clip.mel[:, begin : begin + 16])
            x0, y0, x1, y1 = clip.boxes[frame].round()
            expected = (clip.landmarks[frame, 30] - [x0, y0]) / [x1 - x0, y1 - y0] * 24
            assert sample["landmarks"][window, place, 30].tolist() == pytest.approx(expected.tolist(), abs=1e-4)
        assert torch.equal(sample["mel"][window], mel_windows(clip.mel, [start])[0])


def test_a_sample_is_otherwise_that_of_a_syncnet(clip):
    torch.manual_seed(0)
    mine = DubbingWindows([clip], size=24, windows=2)
    frames = torch.tensor([3, 1])
    sample, other = mine.sample(clip, frames), SyncWindows([clip], size=24).sample(clip, frames)
    assert sample.keys() - other.keys() == {"frame_mel", "landmarks"}
    assert all(torch.equal(sample[key], other[key]) for key in ("faces", "mel", "frame"))


def test_all_sound_of_a_window_lies_within_the_clip(clip):
    starts = DubbingWindows([clip], size=16).starts[0]
    steps = clip.mel_steps
    last = [int(3.2 * max(start + 4 - 1, 0)) + 16 for start in starts.tolist()]
    assert max(last) <= steps < max(last) + 4
    assert starts.tolist() == list(range(max(starts) + 1))


def test_clips_with_too_little_sound_are_told(tmp_path):
    make_prepared_clip(tmp_path / "clip.safetensors", 8)
    with pytest.raises(UserError, match="nothing is left to train on"):
        DubbingWindows([PreparedClip(tmp_path / "clip.safetensors")], size=16)
