"""A stretch of silence in a recording, as where somebody turned the microphone off; the mouth is shut meanwhile."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from datamodules.procedural.speech.articulation import FRAME_RATE, mouth_shapes
from datamodules.procedural.speech.phonemes import SILENCE, Spoken
from datamodules.procedural.speech.speech import Speech
from datamodules.procedural.speech.synthesis import ONSET, ROOM, SAMPLE_RATE


def with_silence(speech: Speech, share: float, rng: np.random.Generator) -> Speech:
    """Return a recording in which nobody speaks for a share of the time, in one stretch somewhere.

    Args:
        speech: to be silenced.
        share: of its frames, in [0, 1]; with less than half a frame it stays as it is.
        rng: random numbers of the place and of the noise of the room, which is heard instead.
    """
    frames = len(speech.opening)
    count = round(share * frames)
    if not count:
        return speech
    first = int(rng.integers(frames - count + 1))
    begin, end = first / FRAME_RATE, (first + count) / FRAME_RATE
    samples = len(speech.audio)
    time = np.arange(samples) / SAMPLE_RATE
    heard = (np.maximum(begin - time, time - end) / ONSET).clip(0, 1).astype(np.float32)
    audio = heard * speech.audio + (1 - heard) * ROOM * rng.standard_normal(samples, np.float32)
    spoken = silenced(speech.spoken, begin, end)
    opening, width = mouth_shapes(spoken, frames)
    return replace(speech, audio=audio, opening=opening, width=width, spoken=spoken)


def silenced(spoken: Sequence[Spoken], begin: float, end: float) -> list[Spoken]:
    """Return sounds, in their order and without gaps, with silence from ``begin`` to ``end`` (seconds)."""
    before = [replace(each, end=min(each.end, begin)) for each in spoken if each.start < begin]
    after = [replace(each, start=max(each.start, end)) for each in spoken if each.end > end]
    return [*before, Spoken(SILENCE, begin, end), *after]
