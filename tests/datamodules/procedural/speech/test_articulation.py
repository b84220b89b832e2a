import numpy as np
import pytest

from datamodules.procedural.speech.articulation import STEP, mouth_shapes, smoothed, targets
from datamodules.procedural.speech.phonemes import PHONEMES, Spoken


def test_a_long_vowel_reaches_its_shape_and_silence_is_before_and_after():
    opening, width = mouth_shapes([Spoken("i", 1.0, 2.0)], 75)
    assert opening[37] == pytest.approx(PHONEMES["i"].opening)
    assert width[37] == pytest.approx(PHONEMES["i"].width)
    assert (opening[:25] == 0).all()
    assert (opening[50:] == 0).all()
    assert width[0] == width[-1] == 0


def test_nothing_spoken_is_silence():
    opening, width = mouth_shapes([], 10)
    assert not opening.any()
    assert not width.any()


def test_the_mouth_is_known_in_the_middle_of_a_frame():
    # Frame 5 is shown from 0.20 s to 0.24 s; a closure around 0.22 s alone shuts it.
    for start, end, shut in ((0.215, 0.225, True), (0.225, 0.235, False)):
        spoken = [Spoken("a", 0.0, start), Spoken("m", start, end), Spoken("a", end, 1.0)]
        assert (mouth_shapes(spoken, 25)[0][5] == 0) == shut


def test_a_step_is_smoothed_over_ninety_milliseconds():
    step = (np.arange(200) >= 100).astype(float)
    smooth = smoothed(step, 0.09)
    assert len(smooth) == 200
    assert (np.diff(smooth) >= 0).all()
    slope = np.diff(smooth)
    assert (slope >= slope.max() / 2).sum() * STEP == pytest.approx(0.09, abs=0.011)


def test_targets_by_hand():
    spoken = [Spoken("a", 0.0, 0.1), Spoken("u", 0.1, 0.2)]
    opening, formants = targets(spoken, np.array([0.0, 0.099, 0.1, 0.25]), "opening", "formants")
    np.testing.assert_allclose(opening, [1.0, 1.0, PHONEMES["u"].opening, 0.0])
    np.testing.assert_allclose(formants[2], PHONEMES["u"].formants)
