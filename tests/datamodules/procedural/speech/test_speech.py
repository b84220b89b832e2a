import numpy as np
import pytest

from datamodules.procedural.speech.phonemes import CLOSED, PHONEMES
from datamodules.procedural.speech.speech import speak
from datamodules.procedural.speech.voices import Voice

SPOKEN = [speak(0, index, 2.4) for index in range(12)]


def test_speech_is_a_function_of_seed_and_index():
    first, again, other = speak(1, 2, 1.0), speak(1, 2, 1.0), speak(1, 3, 1.0)
    assert np.array_equal(first.audio, again.audio)
    assert np.array_equal(first.opening, again.opening)
    assert first.spoken == again.spoken
    assert first.voice == again.voice
    assert not np.array_equal(first.audio, other.audio)
    assert first.voice != other.voice


@pytest.mark.parametrize("seconds", [0.04, 0.2, 2.4, 3.01])
def test_shapes_and_ranges(seconds):
    speech = speak(0, 5, seconds)
    frames = round(seconds * 25)
    assert speech.audio.shape == (640 * frames,)
    assert speech.opening.shape == speech.width.shape == (frames,)
    assert speech.audio.dtype == speech.opening.dtype == speech.width.dtype == np.float32
    assert np.abs(speech.audio).max() <= 1
    assert 0 <= speech.opening.min() <= speech.opening.max() <= 1
    assert np.abs(speech.width).max() <= 1


def test_another_voice_says_the_same_with_the_same_mouth():
    voice = Voice(pitch=100, melody=0.1, tract=0.9, pace=SPOKEN[0].voice.pace, breath=0.1, tilt=4, loudness=0.5)
    other = speak(0, 0, 2.4, voice=voice)
    assert np.array_equal(other.opening, SPOKEN[0].opening)
    assert np.array_equal(other.width, SPOKEN[0].width)
    assert not np.array_equal(other.audio, SPOKEN[0].audio)


def test_lips_are_shut_in_silence_and_closures_and_a_frame_shows_every_one():
    for speech in SPOKEN:
        middles = (np.arange(len(speech.opening)) + 0.5) / 25
        for each in speech.spoken:
            inside = (middles >= each.start) & (middles <= each.end)
            if each.name in CLOSED:
                assert (speech.opening[inside] == 0).all()
                assert inside.any() or each.end - each.start < 0.05, "the last one may be cut off"


def test_vowels_open_the_mouth_and_shape_it():
    shapes = {name: [] for name in PHONEMES}
    for index in range(40):
        speech = speak(3, index, 2.4)
        for each in speech.spoken:
            frame = int((each.start + each.end) / 2 * 25)
            shapes[each.name].append((speech.opening[min(frame, 59)], speech.width[min(frame, 59)]))
    opening, width = ({name: np.median(values, 0)[k] for name, values in shapes.items()} for k in (0, 1))
    assert opening["a"] > 0.8 > opening["i"] > 0.2
    assert width["i"] > 0.7
    assert width["u"] < -0.7
    assert opening["_"] == opening["m"] == opening["p"] == opening["b"] == 0


def test_silence_is_quiet_and_vowels_are_loud():
    for speech in SPOKEN:
        quiet, loud = [], []
        for each in speech.spoken:
            middle = speech.audio[
                int((each.start * 0.7 + each.end * 0.3) * 16000) : int((each.start + each.end) * 8000)
            ]
            if len(middle) and each.end - each.start > 0.09:
                (quiet if each.name == "_" else loud if each.name in "aeo" else []).append(np.std(middle))
        assert max(quiet, default=0) < 1e-3 < 1e-2 < min(loud, default=1)


def test_there_is_no_mouth_in_mere_silence():
    speech = speak(0, 0, 1.0, pauses=1.0)
    assert (speech.opening == 0).all()
    assert (speech.width == 0).all()
    assert np.abs(speech.audio).max() < 2e-3
