"""The mel spectrogram against librosa and scipy, in float64 as Wav2Lip computes it; windows against plain loops."""

import librosa
import numpy as np
import pytest
import torch
from scipy.signal import lfilter

from networks.audio import (
    FRAME_RATE,
    MEL_RATE,
    MEL_WINDOW,
    STEPS_AT_ONCE,
    WINDOW_FRAMES,
    MelSpectrogram,
    frame_mels,
    frame_mels_at,
    mel_start,
    mel_windows,
    slaney_filters,
    whole_windows,
)


def of_librosa(audio):
    emphasised = lfilter([1, -0.97], [1], audio.astype("f8"))
    spectrum = np.abs(librosa.stft(y=emphasised, n_fft=800, hop_length=200, win_length=800, pad_mode="constant"))
    mel = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600, dtype="f8") @ spectrum
    decibels = 20 * np.log10(np.maximum(1e-5, mel)) - 20
    return np.clip(8 * (decibels + 100) / 100 - 4, -4, 4)


def speech_like(samples, seed=0):
    """Return harmonics of a gliding pitch with pauses, and a little noise, at 16 kHz."""
    rng, time = np.random.default_rng(seed), np.arange(samples) / 16000
    phase = 2 * np.pi * np.cumsum(120 + 30 * np.sin(2 * np.pi * time)) / 16000
    voice = sum(np.sin(k * phase) / k for k in range(1, 40)) * (np.sin(2 * np.pi * 2 * time) > -0.3)
    return (0.1 * voice + 0.003 * rng.standard_normal(samples)).astype("f4")


