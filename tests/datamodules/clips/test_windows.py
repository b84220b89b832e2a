from itertools import combinations

import numpy as np
import pytest
import torch

from datamodules.clips.clip import Clip
from datamodules.clips.windows import SyncWindows, WholeClips, draw_starts, spaced, window_starts
from datamodules.common.evaluation import Stacked
from datamodules.common.loading import train_loader
from networks.audio import mel_windows
from visionscapes.errors import UserError


class Numbered(Clip):
    """Frames that are as bright as their number says, and a mel spectrogram whose values are its steps."""

    def __init__(self, name="numbered", frames=20, steps=65, missing=()):
        self.name, self.boxes = name, np.tile(np.array([0, 0, 8, 8], np.float32), (frames, 1))
        self.landmarks = np.zeros((frames, 68, 2), np.float32)
        self.found = ~np.isin(np.arange(frames), missing)
        self.mel = torch.arange(steps).float().expand(80, -1)
        self.audio = torch.zeros(steps * 200)
        self.opening = np.linspace(0, 1, frames, dtype=np.float32)

    def images(self, indices):
        return np.stack([np.full((8, 8, 3), index, np.uint8) for index in indices])


def test_faces_and_sound_of_a_window_belong_together():
    torch.manual_seed(0)
    clip = Numbered()
    sample = SyncWindows([clip], size=8, windows=4)[0]
    assert sample["faces"].shape == (4, 5, 3, 8, 8)
    assert sample["faces"].dtype == sample["mel"].dtype == torch.float32
    assert sample["mel"].shape == (4, 80, 16)
    assert sample["frame"].dtype == torch.int64
    shown = (sample["faces"] * 255).round()
    for frame, faces, mel in zip(sample["frame"].tolist(), shown, sample["mel"], strict=True):
        assert faces[:, 0, 0, 0].tolist() == list(range(frame, frame + 5))
        assert mel[0].tolist() == list(range(int(3.2 * frame), int(3.2 * frame) + 16))
    assert torch.equal(sample["mel"], mel_windows(clip.mel, sample["frame"]))


def test_starts_are_distinct_and_as_far_apart_as_asked_for():
    data = {apart: SyncWindows([Numbered()], size=8, windows=3, apart=apart) for apart in (1, 5)}
    for seed in range(50):
        torch.manual_seed(seed)
        for apart, each in data.items():
            frames = each[0]["frame"].tolist()
            assert all(abs(one - other) >= apart for one, other in combinations(frames, 2))


def test_windows_with_a_frame_without_a_face_are_not_drawn():
    clip = Numbered(missing=[3, 12])
    assert window_starts(clip).tolist() == [4, 5, 6, 7, 13, 14, 15]
    data = SyncWindows([clip], size=8, windows=2)
    for seed in range(30):
        torch.manual_seed(seed)
        assert set(data[0]["frame"].tolist()) <= set(window_starts(clip).tolist())


def test_windows_end_with_the_shorter_of_picture_and_sound():
    assert window_starts(Numbered(frames=20, steps=65)).tolist() == list(range(16))
    assert window_starts(Numbered(frames=20, steps=30)).tolist() == [0, 1, 2, 3, 4]
    assert window_starts(Numbered(frames=4)).tolist() == []


def test_clips_without_enough_windows_are_left_out_and_told():
    clips = [Numbered("short", frames=6), Numbered("long"), Numbered("faceless", missing=range(20))]
    with pytest.warns(UserWarning, match=r"2 of 3 clips do not have 3 windows of 5 frames"):
        data = SyncWindows(clips, size=8, windows=3, rounds=2)
    assert data.left_out == 2
    assert len(data) == 2
    assert {data[index]["name"] for index in range(2)} == {"long"}
    with pytest.raises(UserError, match=r"nothing is left to train on"):
        SyncWindows(clips[:1], size=8, windows=3)


def test_what_is_drawn_depends_on_seed_epoch_and_index_alone():
    clips = [Numbered(f"clip-{index}") for index in range(6)]

    def epoch(number, **options):
        loader = train_loader(SyncWindows(clips, size=8), batch_size=2, seed=3, collate_fn=Stacked("sync"), **options)
        loader.sampler.set_epoch(number)
        return [(batch["name"], batch["frame"].tolist()) for batch in loader]

    first = epoch(0)
    torch.manual_seed(9)
    assert epoch(0, num_workers=2) == first
    assert epoch(1) != first


def test_tight_starts_are_found_for_certain():
    starts = np.array([0, 3, 6, 9, 12])
    for seed in range(20):
        torch.manual_seed(seed)
        drawn = draw_starts(np.arange(13), 5, 3)
        assert sorted(drawn.tolist()) == starts.tolist()
    assert spaced(np.array([0, 1, 2, 9, 10, 14]), 4).tolist() == [0, 9, 14]


def test_starts_are_drawn_evenly():
    torch.manual_seed(0)
    counts = np.bincount(np.concatenate([draw_starts(np.arange(8), 2, 1) for _ in range(2000)]), minlength=8)
    assert counts.min() > 0.8 * counts.max()


def test_a_whole_clip():
    clip = Numbered(missing=[1])
    sample = WholeClips([clip], size=8, also=["opening"])[0]
    assert sample["faces"].shape == (20, 3, 8, 8)
    assert sample["faces"].dtype == torch.uint8
    assert sample["faces"][:, 0, 0, 0].tolist() == list(range(20))
    assert torch.equal(sample["mel"], clip.mel)
    assert sample["found"].tolist() == clip.found.tolist()
    assert sample["landmarks"].shape == (20, 68, 2)
    assert sample["boxes"].shape == (20, 4)
    assert sample["opening"].tolist() == clip.opening.tolist()
    assert sample["audio"] is clip.audio
    assert sample["name"] == "numbered"
