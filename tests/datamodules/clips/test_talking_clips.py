import pickle

import numpy as np
import pytest
import torch

from datamodules.clips.talking_clips import cut, steadied, talking_clip
from datamodules.procedural.speech.speech import speak
from networks.audio import MelSpectrogram

INNER_UPPER, INNER_LOWER, LEFT_CORNER, RIGHT_CORNER = 62, 66, 48, 54


@pytest.fixture(scope="module")
def clip():
    return talking_clip("clip", speak(0, 1, 2.0), world=0, index=1, size=48)


def test_a_clip_holds_what_clips_hold(clip):
    assert len(clip) == 50
    assert clip.images([3, 5]).shape == (2, 48, 48, 3)
    assert clip.images([3]).dtype == np.uint8
    assert clip.boxes.tolist() == [[0, 0, 48, 48]] * 50
    assert clip.found.all()
    assert clip.landmarks.shape == (50, 68, 2)
    assert clip.landmarks.dtype == np.float32
    assert clip.audio.shape == (32000,)
    assert torch.equal(clip.mel, MelSpectrogram()(clip.audio))


def test_the_mouth_follows_opening_and_width(clip):
    gap = clip.landmarks[:, INNER_LOWER, 1] - clip.landmarks[:, INNER_UPPER, 1]
    across = np.linalg.norm(clip.landmarks[:, RIGHT_CORNER] - clip.landmarks[:, LEFT_CORNER], axis=1)
    assert np.corrcoef(gap, clip.opening)[0, 1] > 0.99
    assert np.corrcoef(across, clip.width)[0, 1] > 0.8
    assert gap[clip.opening > 0.9].min() > 4, "pixels of 48"
    assert np.ptp(across) > 4


def test_lips_meet_where_the_mouth_is_shut(clip):
    shut = clip.opening == 0
    assert shut.any()
    gap = np.abs(clip.landmarks[shut, INNER_LOWER] - clip.landmarks[shut, INNER_UPPER]).max()
    assert gap < 1e-3


def test_pictures_of_the_mouth_tell_its_opening(clip):
    """The hole of an open mouth is dark, below the teeth."""
    red = clip.faces[..., 0].astype(float)
    lower = clip.landmarks[:, INNER_LOWER]
    columns, rows = lower.astype(int).T
    darkest = np.array(
        [frame[y - 4 : y + 1, x - 2 : x + 3].min() for frame, x, y in zip(red, columns, rows, strict=True)]
    )
    assert darkest[clip.opening > 0.8].mean() < darkest[clip.opening == 0].mean() - 20


def test_faces_fill_their_frames(clip):
    low, high = clip.landmarks.min((0, 1)), clip.landmarks.max((0, 1))
    assert (low > [-4, 2]).all()
    assert (low < [4, 12]).all()
    assert (high > 42).all()
    assert (high < 54).all()


def test_another_process_gets_the_same(clip):
    again = pickle.loads(pickle.dumps(clip))
    for name in ("faces", "landmarks", "opening", "width", "boxes", "found"):
        assert np.array_equal(getattr(again, name), getattr(clip, name))
    assert torch.equal(again.audio, clip.audio)
    assert torch.equal(again.mel, clip.mel)
    assert again.name == clip.name


def test_boxes_that_stand_still_stay_and_others_are_smoothed():
    still = np.tile(np.array([1, 2, 3, 4], np.float32), (9, 1))
    np.testing.assert_allclose(steadied(still), still, rtol=1e-6)
    shaken = still + np.random.default_rng(0).normal(0, 1, still.shape).astype(np.float32)
    assert np.diff(steadied(shaken), axis=0).std() < 0.3 * np.diff(shaken, axis=0).std()


def test_a_cut_is_exact_to_a_fraction_of_a_pixel():
    ramp = np.tile((np.arange(40, dtype=np.uint8) * 6)[None, :, None], (40, 1, 3))
    inner = cut(ramp, np.array([10.5, 5, 26.5, 21], np.float32), 16)
    np.testing.assert_allclose(inner[0, 1:-1, 0], 6 * np.arange(11.5, 25.5), atol=1)
    assert cut(ramp, np.array([-5, -5, 60, 60], np.float32), 8).shape == (8, 8, 3)
