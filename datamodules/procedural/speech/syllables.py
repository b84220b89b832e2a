"""Draws what is said: syllables in utterances, with pauses between them."""

from collections.abc import Iterator

import numpy as np

from datamodules.procedural.speech.phonemes import CLOSED, CONSONANTS, PHONEMES, SILENCE, VOWELS, Spoken
from datamodules.procedural.speech.voices import Voice

SYLLABLES = (3, 8)  # of an utterance, at least and below
UTTERANCE = 1.2  # seconds that one takes on average, about; from which the pauses are measured
SHORTEST_CLOSURE = 0.05  # seconds: longer than a frame, so that some frame shows every closure
ONSETS = np.array([3.0 if name in CLOSED else 1.0 for name in CONSONANTS])
ONSETS /= ONSETS.sum()
NUCLEI = np.array([2.0 if name == "a" else 1.0 for name in VOWELS])
NUCLEI /= NUCLEI.sum()


def draw_speech(rng: np.random.Generator, seconds: float, voice: Voice, pauses: float) -> list[Spoken]:
    """Draw sounds that fill a time without gaps; the last one is cut off.

    Args:
        rng: random numbers.
        seconds: to fill.
        voice: whose pace is used.
        pauses: share of the time in which nobody speaks, on average, in [0, 1].
    """
    spoken: list[Spoken] = []
    time = 0.0
    for name, length in _endless(rng, voice, pauses):
        spoken.append(Spoken(name, time, min(time + length, seconds)))
        time += length
        if time >= seconds:
            return spoken
    raise AssertionError("speech is endless")


def _endless(rng: np.random.Generator, voice: Voice, pauses: float) -> Iterator[tuple[str, float]]:
    """Yield sounds and their lengths in seconds; a recording starts anywhere in a pause, or with speech."""
    pause = UTTERANCE * pauses / max(1 - pauses, 1e-9)
    first = True
    while True:
        if pauses >= 1:
            yield SILENCE, 1.0
            continue
        if pauses > 0:
            length = pause * rng.uniform(0.4, 1.6)
            yield SILENCE, max(length * rng.uniform(0, 1) if first else length, SHORTEST_CLOSURE)
        first = False
        for _ in range(rng.integers(*SYLLABLES)):
            yield from _syllable(rng, voice)


def _syllable(rng: np.random.Generator, voice: Voice) -> Iterator[tuple[str, float]]:
    names = []
    if rng.random() < 0.85:
        names.append(CONSONANTS[rng.choice(len(CONSONANTS), p=ONSETS)])
    names.append(VOWELS[rng.choice(len(VOWELS), p=NUCLEI)])
    if rng.random() < 0.25:
        names.append(CONSONANTS[rng.choice(len(CONSONANTS), p=ONSETS)])
    for name in names:
        length = PHONEMES[name].length * voice.pace * rng.uniform(0.75, 1.35)
        yield name, max(length, SHORTEST_CLOSURE) if name in CLOSED else length
