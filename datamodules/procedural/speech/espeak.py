"""Real words by espeak-ng, with the times of their sounds: the optional extra ``speech``.

espeak-ng is a library of C that says one thing at a time, and what it says depends on what it said before. So it is
loaded anew for every utterance, under a lock, which also keeps processes from being forked meanwhile: the same words in
the same voice are the same samples, whatever was said before, in any thread and any process. An utterance takes 8 ms.
"""

import _ctypes
import ctypes
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.signal import resample_poly

from datamodules.procedural.speech.phonemes import PHONEMES, SILENCE, Spoken
from datamodules.procedural.speech.synthesis import SAMPLE_RATE
from visionscapes.errors import UserError

Float = NDArray[np.float32]

VARIANTS = tuple(f"{kind}{number}" for kind, count in (("m", 8), ("f", 5)) for number in range(1, count + 1))
# Constants of espeak-ng's speak_lib.h.
SYNCHRONOUS, PHONEMES_IN_IPA, DO_NOT_EXIT = 2, 0x0003, 0x8000
RATE, PITCH, RANGE = 1, 3, 4
BY_CHARACTER, UTF8 = 1, 1
END_OF_EVENTS, PHONEME = 0, 7

# Letters of the phonetic alphabet and the sound of ours that has the same lips; others change nothing.
SAME_LIPS = {
    **dict.fromkeys("aæɑɐʌ", "a"),
    **dict.fromkeys("eɛ", "e"),
    **dict.fromkeys("iɪy", "i"),
    **dict.fromkeys("oɔɒ", "o"),
    **dict.fromkeys("uʊ", "u"),
    **dict.fromkeys("əɚɜɝᵻ", "@"),
    **{letter: letter for letter in "pbmfvnlwjszdtkhr"},
    **{"ŋ": "n", "ɹ": "r", "ɾ": "d", "ʃ": "S", "ʒ": "S", "θ": "t", "ð": "d", "ɡ": "g", "g": "g", "ɫ": "l", "x": "k"},
}
STOPS = ("p", "t", "k", "b", "d", "g")
LONGEST_GAP, QUIET = 0.08, 0.005  # seconds of silence before the burst of a stop, and what counts as silent
LATE = 0.01  # seconds by which its times come after what is heard: where loudness and voice correlate best, measured
_one_at_a_time = threading.Lock()
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_one_at_a_time.acquire, after_in_parent=_one_at_a_time.release, after_in_child=_one_at_a_time.release
    )


@dataclass(frozen=True)
class EspeakVoice:
    """A voice of espeak-ng.

    Attributes:
        variant: of its voices, "m1" to "m8" or "f1" to "f5".
        pitch: 0 to 99; 50 is the variant's own.
        melody: 0 to 99, how far the pitch rises and falls; 50 is normal.
        words: a minute, 80 to 450.
        loudness: factor on the samples.
    """

    variant: str = "m1"
    pitch: int = 50
    melody: int = 50
    words: int = 165
    loudness: float = 0.8


def sample_espeak_voice(rng: np.random.Generator) -> EspeakVoice:
    """Draw a voice."""
    return EspeakVoice(
        variant=VARIANTS[rng.integers(len(VARIANTS))],
        pitch=int(rng.integers(30, 71)),
        melody=int(rng.integers(30, 81)),
        words=int(rng.integers(140, 191)),
        loudness=rng.uniform(0.4, 1.0),
    )


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_TAKEN = (ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))  # samples, how many, what happened
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, *_TAKEN)


def check_installed() -> None:
    """Raise if espeak-ng is not there.

    Raises:
        UserError: with what to install.
    """
    with _one_at_a_time, _library():
        pass


@contextmanager
def _library() -> Iterator[tuple[Any, bytes]]:
    """Load the library as if nobody had spoken yet, and give it and the folder of its data."""
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except (ImportError, OSError) as error:
        raise UserError(
            "Real words take espeak-ng, which is not installed: pip install 'visionscapes[speech]', or choose"
            " speech=formants, which needs nothing"
        ) from error
    try:
        yield library, os.fsencode(espeakng_loader.get_data_path())
    finally:
        unload = getattr(_ctypes, "dlclose" if os.name == "posix" else "FreeLibrary")
        unload(library._handle)


