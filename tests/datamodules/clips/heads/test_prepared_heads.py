import numpy as np
import pytest
import torch

from datamodules.clips.clip_files import ClipFiles, PreparedClip
from datamodules.clips.heads.drawing import draw_landmarks
from datamodules.clips.heads.label_files import LabelFiles
from datamodules.clips.heads.prepared_heads import HeadFiles, PreparedHead, halves, strided
from tests.helpers.replicas_heads import SIDE, make_head_clip, write_label_maps
from visionscapes.media.errors import ClipError


def opened(path, size=SIDE, maps=None):
    return PreparedHead(PreparedClip(path), size, maps)


def test_pictures_landmarks_and_drawings(tmp_path):
    drawn = make_head_clip(tmp_path / "a.safetensors", 2, 5, without=(3,))
    head = opened(tmp_path / "a.safetensors")
    assert len(head) == 5
    assert head.name == "a"
    difference = head.pictures([0, 4]).permute(0, 2, 3, 1).numpy().astype(int) - drawn.images[[0, 4]]
    assert np.abs(difference).mean() < 6, "JPEG"
    assert head.found.tolist() == [True, True, True, False, True]
    assert np.allclose(head.landmarks, drawn.landmarks)
    smaller = opened(tmp_path / "a.safetensors", 24)
    assert smaller.pictures([1]).shape == (1, 3, 24, 24)
    assert np.allclose(smaller.landmarks, drawn.landmarks / 2, atol=1e-4)
    assert torch.equal(smaller.drawings([1])[0], draw_landmarks(drawn.landmarks[1], 24, side=SIDE))
    assert not smaller.drawings([3]).any()
    assert smaller.labels([0]) is None


def test_landmarks_that_are_not_of_the_picture_are_not_taken(tmp_path):
    drawn = make_head_clip(tmp_path / "a.safetensors", 1, 4)
    wrong = drawn.landmarks.copy()
    wrong[1] *= 5  # of a larger picture
    wrong[2, 10] = np.nan
    wrong[3, :17] -= SIDE  # the jaw alone
    make_head_clip(tmp_path / "a.safetensors", 1, 4, landmarks=wrong)
    head = opened(tmp_path / "a.safetensors")
    assert head.found.tolist() == [True, False, False, True]
    assert head.outside.tolist() == [False, True, True, False]


def test_label_maps_are_given_where_every_frame_has_one(tmp_path):
    drawn = make_head_clip(tmp_path / "a.safetensors", 1, 4)
    write_label_maps(tmp_path / "labels" / "a", drawn, (0, 2))
    head = opened(tmp_path / "a.safetensors", maps=LabelFiles(tmp_path / "labels"))
    assert np.array_equal(head.labels([2, 0]), drawn.labels[[2, 0]])
    assert head.labels([0, 1]) is None


def test_pictures_that_are_no_heads_are_refused(tmp_path):
    settings = {"settings": {"crop": "voxceleb2", "size": SIDE}, "size": [SIDE, SIDE]}
    make_head_clip(tmp_path / "a.safetensors", 1, 2, about=settings)
    with pytest.raises(ClipError, match=r"a shows the face alone.*--crop moving") as error:
        opened(tmp_path / "a.safetensors")
    assert error.value.reason == "face alone"
    settings = {"settings": {"crop": "none", "size": SIDE}, "size": [2 * SIDE, SIDE]}
    make_head_clip(tmp_path / "b.safetensors", 1, 2, about=settings)
    with pytest.raises(ClipError, match="48 x 24 pixels, and heads are squares"):
        opened(tmp_path / "b.safetensors")


def test_heads_are_opened_when_they_are_asked_for(tmp_path):
    make_head_clip(tmp_path / "a.safetensors", 1, 2)
    (tmp_path / "b.safetensors").write_bytes(b"broken")
    files = HeadFiles(ClipFiles([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], ["x/a", "x/b"]), 32)
    assert len(files) == 2
    assert files[0].name == "x/a"
    assert len(files.chosen([1])) == len(files[1:]) == 1
    with pytest.raises(ClipError):
        files[1]


@pytest.mark.parametrize("count", [55, 59, 91, 99, 100, 107, 250, 1000])
def test_ten_frames_at_the_stride_of_the_authors_code(count):
    frames = np.arange(count) + 3
    chosen = strided(frames, 10)
    assert len(chosen) == 10
    assert set(np.diff(chosen)) == {count // 10 + 1}
    assert chosen[0] == 3
    assert chosen[-1] <= frames[-1]


@pytest.mark.parametrize("count", [0, 5, 10, 54, 90])
def test_clips_whose_stride_gives_fewer_are_refused(count):
    with pytest.raises(ClipError, match=f"{count} frames with a face give .* and 10 are needed"):
        strided(np.arange(count), 10)


@pytest.mark.parametrize(
    ("count", "sources", "targets"), [(64, 32, 32), (10, 3, 5), (100, 32, 32), (7, 1, 6), (9, 8, 1)]
)
def test_targets_come_after_all_sources(count, sources, targets):
    frames = np.arange(count) * 2
    earlier, later = halves(frames, sources, targets)
    assert len(set(earlier)) == sources
    assert len(set(later)) == targets
    assert max(earlier) < min(later)
    assert earlier == sorted(earlier)
    assert later == sorted(later)
    assert set(earlier) | set(later) <= set(frames.tolist())


def test_too_few_frames_to_evaluate_are_refused():
    with pytest.raises(ClipError, match="63 frames with a face are fewer than 32 sources and 32 targets"):
        halves(np.arange(63), 32, 32)
