from itertools import pairwise

import numpy as np
import pytest

from datamodules.procedural.speech.phonemes import CLOSED, PHONEMES, VOWELS
from datamodules.procedural.speech.syllables import draw_speech
from datamodules.procedural.speech.voices import sample_voice


@pytest.mark.parametrize("seed", range(10))
def test_sounds_follow_each_other_without_gaps_and_fill_the_time(seed):
    rng = np.random.default_rng(seed)
    spoken = draw_speech(rng, 3.0, sample_voice(rng), 0.2)
    assert spoken[0].start == 0
    assert spoken[-1].end == 3.0
    assert all(one.end == other.start for one, other in pairwise(spoken))
    assert all(each.end > each.start for each in spoken)
    assert all(each.end - each.start >= 0.05 for each in spoken[:-1] if each.name in CLOSED)


def test_every_sound_occurs_and_syllables_have_a_vowel():
    spoken = draw_speech(np.random.default_rng(0), 200.0, sample_voice(np.random.default_rng(1)), 0.2)
    names = [each.name for each in spoken]
    assert set(names) == set(PHONEMES)
    assert np.mean([name in VOWELS for name in names]) > 0.35


def test_a_longer_recording_begins_as_a_shorter_one():
    voice = sample_voice(np.random.default_rng(0))
    short, long = (draw_speech(np.random.default_rng(3), seconds, voice, 0.2) for seconds in (1.0, 4.0))
    assert long[: len(short) - 1] == short[:-1]


def test_pauses_take_the_share_that_is_asked_for():
    def share(pauses):
        rng = np.random.default_rng(0)
        spoken = draw_speech(rng, 300.0, sample_voice(rng), pauses)
        return sum(each.end - each.start for each in spoken if each.name == "_") / 300

    assert share(0.0) == 0
    assert share(0.2) == pytest.approx(0.2, abs=0.05)
    assert share(0.5) == pytest.approx(0.5, abs=0.07)
    assert share(1.0) == pytest.approx(1)
