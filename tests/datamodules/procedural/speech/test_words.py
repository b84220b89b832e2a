from itertools import pairwise

import numpy as np
import pytest

from datamodules.procedural.speech.espeak import SAME_LIPS, EspeakVoice
from datamodules.procedural.speech.phonemes import PHONEMES
from datamodules.procedural.speech.words import VOCABULARY, speak_words

pytest.importorskip("espeakng_loader")


def test_speech_is_a_function_of_seed_and_index():
    first, other = speak_words(1, 2, 1.6), speak_words(1, 3, 1.6)
    again = speak_words(1, 2, 1.6)
    assert np.array_equal(first.audio, again.audio)
    assert np.array_equal(first.opening, again.opening)
    assert not np.array_equal(first.audio, other.audio)


@pytest.mark.parametrize("seconds", [0.2, 1.5, 6.0])
def test_shapes_and_ranges(seconds):
    speech = speak_words(0, 1, seconds)
    frames = round(seconds * 25)
    assert speech.audio.shape == (640 * frames,)
    assert speech.opening.shape == speech.width.shape == (frames,)
    assert speech.audio.dtype == speech.opening.dtype == np.float32
    assert np.abs(speech.audio).max() <= 1
    assert speech.spoken[0].start == 0
    assert speech.spoken[-1].end == pytest.approx(frames / 25)
    assert all(one.end == pytest.approx(other.start) for one, other in pairwise(speech.spoken))


def test_silence_has_shut_lips_and_no_sound():
    speech = speak_words(0, 4, 6.0, pauses=0.5)
    quiet = speech.opening == 0
    middles = (np.arange(150) + 0.5) / 25
    silent = np.zeros(150, bool)
    for each in speech.spoken:
        if each.name == "_" and each.end - each.start > 0.15:
            inside = (middles > each.start + 0.04) & (middles < each.end - 0.04)
            silent |= inside
            assert np.abs(speech.audio[int((each.start + 0.04) * 16000) : int((each.end - 0.04) * 16000)]).max() < 0.02
    assert silent.sum() > 20
    assert quiet[silent].all()


def test_a_voice_can_be_given():
    voice = EspeakVoice(variant="f4", loudness=0.1)
    assert np.abs(speak_words(0, 0, 1.0, voice=voice, pauses=0.0).audio).max() < 0.12


def test_words_are_different_and_their_lips_are_known():
    assert len(set(VOCABULARY)) == len(VOCABULARY) > 300
    assert set(SAME_LIPS.values()) <= set(PHONEMES)
