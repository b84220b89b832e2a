import pickle

import numpy as np
import pytest
import torch

from datamodules.clips.clip import face_crops
from datamodules.clips.clip_files import ClipFiles, JpegFrames, PreparedClip, no_sound, write_clip
from networks.audio import MelSpectrogram, whole_windows
from tests.helpers.prepared_clips import clip_arrays, make_prepared_clip, smooth_picture
from visionscapes.media.errors import ClipError


def test_a_clip_comes_back_as_it_was_up_to_its_codecs(tmp_path):
    given = make_prepared_clip(tmp_path / "a.safetensors", 10)
    clip = PreparedClip(tmp_path / "a.safetensors")
    assert (len(clip), clip.name, clip.about["source"]) == (10, "a", "a.mp4")
    for name in ("boxes", "landmarks", "found", "crops"):
        np.testing.assert_array_equal(getattr(clip, name), getattr(given, name))
    assert (clip.mel - torch.from_numpy(given.mel)).abs().max() < 1e-3
    assert clip.mel.dtype == clip.audio.dtype == torch.float32
    assert (clip.audio - torch.from_numpy(given.audio)).abs().max() <= 0.5 / 32768 + 1e-7
    assert clip.mel_steps == clip.mel.shape[1]
    images = clip.images([7, 0, 7])
    assert (images.shape, images.dtype) == ((3, 32, 32, 3), np.uint8)
    for image, index in zip(images, (7, 0, 7), strict=True):
        difference = image.astype(int) - np.asarray(smooth_picture(index)).astype(int)
        assert np.abs(difference).mean() < 3
    assert face_crops(clip, [3], 16).shape == (1, 3, 16, 16)


def test_float16_keeps_any_level_within_a_thousandth():
    levels = torch.linspace(-4, 4, 1_000_001)
    assert (levels.half().float() - levels).abs().max() < 1e-3


def test_sound_of_full_scale_does_not_wrap(tmp_path):
    audio = np.full(6400, 1.0, np.float32) * np.where(np.arange(6400) % 2, -1, 1).astype(np.float32)
    make_prepared_clip(tmp_path / "a.safetensors", 10, audio=audio)
    assert (PreparedClip(tmp_path / "a.safetensors").audio - torch.from_numpy(audio)).abs().max() <= 1 / 32768


def test_the_first_frames_can_be_left_out(tmp_path):
    pictures, arrays = JpegFrames(tmp_path), clip_arrays(6)
    for index in range(8):
        pictures.append(smooth_picture(index))
    assert len(pictures) == 8
    write_clip(tmp_path / "a.safetensors", pictures, arrays, {}, first=2)
    clip = PreparedClip(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(clip.images(range(6)), pictures.images(range(2, 8)))
    pictures.close()
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


def test_a_clip_without_sound_has_no_window(tmp_path):
    mel, audio = no_sound()
    make_prepared_clip(tmp_path / "a.safetensors", 10, mel=mel, audio=audio)
    clip = PreparedClip(tmp_path / "a.safetensors")
    assert (clip.mel.shape, clip.audio.shape) == ((80, 0), (0,))
    assert whole_windows(len(clip), clip.mel_steps) == 0


def test_windows_are_read_without_the_rest_of_the_file(tmp_path):
    """A damaged picture spoils the windows that hold it, and no other."""
    path = tmp_path / "a.safetensors"
    make_prepared_clip(path, 10)
    whole = PreparedClip(path).images(range(9))
    content = path.read_bytes()
    path.write_bytes(content[:-20] + bytes(20))
    clip = PreparedClip(path)
    np.testing.assert_array_equal(clip.images(range(9)), whole)
    with pytest.raises(ClipError, match="damaged: the checksum of a picture") as told:
        clip.images([9])
    assert told.value.reason == "unreadable"


def test_clips_are_opened_one_by_one_and_travel_to_other_processes(tmp_path):
    for index in range(3):
        make_prepared_clip(tmp_path / f"{index}.safetensors", 5 + index, seed=index)
    clips = ClipFiles(sorted(tmp_path.iterdir()), ["a", "b", "c"])
    assert [(clip.name, len(clip)) for clip in clips] == [("a", 5), ("b", 6), ("c", 7)]
    assert [clip.name for clip in clips[1:]] == ["b", "c"]
    again = pickle.loads(pickle.dumps(clips))
    np.testing.assert_array_equal(again[2].landmarks, clips[2].landmarks)
    clip = pickle.loads(pickle.dumps(clips[0]))
    np.testing.assert_array_equal(clip.images([1]), clips[0].images([1]))


def test_the_mel_is_that_of_the_sound(tmp_path):
    make_prepared_clip(tmp_path / "a.safetensors", 10)
    clip = PreparedClip(tmp_path / "a.safetensors")
    assert (MelSpectrogram()(clip.audio) - clip.mel).abs().max() < 2e-3  # float16 and 16 bits