def say(text: str, voice: EspeakVoice) -> tuple[Float, list[Spoken]]:
    """Say an English text.

    Args:
        text: words.
        voice: that says them.

    Returns:
        (N,) float32 in [-1, 1], mono at 16 kHz, and the sounds in their order, without gaps, in seconds.

    Raises:
        UserError: espeak-ng is not installed, or does not start.
    """
    pieces: list[NDArray[np.int16]] = []
    events: list[tuple[float, str]] = []

    def receive(samples: Any, count: int, told: Any) -> int:
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        index = 0
        while told[index].type != END_OF_EVENTS:
            if told[index].type == PHONEME:
                events.append((told[index].audio_position / 1000, told[index].id.string.decode("utf-8", "ignore")))
            index += 1
        return 0

    callback = _Callback(receive)
    words = text.encode() + b"\0"
    with _one_at_a_time, _library() as (library, data):
        rate = library.espeak_Initialize(SYNCHRONOUS, 0, data, PHONEMES_IN_IPA | DO_NOT_EXIT)
        if rate <= 0 or library.espeak_SetVoiceByName(f"en-us+{voice.variant}".encode()) != 0:
            raise UserError(f"espeak-ng does not start with the voice en-us+{voice.variant} of {os.fsdecode(data)}")
        try:
            library.espeak_ng_SetRandSeed(ctypes.c_long(1))  # of the breath in some voices; else it is the time
            library.espeak_SetSynthCallback(callback)
            for option, value in ((RATE, voice.words), (PITCH, voice.pitch), (RANGE, voice.melody)):
                library.espeak_SetParameter(option, value, 0)
            library.espeak_Synth(words, ctypes.c_size_t(len(words)), 0, BY_CHARACTER, 0, UTF8, None, None)
            library.espeak_Synchronize()
        finally:
            library.espeak_Terminate()
    sound: Float = np.concatenate([np.zeros(0, np.int16), *pieces]).astype(np.float32) / np.float32(2**15)
    spoken = timed_sounds(events, sound, rate)
    divisor = int(np.gcd(SAMPLE_RATE, rate))
    resampled = resample_poly(sound, SAMPLE_RATE // divisor, rate // divisor) * voice.loudness
    return resampled.clip(-1, 1).astype(np.float32), spoken


def timed_sounds(events: Sequence[tuple[float, str]], sound: Float, rate: int) -> list[Spoken]:
    """Return the sounds of ours that have the lips of what espeak-ng says.

    A diphthong becomes two sounds of equal length. The silence before the burst of a stop, in which lips or tongue are
    shut, may come before espeak-ng's time of the stop; it belongs to it.

    Args:
        events: seconds at which phonemes start, and these in the phonetic alphabet, in order.
        sound: (N,) samples in [-1, 1].
        rate: of the samples, a second.
    """
    end = len(sound) / rate
    starts: list[tuple[float, str]] = [(0.0, SILENCE)]
    times = [max(start - LATE, 0.0) for start, _ in events]
    for (_, letters), start, following in zip(events, times, [*times[1:], end], strict=True):
        names = [SAME_LIPS[letter] for letter in letters if letter in SAME_LIPS] or [SILENCE]
        if names[0] in STOPS:
            earliest = max(starts[-1][0] + 0.01, start - LONGEST_GAP)
            begin = min(start, max(earliest, _silent_since(sound, start, rate)))
        else:
            begin = start
        starts += [(begin + k * (following - begin) / len(names), name) for k, name in enumerate(names)]
    ends = [start for start, _ in starts[1:]] + [end]
    return [
        Spoken(name, start, stop)
        for (start, name), stop in zip(starts, ends, strict=True)
        if stop > start and name in PHONEMES
    ]


def _silent_since(sound: Float, time: float, rate: int) -> float:
    """Return since when, in seconds, there was silence at a time."""
    before = np.abs(sound[: round(time * rate)]) > QUIET
    loud = np.flatnonzero(before)
    return (loud[-1] + 1) / rate if len(loud) else 0.0
