import numpy as np

from datamodules.procedural.speech.voices import sample_voice


def test_voices_are_those_of_people():
    voices = [sample_voice(np.random.default_rng(seed)) for seed in range(300)]
    pitch, tract = (np.array([getattr(voice, name) for voice in voices]) for name in ("pitch", "tract"))
    assert 75 < pitch.min() < 100
    assert 220 < pitch.max() < 280
    assert 0.8 < tract.min() < 0.95 < 1.1 < tract.max() < 1.25
    assert np.corrcoef(np.log(pitch), tract)[0, 1] > 0.7, "high voices have short vocal tracts"
