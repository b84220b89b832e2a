"""Makes sounds audible: a voice and breath, filtered by the resonances of the vocal tract (Klatt 1980).

The filter changes every 5 ms. It acts on the spectra of overlapping windows, so a clip takes a handful of array
operations instead of a loop over its samples; its phase is 0.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, rfft

from datamodules.procedural.speech.articulation import STEP, smoothed, targets
from datamodules.procedural.speech.phonemes import Spoken
from datamodules.procedural.speech.voices import Voice

Float = NDArray[np.float32]

SAMPLE_RATE = 16_000
HOP = round(STEP * SAMPLE_RATE)
WINDOW, SPECTRUM = 4 * HOP, 768  # samples; the rest of a spectrum is room for the ringing of the formants
GLIDE, ONSET = 0.05, 0.015  # seconds in which formants and strengths go from sound to sound
BANDWIDTHS = (80.0, 110.0, 160.0, 250.0, 350.0)  # of the formants, Hz
HIGH_FORMANTS = (3500.0, 4500.0)  # which are those of the speaker, whatever is said
BURST = 1 / 3  # share of a stop in which its noise is heard
GAIN = 0.8  # brings the loudest vowels near 1
ROOM = 3e-4  # standard deviation of the noise of the recording


def synthesise(spoken: Sequence[Spoken], voice: Voice, samples: int, rng: np.random.Generator) -> Float:
    """Return the sound of what is spoken.

    Args:
        spoken: sounds in their order, without gaps, from 0 s on.
        voice: of the speaker.
        samples: N, at 16 kHz.
        rng: random numbers of breath and pitch.

    Returns:
        (N,) float32 in [-1, 1].
    """
    steps = -(-samples // HOP) + 4  # windows; the first is half before the start
    times = ((np.arange(steps) - 1) * STEP).clip(0)
    formants, voiced, noise, band = targets(spoken, times, "formants", "voice", "noise", "band")
    noise = noise * _bursts(spoken, times)
    formants = smoothed(formants, GLIDE) * voice.tract
    voiced, noise = smoothed(voiced, ONSET), smoothed(noise, ONSET / 2)

    frequencies = np.arange(SPECTRUM // 2 + 1, dtype=np.float32) * np.float32(SAMPLE_RATE / SPECTRUM)
    tract = _resonances(formants, voice.tract, frequencies)
    octaves = np.log2(np.maximum(frequencies, 60) / 60)
    tract_of_voice = tract * (10 ** (-voice.tilt / 20 * octaves)).astype(np.float32)
    hiss = np.exp(-(((frequencies - band[:, :1]) / band[:, 1:]) ** 2).astype(np.float32))

    length = (steps - 1) * HOP + WINDOW
    breath = rng.standard_normal(length, np.float32)
    spectrum = _spectra(_pulses(rng, voice, length)) * (tract_of_voice * voiced[:, None].astype(np.float32))
    strength = (0.25 * noise[:, None]).astype(np.float32) * hiss
    strength += (0.3 * voice.breath * voiced[:, None]).astype(np.float32) * tract_of_voice
    spectrum += _spectra(breath) * strength
    sound = _overlapped(spectrum)[2 * HOP : 2 * HOP + samples]
    sound = np.tanh(sound * np.float32(GAIN)) * np.float32(voice.loudness)
    return np.clip(sound + ROOM * rng.standard_normal(samples, np.float32), -1, 1)


def _pulses(rng: np.random.Generator, voice: Voice, length: int) -> Float:
    """Return the pulses (length,) of the vocal folds, of one energy whatever the pitch, whose melody wanders slowly."""
    knots = rng.normal(0, 1, length // 4000 + 3)  # every quarter of a second
    melody = np.interp(np.arange(length) / 4000, np.arange(len(knots)), knots)
    period = SAMPLE_RATE / (voice.pitch * np.exp(0.7 * voice.melody * melody))
    turns = np.cumsum(1 / period)
    starts = np.flatnonzero(np.diff(np.floor(turns)))
    # A pulse between two samples is shared by them.
    late = (turns[starts + 1] - np.floor(turns[starts + 1])) * period[starts + 1]
    late = np.clip(late, 0, 1)
    height = np.sqrt(period[starts]) * (1 + 0.05 * rng.normal(size=len(starts)))
    pulses = np.zeros(length, np.float32)
    pulses[starts] += late * height
    pulses[starts + 1] += (1 - late) * height
    return pulses


def _bursts(spoken: Sequence[Spoken], times: NDArray) -> NDArray:
    """Return 0 where a stop is still shut, 1 elsewhere, at times (N,)."""
    ends = np.array([each.end for each in spoken])
    starts = np.array([each.start for each in spoken])
    which = np.searchsorted(ends, times, side="right").clip(0, len(spoken) - 1)
    (is_stop,) = targets(spoken, times, "burst")
    done = (times - starts[which]) / np.maximum(ends - starts, 1e-9)[which]
    return np.where((is_stop > 0) & (done < 1 - BURST), 0.0, 1.0)


def _resonances(formants: NDArray, tract: float, frequencies: Float) -> Float:
    """Return the gain (N, F) of resonators in series at formants (N, 3) Hz and two high ones that do not move."""
    gain = np.ones((len(formants), len(frequencies)), np.float32)
    squares = frequencies**2
    high = np.tile(np.array(HIGH_FORMANTS) * tract, (len(formants), 1))
    for centre, width in zip(np.concatenate([formants, high], 1).astype(np.float32).T, BANDWIDTHS, strict=True):
        peak = (centre**2)[:, None]
        gain *= peak / np.sqrt((peak - squares) ** 2 + np.float32(width**2) * squares + 1)
    return gain


def _spectra(sound: Float) -> NDArray[np.complex64]:
    """Return the spectra (N, F) of overlapping Hann windows of a sound."""
    windows = np.lib.stride_tricks.sliding_window_view(sound, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    framed = np.zeros((len(windows), SPECTRUM), np.float32)
    margin = (SPECTRUM - WINDOW) // 2
    framed[:, margin : margin + WINDOW] = windows * (hann / 2).astype(np.float32)
    return rfft(framed)


def _overlapped(spectra: NDArray[np.complex64]) -> Float:
    """Return the sum of the windows that have some spectra (N, F), from the first one's start on."""
    pieces = irfft(spectra, SPECTRUM)
    margin = (SPECTRUM - WINDOW) // 2
    total = np.zeros((len(pieces) - 1) * HOP + SPECTRUM, np.float32)
    # Windows that do not touch each other are added in one go.
    apart = -(-SPECTRUM // HOP)
    for first in range(apart):
        chosen = pieces[first::apart]
        padded = np.zeros((len(chosen), apart * HOP), np.float32)
        padded[:, :SPECTRUM] = chosen
        flat = padded.ravel()[: len(total) - first * HOP]
        total[first * HOP : first * HOP + len(flat)] += flat
    return total[margin:]
