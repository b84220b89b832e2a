import numpy as np
import pytest

from datamodules.procedural.speech.phonemes import Spoken
from datamodules.procedural.speech.silence import silenced, with_silence
from datamodules.procedural.speech.speech import speak


def stretch(silent):
    """Return the first frame that is silent and the one after the last, of speech without other pauses."""
    (pause,) = (each for each in silent.spoken if each.name == "_")
    return round(pause.start * 25), round(pause.end * 25)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
def test_a_share_of_the_frames_is_silent_in_one_stretch_and_the_rest_as_it_was(share):
    speech = speak(0, 1, 2.4, pauses=0)
    silent = with_silence(speech, share, np.random.default_rng(0))
    first, end = stretch(silent)
    assert end - first == round(60 * share)
    inside = silent.audio[640 * first : 640 * end]
    assert np.abs(inside).max() < 0.002 < np.abs(speech.audio[640 * first : 640 * end]).max()
    assert inside.std() > 1e-4, "the noise of the room"
    assert (silent.opening[first:end] == 0).all()
    assert silent.opening.max() > 0.5
    fade = 240  # samples of ONSET
    assert np.array_equal(silent.audio[: 640 * first - fade], speech.audio[: 640 * first - fade])
    assert np.array_equal(silent.audio[640 * end + fade :], speech.audio[640 * end + fade :])
    near = 6  # frames in which the mouth goes to and from what it is in silence
    assert np.array_equal(silent.opening[: max(first - near, 0)], speech.opening[: max(first - near, 0)])
    assert np.array_equal(silent.opening[end + near :], speech.opening[end + near :])
    assert silent.audio.dtype == silent.opening.dtype == np.float32


def test_the_stretch_lies_anywhere():
    speech = speak(0, 1, 2.0, pauses=0)
    starts = {stretch(with_silence(speech, 0.3, np.random.default_rng(seed)))[0] for seed in range(60)}
    assert len(starts) > 20
    assert min(starts) < 5
    assert max(starts) > 30


def test_no_silence_changes_nothing_and_silence_alone_is_silent():
    speech = speak(0, 1, 1.0)
    assert with_silence(speech, 0.0, np.random.default_rng(0)) is speech
    silent = with_silence(speech, 1.0, np.random.default_rng(0))
    assert (silent.opening == 0).all()
    assert np.abs(silent.audio).max() < 0.002


def test_sounds_are_cut_off_or_left_out():
    spoken = [Spoken("a", 0.0, 0.2), Spoken("b", 0.2, 0.3), Spoken("i", 0.3, 0.6)]
    assert silenced(spoken, 0.1, 0.4) == [Spoken("a", 0.0, 0.1), Spoken("_", 0.1, 0.4), Spoken("i", 0.4, 0.6)]
    assert silenced(spoken, 0.05, 0.15) == [
        Spoken("a", 0.0, 0.05),
        Spoken("_", 0.05, 0.15),
        Spoken("a", 0.15, 0.2),
        *spoken[1:],
    ]
    assert silenced(spoken, 0.0, 0.6) == [Spoken("_", 0.0, 0.6)]
