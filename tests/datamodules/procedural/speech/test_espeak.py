import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

from datamodules.procedural.speech.espeak import (
    LATE,
    VARIANTS,
    EspeakVoice,
    check_installed,
    sample_espeak_voice,
    say,
    timed_sounds,
)
from datamodules.procedural.speech.phonemes import PHONEMES
from visionscapes.errors import UserError

TEXTS = ["the big paper boat", "mother moves away", "seven blue tomatoes", "we wash the windows"]


@pytest.fixture
def espeak():
    pytest.importorskip("espeakng_loader")


def voices():
    return [EspeakVoice(variant=variant) for variant in ("m1", "f2", "f5", "m7")]


def said():
    return [say(text, voice) for text, voice in zip(TEXTS, voices(), strict=True)]


def same(one, other):
    return all(np.array_equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(one, other, strict=True))


def test_what_is_missing_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    for ask in (check_installed, lambda: say("word", EspeakVoice())):
        with pytest.raises(UserError, match=r"pip install 'visionscapes\[speech\]'"):
            ask()


def test_the_sounds_of_words(espeak):
    sound, spoken = say("paper boat", EspeakVoice())
    assert sound.dtype == np.float32
    assert 0.05 < np.abs(sound).max() <= 1
    names = "".join(each.name for each in spoken).strip("_")
    assert names.startswith("pe")
    assert "b" in names
    assert names.endswith("t")
    assert all(one.end == pytest.approx(other.start) for one, other in pairwise(spoken))
    assert spoken[-1].end == pytest.approx(len(sound) / 16000, abs=0.01)


def test_times_are_those_of_the_sound(espeak):
    """The vowel of "map" is loud, and its lips are shut before and after."""
    sound, spoken = say("map", EspeakVoice())
    vowel = next(each for each in spoken if each.name == "a")
    energy = np.convolve(sound**2, np.ones(800) / 800, "same")
    assert vowel.start - 0.01 < np.argmax(energy) / 16000 < vowel.end + 0.01
    assert [each.name for each in spoken if each.name != "_"] == ["m", "a", "p"]
    stop = spoken[[each.name for each in spoken].index("p")]
    assert np.abs(sound[int(16000 * stop.start) + 160 : int(16000 * stop.start) + 400]).max() < 0.05


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_was_said_before_changes_nothing(espeak, variant):
    voice = EspeakVoice(variant=variant)
    first = say(TEXTS[0], voice)
    say("something else altogether", EspeakVoice(variant="f5", pitch=70))
    assert same([first], [say(TEXTS[0], voice)])


def test_voices_differ(espeak):
    sounds = [say(TEXTS[0], EspeakVoice(variant=variant))[0] for variant in VARIANTS]
    for index, one in enumerate(sounds):
        assert not any(np.array_equal(one, other) for other in sounds[:index])
    slow, quick = (say(TEXTS[0], EspeakVoice(words=words))[0] for words in (120, 220))
    assert len(slow) > 1.3 * len(quick)


def test_threads_do_not_disturb_each_other(espeak):
    alone = said()
    with ThreadPoolExecutor(4) as threads:
        together = list(threads.map(say, TEXTS * 3, voices() * 3))
    assert same(alone * 3, together)


@pytest.mark.parametrize("method", ["fork", pytest.param("spawn", marks=pytest.mark.slow)])
def test_other_processes_say_the_same(espeak, method):
    alone = said()
    with ProcessPoolExecutor(1, multiprocessing.get_context(method)) as processes:
        assert same(alone, list(processes.map(say, TEXTS, voices())))


def test_letters_become_sounds_by_hand():
    rate, sound = 1000, np.full(1000, 0.5, np.float32)
    sound[560:620] = 0.0  # before the burst of the p
    events = [(0.1, "h"), (0.2, "ˈaɪ"), (0.6, "p"), (0.7, "tʃ"), (0.9, "ː"), (0.95, "")]
    events = [(time + LATE, letters) for time, letters in events]
    spoken = [(each.name, round(each.start, 3), round(each.end, 3)) for each in timed_sounds(events, sound, rate)]
    assert spoken == [
        ("_", 0.0, 0.1),
        ("h", 0.1, 0.2),
        ("a", 0.2, 0.4),
        ("i", 0.4, 0.56),
        ("p", 0.56, 0.7),
        ("t", 0.7, 0.8),
        ("S", 0.8, 0.9),
        ("_", 0.9, 0.95),
        ("_", 0.95, 1.0),
    ]


def test_voices_are_drawn_within_what_espeak_takes():
    voices = [sample_espeak_voice(np.random.default_rng(seed)) for seed in range(100)]
    assert {voice.variant for voice in voices} == set(VARIANTS)
    assert all(0 <= voice.pitch < 100 and 80 <= voice.words <= 450 and 0 < voice.loudness <= 1 for voice in voices)
    assert set(PHONEMES) >= {"p", "a", "S", "_"}
