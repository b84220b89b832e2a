import numpy as np
import pytest
from scipy.signal import freqz, lfilter, periodogram

from datamodules.procedural.speech.articulation import STEP
from datamodules.procedural.speech.phonemes import PHONEMES, Spoken
from datamodules.procedural.speech.synthesis import (
    HOP,
    SAMPLE_RATE,
    WINDOW,
    _overlapped,
    _resonances,
    _spectra,
    synthesise,
)
from datamodules.procedural.speech.voices import Voice

VOICE = Voice(pitch=110, melody=0.0, tract=1.0, pace=1.0, breath=0.02, tilt=3.0, loudness=0.8)


def spoken_alone(name, voice=VOICE, seconds=1.0):
    return synthesise([Spoken(name, 0.0, seconds)], voice, round(seconds * SAMPLE_RATE), np.random.default_rng(0))


def test_windows_add_up_to_the_sound_they_are_of():
    sound = np.random.default_rng(0).standard_normal(WINDOW + 50 * HOP).astype(np.float32)
    inner = slice(WINDOW, -WINDOW)
    np.testing.assert_allclose(_overlapped(_spectra(sound))[: len(sound)][inner], sound[inner], atol=1e-5)


def test_resonators_are_those_of_the_textbook():
    """A resonator of two poles has the same gain about its peak."""
    frequencies = np.linspace(100, 3000, 500).astype(np.float32)
    ours = _resonances(np.array([[600.0, 1500.0, 2600.0]]), 1.0, frequencies)[0]
    gain = np.ones(500)
    for centre, width in ((600, 80), (1500, 110), (2600, 160), (3500, 250), (4500, 350)):
        radius = np.exp(-np.pi * width / 96000)
        poles = [1, -2 * radius * np.cos(2 * np.pi * centre / 96000), radius**2]
        gain *= np.abs(freqz([sum(poles)], poles, worN=frequencies, fs=96000)[1])
    np.testing.assert_allclose(20 * np.log10(ours), 20 * np.log10(gain), atol=0.5)


@pytest.mark.parametrize("name", ["a", "e"])
@pytest.mark.parametrize("tract", [0.9, 1.15])
def test_vowels_have_their_formants(name, tract):
    """Linear prediction finds the first two again."""
    voice = Voice(pitch=90, melody=0.0, tract=tract, pace=1.0, breath=0.3, tilt=3.0, loudness=0.3)
    sound = lfilter([1, -0.9], 1, spoken_alone(name, voice)[4000:12000].astype(float))
    sound *= np.hanning(len(sound))
    correlation = np.correlate(sound, sound, "full")[len(sound) - 1 :][:19]
    matrix = correlation[np.abs(np.subtract.outer(np.arange(18), np.arange(18)))]
    predictor = np.linalg.solve(matrix, correlation[1:])
    frequencies, gain = freqz(1, np.concatenate([[1], -predictor]), worN=4000, fs=SAMPLE_RATE)
    peaks = [f for k, f in enumerate(frequencies[1:-1], 1) if abs(gain[k]) > max(abs(gain[k - 1]), abs(gain[k + 1]))]
    for formant in PHONEMES[name].formants[:2]:
        assert min(abs(peak / (formant * tract) - 1) for peak in peaks) < 0.12


@pytest.mark.parametrize("pitch", [90, 220])
def test_the_voice_has_its_pitch(pitch):
    voice = Voice(pitch=pitch, melody=0.0, tract=1.0, pace=1.0, breath=0.01, tilt=3.0, loudness=0.8)
    sound = spoken_alone("a", voice)[2000:14000]
    correlation = np.correlate(sound, sound, "full")[len(sound) - 1 :]
    lag = 40 + np.argmax(correlation[40:300])
    assert SAMPLE_RATE / lag == pytest.approx(pitch, rel=0.03)


def test_hisses_are_noise_where_they_are_heard():
    def middle(name):
        frequencies, density = periodogram(spoken_alone(name), SAMPLE_RATE)
        return (frequencies * density).sum() / density.sum()

    assert middle("s") > 5000 > middle("S") > 2500 > 1200 > middle("o")


def test_a_stop_is_silent_before_its_burst():
    sound = spoken_alone("p", seconds=0.3)
    assert np.std(sound[: 2 * len(sound) // 3 - 400]) < 5e-4 < 5e-3 < np.std(sound[2 * len(sound) // 3 + 400 :])
    assert STEP * SAMPLE_RATE == HOP


@pytest.mark.parametrize("samples", [1, 79, 640, 12345])
def test_any_number_of_samples(samples):
    assert synthesise([Spoken("a", 0.0, 5.0)], VOICE, samples, np.random.default_rng(0)).shape == (samples,)


def test_sounds_are_where_their_times_say():
    """A vowel from 0.5 s to 0.7 s begins and ends there, within half a window."""
    spoken = [Spoken("_", 0.0, 0.5), Spoken("a", 0.5, 0.7), Spoken("_", 0.7, 1.0)]
    sound = synthesise(spoken, VOICE, SAMPLE_RATE, np.random.default_rng(0))
    loud = np.flatnonzero(np.abs(sound) > 0.05 * np.abs(sound).max()) / SAMPLE_RATE
    assert loud[0] == pytest.approx(0.5, abs=0.02)
    assert loud[-1] == pytest.approx(0.7, abs=0.025)
