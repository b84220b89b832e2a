"""Speech: sound of a voice of its own, and what the mouth does meanwhile, a function of (seed, index).

Formant speech in numpy: nobody would take it for a person's, but its formants, closures and hisses are those by which
people hear what lips do. Sound decides the shape of the mouth, and nothing else does: voices differ in pitch, vocal
tract, pace and breath, and these say nothing about it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.procedural.scenes.scenes import generator
from datamodules.procedural.speech.articulation import FRAME_RATE, mouth_shapes
from datamodules.procedural.speech.phonemes import Spoken
from datamodules.procedural.speech.syllables import draw_speech
from datamodules.procedural.speech.synthesis import SAMPLE_RATE, synthesise
from datamodules.procedural.speech.voices import Voice, sample_voice

VOICE, WORDS, SOUND = 16, 17, 18  # streams of random numbers, apart from those of the other worlds
PAUSES = 0.2


@dataclass(frozen=True)
class Speech:
    """A recording and the mouth that made it; T frames at 25 a second.

    Attributes:
        audio: (N,) float32 in [-1, 1], mono at 16 kHz; N = 640 T.
        opening: (T,) float32 of the lips in the middle of every frame, (k + 1/2) / 25 s for frame k, in [0, 1]; exactly
            0 in silence and while p, b and m shut them.
        width: (T,) float32 of the mouth at the same instants in [-1, 1]; negative is rounded, positive spread.
        spoken: the sounds, in their order and without gaps.
        voice: of the speaker; None if it is none of ours.
    """

    audio: NDArray[np.float32]
    opening: NDArray[np.float32]
    width: NDArray[np.float32]
    spoken: list[Spoken]
    voice: Voice | None = None


def speak(seed: int, index: int, seconds: float, voice: Voice | None = None, pauses: float = PAUSES) -> Speech:
    """Say something: syllables without meaning, in utterances with pauses between them.

    Args:
        seed: of the world.
        index: of the recording; any non-negative integer.
        seconds: of the recording, rounded to whole frames.
        voice: of the speaker, instead of that of (seed, index).
        pauses: share of the time in which nobody speaks, on average, in [0, 1].
    """
    frames = round(seconds * FRAME_RATE)
    voice = voice or sample_voice(generator(seed, index, VOICE))
    spoken = draw_speech(generator(seed, index, WORDS), frames / FRAME_RATE, voice, pauses)
    audio = synthesise(spoken, voice, frames * SAMPLE_RATE // FRAME_RATE, generator(seed, index, SOUND))
    opening, width = mouth_shapes(spoken, frames)
    return Speech(audio, opening, width, spoken=spoken, voice=voice)
