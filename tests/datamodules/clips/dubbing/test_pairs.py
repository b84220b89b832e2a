import numpy as np
import pytest
import torch

from datamodules.clips.clip import face_crops
from datamodules.clips.clip_files import ClipFiles
from datamodules.clips.dubbing.pairs import DubbingPairs, Pair, chosen_pairs
from networks.audio import frame_mels
from tests.helpers.prepared_clips import make_prepared_clip
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError

FRAMES = {"a": 20, "b": 12, "late": 16, "never": 10}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    root = tmp_path_factory.mktemp("clips")
    for seed, (name, frames) in enumerate(FRAMES.items()):
        found = np.arange(frames) >= {"late": 7, "never": frames}.get(name, 0)
        make_prepared_clip(root / f"{name}.safetensors", frames, seed=seed, found=found)
    return ClipFiles([root / f"{name}.safetensors" for name in FRAMES], list(FRAMES))


def sample_of(clips, setting, video, audio):
    places = {name: place for place, name in enumerate(FRAMES)}
    return DubbingPairs(clips, [Pair(setting, places[video], places[audio])], size=24)[0]


def test_a_cross_pair_is_as_long_as_the_shorter_of_both(clips):
    video, driving = clips[0], clips[1]
    sample = sample_of(clips, "cross", "a", "b")
    assert (sample["setting"], sample["name"]) == ("cross", "a__b")
    assert torch.equal(sample["faces"], face_crops(video, range(12), 24))
    assert sample["boxes"].tolist() == video.boxes[:12].tolist()
    assert sample["found"].shape == (12,)
    assert sample["landmarks"].shape == sample["driving_landmarks"].shape == (12, 68, 2)
    assert not torch.equal(sample["landmarks"], sample["driving_landmarks"])
    assert torch.equal(sample["audio"], driving.audio)
    assert torch.equal(sample["mel"], driving.mel)
    assert torch.equal(sample["frame_mel"], frame_mels(driving.mel, range(12)))
    turned = sample_of(clips, "cross", "b", "a")
    assert torch.equal(turned["audio"], video.audio[: 640 * 12])
    assert torch.equal(turned["mel"], video.mel[:, : 1 + 38])
    assert torch.equal(turned["frame_mel"][5], video.mel[:, 12:28])
    assert turned["frame_mel"][11, 0].tolist() == [*video.mel[0, 32:39].tolist(), *[-4] * 9]
    assert torch.equal(turned["landmarks"], sample["driving_landmarks"])
    assert torch.equal(turned["faces"], sample["driving_faces"])
    assert not torch.equal(sample["faces"], sample["driving_faces"])


def test_a_reconstruction_begins_with_the_first_face(clips):
    clip = clips[2]
    sample = sample_of(clips, "reconstruction", "late", "late")
    assert sample["found"].all()
    assert torch.equal(sample["faces"], face_crops(clip, range(7, 16), 24))
    assert torch.equal(sample["landmarks"], sample["driving_landmarks"])
    assert torch.equal(sample["faces"], sample["driving_faces"])
    assert torch.equal(sample["audio"], clip.audio[640 * 7 :])
    assert sample["mel"].shape == (80, 1 + 28)
    assert torch.equal(sample["mel"], clip.mel[:, 22:51])
    assert torch.equal(sample["frame_mel"], frame_mels(clip.mel, range(7, 16)))
    other = sample_of(clips, "cross", "late", "a")
    assert len(other["found"]) == 16
    assert not other["found"][0]


def test_what_clips_know_beside_is_given_of_both(clips):
    class Known(ClipFiles):
        def __getitem__(self, index):
            clip = super().__getitem__(index)
            clip.opening = np.arange(len(clip), dtype=np.float32) + 100 * index
            return clip

    known = Known(clips.paths, clips.names)
    sample = DubbingPairs(known, [Pair("cross", 1, 0)], size=16, also=["opening"])[0]
    assert sample["opening"].tolist() == list(range(100, 112))
    assert sample["driving_opening"].tolist() == list(range(12))


def test_a_pair_without_a_window_is_told(clips):
    with pytest.raises(ClipError, match="never with the sound of never has 0 frames to dub, and 5 are needed: leave"):
        sample_of(clips, "reconstruction", "never", "never")


@pytest.mark.parametrize("count", [2, 3, 7])
def test_everybody_is_dubbed_once_and_drives_once(count):
    pairs = chosen_pairs(count, reconstruction=None, cross=None, seed=1)
    own, other = pairs[:count], pairs[count:]
    assert own == [Pair("reconstruction", clip, clip) for clip in range(count)]
    assert {pair.setting for pair in other} == {"cross"}
    assert sorted(pair.video for pair in other) == sorted(pair.audio for pair in other) == list(range(count))
    assert all(pair.video != pair.audio for pair in other)


def test_more_pairs_than_clips_are_different_ones_and_fewer_are_the_first():
    every = chosen_pairs(5, reconstruction=0, cross=20, seed=1)
    assert len(set(every)) == 20
    assert all(pair.video != pair.audio for pair in every)
    assert chosen_pairs(5, reconstruction=0, cross=7, seed=1) == every[:7]
    assert chosen_pairs(5, reconstruction=2, cross=0, seed=1) == [Pair("reconstruction", clip, clip) for clip in (0, 1)]
    assert chosen_pairs(5, reconstruction=0, cross=7, seed=2) != every[:7]


@pytest.mark.parametrize(
    ("count", "asked", "told"),
    [
        (1, {"reconstruction": None, "cross": None}, r"1 clip.* make 0 pair.* setting cross, and 1 are asked for"),
        (3, {"reconstruction": 4, "cross": 0}, r"3 clip.* make 3 pair.* lower --data.init_args.reconstruction"),
        (3, {"reconstruction": 0, "cross": 7}, r"3 clip.* make 6 pair.* lower --data.init_args.cross"),
    ],
)
def test_more_pairs_than_there_are_are_told(count, asked, told):
    with pytest.raises(UserError, match=told):
        chosen_pairs(count, seed=0, **asked)