@pytest.mark.filterwarnings("ignore:n_fft=800 is too large")
@pytest.mark.parametrize("samples", [16000, 12345, 801, 800, 799, 400, 200, 199, 1])
def test_equals_librosa_for_lengths_around_the_window_and_the_step(samples):
    audio = speech_like(samples)
    mel = MelSpectrogram()(torch.from_numpy(audio))
    assert mel.shape == (80, 1 + samples // 200)
    assert mel.dtype == torch.float32
    assert np.abs(mel.numpy() - of_librosa(audio)).max() < 1e-5


@pytest.mark.parametrize("loudness", [1, 0.1, 1e-3, 1e-5, 100])
def test_equals_librosa_for_loud_and_quiet_noise(loudness):
    audio = (loudness * np.random.default_rng(1).uniform(-1, 1, 8000)).astype("f4")
    assert np.abs(MelSpectrogram()(torch.from_numpy(audio)).numpy() - of_librosa(audio)).max() < 1e-5


def test_filters_equal_those_of_librosa():
    expected = librosa.filters.mel(sr=16000, n_fft=800, n_mels=80, fmin=55, fmax=7600, dtype="f8")
    assert np.abs(slaney_filters() - expected).max() < 1e-12


def test_a_batch_is_each_of_its_sounds_and_a_long_sound_has_no_seams():
    audio = torch.from_numpy(np.stack([speech_like(4000, seed) for seed in range(6)])).reshape(2, 3, 4000)
    mel = MelSpectrogram()
    assert mel(audio).shape == (2, 3, 80, 21)
    assert torch.allclose(mel(audio)[1, 2], mel(audio[1, 2]), atol=1e-6)
    long = torch.from_numpy(speech_like(200 * (STEPS_AT_ONCE + 20)))
    around = slice(200 * (STEPS_AT_ONCE - 10), None)
    assert torch.allclose(mel(long)[:, STEPS_AT_ONCE - 5 : -5], mel(long[around])[:, 5:-5], atol=1e-5)


def test_silence_is_the_lowest_level_an_empty_sound_has_one_step_of_it():
    mel = MelSpectrogram()
    assert torch.equal(mel(torch.zeros(1000)), torch.full((80, 6), -4.0))
    assert torch.equal(mel(torch.zeros(0)), torch.full((80, 1), -4.0))
    assert torch.equal(mel(torch.zeros(3, 0)), torch.full((3, 80, 1), -4.0))


def test_it_computes_in_float32_whatever_it_is_given_or_converted_to_and_refuses_whole_numbers():
    audio = torch.from_numpy(speech_like(4000))
    plain = MelSpectrogram()(audio)
    converted = MelSpectrogram().bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        for sound in (audio, audio.double()):
            assert torch.equal(converted(sound), plain)
    assert converted(audio.half()).dtype == torch.float32
    with pytest.raises(TypeError, match="int16"):
        converted(torch.zeros(400, dtype=torch.int16))


def test_constants_follow_the_module_to_its_device_and_are_in_no_checkpoint():
    mel = MelSpectrogram().to("meta")
    assert mel.filters.is_meta
    assert mel.window.is_meta
    assert mel.state_dict() == {}


def test_a_frame_starts_at_the_step_of_the_reference_which_rounds_a_float_down():
    assert [mel_start(frame) for frame in range(100_000)] == [int(3.2 * frame) for frame in range(100_000)]


def test_windows_are_the_slices_of_the_reference():
    mel = torch.rand(80, 200, generator=torch.Generator().manual_seed(0))
    frames = [0, 1, 7, 30, 57]
    expected = torch.stack([mel[:, int(3.2 * frame) : int(3.2 * frame) + 16] for frame in frames])
    assert torch.equal(mel_windows(mel, frames), expected)
    assert torch.equal(mel_windows(mel[None], torch.tensor(frames))[0], expected)
    assert mel_windows(mel, []).shape == (0, 80, 16)
    for outside in ([-1], [58]):
        with pytest.raises(IndexError, match="of 200"):
            mel_windows(mel, outside)


def numbered_steps(steps):
    """Return a mel spectrogram (80, M) whose values are the numbers of its steps."""
    return torch.arange(steps).float().expand(80, -1)


def test_the_sound_of_a_frame_begins_one_frame_before_it():
    mel = numbered_steps(60)
    # int(3.2 * max(f - 1, 0)), worked out by hand for f = 0, 1, 2, 3, 7 and 12
    expected = [range(start, start + 16) for start in (0, 0, 3, 6, 19, 35)]
    sound = frame_mels(mel, [0, 1, 2, 3, 7, 12])
    assert sound.shape == (6, 80, 16)
    assert sound[:, 0].tolist() == [list(steps) for steps in expected]
    assert torch.equal(sound[:, 79], sound[:, 0])


def test_the_sound_of_a_frame_is_that_of_the_window_of_the_frame_before():
    mel = torch.rand(2, 80, 200, generator=torch.Generator().manual_seed(0))
    assert torch.equal(frame_mels(mel, range(1, 50)), mel_windows(mel, range(49)))


def test_beyond_the_end_of_the_sound_there_is_silence():
    sound = frame_mels(numbered_steps(10), [2, 4, 500])[:, 0]
    assert sound[0].tolist() == [*range(3, 10), *[-4] * 9]
    assert sound[1].tolist() == [9, *[-4] * 15]
    assert (sound[2] == -4).all()
    assert torch.equal(frame_mels(torch.zeros(80, 0), [0, 3]), torch.full((2, 80, 16), -4.0))


def test_frames_and_spectrograms_of_any_shape():
    mel = torch.rand(2, 3, 80, 90, generator=torch.Generator().manual_seed(0))
    frames = torch.randint(0, 25, (4, 5), generator=torch.Generator().manual_seed(0))
    sound = frame_mels(mel, frames)
    assert sound.shape == (2, 3, 4, 5, 80, 16)
    assert torch.equal(sound[1, 2, 3, 4], frame_mels(mel[1, 2], [int(frames[3, 4])])[0])
    assert frame_mels(mel, 7).shape == (2, 3, 80, 16)


def test_frames_of_25_a_second_sound_alike_by_number_and_by_time():
    mel, frames = numbered_steps(MEL_RATE * 400), np.arange(9000)
    by_number = frame_mels(mel, torch.from_numpy(frames))[:, 0, 0]
    for times in (frames / 25, frames * 0.04, np.cumsum(np.full(9000, 0.04)) - 0.04):
        assert torch.equal(frame_mels_at(mel, torch.from_numpy(times))[:, 0, 0], by_number)


def test_frames_of_another_rate_sound_as_they_are_shown():
    # 30 a second: 80 (f / 30 - 0.04) = 2.67 f - 3.2, rounded down
    starts = frame_mels_at(numbered_steps(60), [f / 30 for f in (0, 1, 2, 3, 6)])[:, 0, 0]
    assert starts.tolist() == [0, 0, 2, 4, 12]


def test_whole_windows_counts_those_that_a_loop_finds():
    for frames in range(40):
        for steps in range(130):
            starts = [
                start
                for start in range(frames)
                if start + WINDOW_FRAMES <= frames and int(MEL_RATE / FRAME_RATE * start) + MEL_WINDOW <= steps
            ]
            assert whole_windows(frames, steps) == len(starts)
