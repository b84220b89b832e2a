"""Voices: what differs from speaker to speaker and leaves the shape of the mouth as it is."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Voice:
    """How somebody speaks.

    Attributes:
        pitch: average frequency of the voice, Hz.
        melody: how far the pitch rises and falls, as a share of it.
        tract: factor on the formants: below 1 a long vocal tract, above 1 a short one, as children have.
        pace: factor on the durations of sounds; small is fast.
        breath: strength of the breath in the voice, in [0, 1].
        tilt: decibels an octave by which high frequencies of the voice are weaker, positive.
        loudness: peak of the sound, about, in [0, 1].
    """

    pitch: float
    melody: float
    tract: float
    pace: float
    breath: float
    tilt: float
    loudness: float


def sample_voice(rng: np.random.Generator) -> Voice:
    """Draw a voice; high voices mostly go with short vocal tracts."""
    height = rng.uniform(0, 1)
    return Voice(
        pitch=85 * 3.0**height * rng.uniform(0.93, 1.07),
        melody=rng.uniform(0.06, 0.22),
        tract=0.9 + 0.26 * height + rng.uniform(-0.05, 0.05),
        pace=rng.uniform(0.85, 1.2),
        breath=rng.uniform(0.01, 0.15),
        tilt=rng.uniform(2.5, 5.5),
        loudness=rng.uniform(0.3, 0.9),
    )
