import numpy as np
import pytest
import torch

from datamodules.clips.dubbing import driving_sound
from datamodules.clips.dubbing.driving_sound import DrivingSound
from networks.audio import MelSpectrogram, frame_mels_at
from visionscapes.media.errors import ClipError
from visionscapes.media.sound import read_sound, write_sound


def sound_of(path, seconds, seed=0):
    write_sound(path, np.random.default_rng(seed).uniform(-0.5, 0.5, round(seconds * 16000)))
    return path


@pytest.mark.parametrize("seconds", [0.004, 0.3, 11.0, 25.0125])
@pytest.mark.parametrize("rate", [25, 12.5, 60])
def test_the_sound_of_frames_is_that_of_the_whole_spectrogram(tmp_path, monkeypatch, seconds, rate):
    path = sound_of(tmp_path / "a.wav", seconds)
    monkeypatch.setattr(driving_sound, "STEPS", 96)
    sound = DrivingSound(path)
    assert sound.seconds == pytest.approx(seconds, abs=1e-4)
    times = np.arange(0, seconds + 1, 1 / rate)
    whole = frame_mels_at(MelSpectrogram()(torch.from_numpy(read_sound(path))), torch.from_numpy(times))
    streamed = torch.cat([sound.frame_mels(times[first : first + 32]) for first in range(0, len(times), 32)])
    assert streamed.shape == (len(times), 80, 16)
    assert (streamed - whole).abs().max() < 1e-4
    assert (sound.frame_mels(times[-1:] + 100) == -4).all(), "there is silence when it has ended"


def test_little_of_a_long_sound_is_kept(tmp_path):
    sound = DrivingSound(sound_of(tmp_path / "a.wav", 60.0))
    for first in range(0, 60 * 25, 32):
        sound.frame_mels(np.arange(first, first + 32) / 25)
        assert len(sound._audio) < 25 * 16000
        assert sound._mel.shape[1] < 3 * driving_sound.STEPS


def test_silence_is_known(tmp_path):
    audio = np.zeros(16000)
    audio[4000:8000] = 0.1
    write_sound(tmp_path / "a.wav", audio)
    silent = DrivingSound(tmp_path / "a.wav").is_silent(np.arange(50) / 25, 1 / 25)
    assert silent[:5].all()
    assert not silent[7:12].any()
    assert silent[14:].all(), "also when it has ended"
    write_sound(tmp_path / "b.wav", np.full(16000, 0.0005))
    assert DrivingSound(tmp_path / "b.wav").is_silent(np.arange(25) / 25, 1 / 25).all()


def test_a_file_without_sound_is_told(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"no sound")
    with pytest.raises(ClipError, match=r"a\.wav"):
        DrivingSound(tmp_path / "a.wav")
