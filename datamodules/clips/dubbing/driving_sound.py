"""The sound that a video is dubbed with, as a network hears it, piece by piece."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from networks.audio import FFT, HOP, LIMIT, MEL_BINS, MEL_RATE, MEL_WINDOW, MelSpectrogram, frame_mels_at
from visionscapes.media import SAMPLE_RATE
from visionscapes.media.sound import read_sound_blocks

SILENCE = 1e-3  # -60 dB: sound that never exceeds it holds no speech
STEPS = 800  # of the mel spectrogram that are made at once
BEFORE = FFT // 2 // HOP + 1  # steps at the start of a piece that would be others within the whole sound
ROOM = 2 * MEL_WINDOW  # steps that are kept of what was asked for last


class DrivingSound:
    """Sound in a file, of which no more than some seconds are in memory.

    Attributes:
        seconds: that it lasts.
        peaks: (M,) float32, the loudest sample of each step of the mel spectrogram, 80 a second.

    Args:
        path: of a file of sound, or of video with sound; it is read to the end to know how long it is.

    Raises:
        ClipError: the file cannot be read, or has no sound.
    """

    def __init__(self, path: Path):
        self.path = path
        count, peaks, rest = 0, [], np.zeros(0, np.float32)
        for block in read_sound_blocks(path):
            count += len(block)
            block = np.append(rest, np.abs(block))
            whole = len(block) // HOP * HOP
            peaks.append(block[:whole].reshape(-1, HOP).max(1))
            rest = block[whole:]
        peaks += [rest.max(keepdims=True)] if len(rest) else []
        self.seconds, self.peaks = count / SAMPLE_RATE, np.concatenate(peaks)
        self._blocks: Iterator[NDArray[np.float32]] = read_sound_blocks(path)
        self._spectrogram = MelSpectrogram()
        self._audio, self._audio_step, self._ended = np.zeros(0, np.float32), 0, False
        self._mel, self._mel_step = torch.zeros(MEL_BINS, 0), 0

    def is_silent(self, times: NDArray[np.float64], seconds: float) -> NDArray[np.bool_]:
        """Return whether there is silence (F,), or no sound any more, at some times for some seconds from each on."""
        steps = (times * MEL_RATE).astype(np.int64)
        reach = np.arange(int(np.ceil(seconds * MEL_RATE)) + 1)
        peaks = np.append(self.peaks, 0.0)
        return peaks[np.minimum(steps[:, None] + reach, len(self.peaks))].max(1) <= SILENCE

    def frame_mels(self, times: NDArray[np.float64]) -> Tensor:
        """Return the sound (F, 80, 16) by which frames are made, see `networks.audio.frame_mels_at`.

        Args:
            times: (F,) seconds, which rise, also from call to call.
        """
        first = max(0, int(times[0] * MEL_RATE) - ROOM)
        while not self._ended and self._mel_step + self._mel.shape[1] < times[-1] * MEL_RATE + ROOM:
            self._go_on()
        drop = min(max(0, first - self._mel_step), self._mel.shape[1])
        self._mel, self._mel_step = self._mel[:, drop:].clone(), self._mel_step + drop
        if not self._mel.shape[1]:
            return torch.full((len(times), MEL_BINS, MEL_WINDOW), -LIMIT)
        return frame_mels_at(self._mel, torch.from_numpy(times - self._mel_step / MEL_RATE))

    def _go_on(self) -> None:
        """Make some more steps of the mel spectrogram."""
        start = self._mel_step + self._mel.shape[1]
        needed = (start + STEPS - self._audio_step) * HOP + FFT // 2
        pieces, have = [self._audio], len(self._audio)
        while have < needed and not self._ended:
            block = next(self._blocks, None)
            self._ended = block is None
            pieces += [] if block is None else [block]
            have += 0 if block is None else len(block)
        self._audio = np.concatenate(pieces)
        heard = self._audio if self._ended else self._audio[:needed]
        steps = self._spectrogram(torch.from_numpy(heard))[:, start - self._audio_step :]
        self._mel = torch.cat([self._mel, steps if self._ended else steps[:, :STEPS]], 1)
        dropped = max(0, self._mel_step + self._mel.shape[1] - BEFORE - self._audio_step)
        self._audio, self._audio_step = self._audio[dropped * HOP :].copy(), self._audio_step + dropped
