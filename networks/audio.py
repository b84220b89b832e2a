"""Mel spectrograms of speech as networks of lips take them, and which of their steps belong to a frame of a video."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from visionscapes.media import FRAME_RATE, SAMPLE_RATE

MEL_RATE = 80  # steps of a mel spectrogram a second
MEL_BINS = 80
WINDOW_FRAMES = 5  # what a SyncNet looks at: a fifth of a second ...
MEL_WINDOW = 16  # ... and hears, in steps of the mel spectrogram

HOP = SAMPLE_RATE // MEL_RATE  # samples from one step to the next
FFT = 800  # samples that a step looks at, centred on it
LOWEST, HIGHEST = 55.0, 7600.0  # Hz, of the mel bins
PRE_EMPHASIS = 0.97
LEAST_MAGNITUDE = 1e-5  # -100 dB
REFERENCE_LEVEL = 20.0  # dB that are subtracted
LOWEST_LEVEL = -100.0  # dB, becomes -LIMIT; 0 dB becomes LIMIT
LIMIT = 4.0
ROUNDING = 1e-6  # steps: the time of a frame is a fraction, of which a float may be a little less
STEPS_AT_ONCE = 1024  # 13 s, whose spectra take 3 MB


class MelSpectrogram(nn.Module):
    """The mel spectrogram of Wav2Lip and Diff2Lip: 80 Slaney bins of 55 to 7600 Hz, 80 times a second, in [-4, 4].

    Pre-emphasis of 0.97; magnitudes of a Fourier transform over 800 samples with a Hann window, zeros beyond the ends;
    in dB below 20 dB, of which [-100, 0] becomes [-4, 4]. It computes in float32 whatever the precision of the rest:
    differences of quiet sounds are beyond bfloat16, so the module keeps its constants in float32 when it is converted.
    """

    filters: Tensor
    window: Tensor

    def __init__(self) -> None:
        super().__init__()
        self._make_constants(torch.get_default_device())

    @override
    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        super()._apply(fn, recurse)
        self._make_constants(self.filters.device)
        return self

    def _make_constants(self, device: torch.device) -> None:
        filters = torch.from_numpy(slaney_filters()).to(device, torch.float32)
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("window", torch.hann_window(FFT, dtype=torch.float32, device=device), persistent=False)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the mel spectrogram of mono sound at 16 kHz.

        Args:
            audio: (..., N) of any floating type, in [-1, 1]; it may be shorter than a step, and empty.

        Returns:
            (..., 80, M) float32 in [-4, 4] with M = 1 + N // 200; step m looks at samples 200 m - 400 to 200 m + 399.

        Raises:
            TypeError: the samples are whole numbers, of which nobody knows the range.
        """
        if not audio.is_floating_point():
            raise TypeError(f"sound has to be floating-point samples in [-1, 1], not {audio.dtype}")
        steps = 1 + audio.shape[-1] // HOP
        with torch.autocast(audio.device.type, enabled=False):
            parts = (range(steps)[first : first + STEPS_AT_ONCE] for first in range(0, steps, STEPS_AT_ONCE))
            return torch.cat([self._levels(_emphasised(audio, part)) for part in parts], dim=-1)

    def _levels(self, steps: Tensor) -> Tensor:
        """Return the levels (..., 80, m) of steps (..., m, 800)."""
        magnitudes = torch.fft.rfft(steps * self.window).abs()
        mel = self.filters @ magnitudes.transpose(-1, -2)
        decibels = 20 * mel.clamp_min(LEAST_MAGNITUDE).log10() - REFERENCE_LEVEL
        return (2 * LIMIT * (decibels - LOWEST_LEVEL) / -LOWEST_LEVEL - LIMIT).clamp(-LIMIT, LIMIT)


def _emphasised(audio: Tensor, steps: range) -> Tensor:
    """Return what some steps look at of sound (..., N), after pre-emphasis, with zeros beyond the ends.

    Returns:
        (..., len(steps), 800) float32, a view.
    """
    start, end = steps[0] * HOP - FFT // 2, steps[-1] * HOP + FFT // 2
    begin, stop = max(start, 0), min(end, audio.shape[-1])
    own = audio[..., begin:stop].float()
    before = audio[..., begin - 1 : stop - 1].float() if begin else F.pad(own, (1, 0))[..., :-1]
    return F.pad(own - PRE_EMPHASIS * before, (begin - start, end - stop)).unfold(-1, FFT, HOP)


def slaney_filters() -> NDArray[np.float64]:
    """Return the weights (80, 401) of the frequencies of the transform in the mel bins: triangles of area 1."""
    edges = _hertz(np.linspace(_mel(LOWEST), _mel(HIGHEST), MEL_BINS + 2))
    frequencies = np.linspace(0, SAMPLE_RATE / 2, FFT // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising, falling = (frequencies - low) / (centre - low), (high - frequencies) / (high - centre)
    return np.maximum(0, np.minimum(rising, falling)) * 2 / (high - low)


# Slaney's scale: linear up to 1 kHz, which is 15 mel, and logarithmic above, 27 mel for a factor of 6.4.
def _mel(hertz: float) -> float:
    return 3 * hertz / 200 if hertz < 1000 else 15 + 27 * float(np.log(hertz / 1000) / np.log(6.4))


def _hertz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, 200 * mel / 3, 1000 * 6.4 ** ((mel - 15) / 27))


def mel_start(frame: int) -> int:
    """Return the step of the mel spectrogram at which a frame of the video begins, 3.2 steps a frame rounded down."""
    return frame * MEL_RATE // FRAME_RATE


def mel_windows(mel: Tensor, frames: Tensor | Sequence[int]) -> Tensor:
    """Return the sound of the five-frame windows that start at some frames.

    Args:
        mel: (..., 80, M) mel spectrogram.
        frames: (W,) whole numbers, each at least 0 and below `whole_windows`.

    Returns:
        (..., W, 80, 16).

    Raises:
        IndexError: a window does not lie within the spectrogram.
    """
    starts = torch.as_tensor(frames, dtype=torch.int64, device=mel.device) * MEL_RATE // FRAME_RATE
    if starts.numel() and (int(starts.min()) < 0 or int(starts.max()) + MEL_WINDOW > mel.shape[-1]):
        raise IndexError(f"windows from step {int(starts.min())} to {int(starts.max())} of {mel.shape[-1]}")
    windows: Any = mel[..., starts[:, None] + torch.arange(MEL_WINDOW, device=mel.device)]  # (..., 80, W, 16)
    return windows.movedim(-2, -3)


def frame_mels(mel: Tensor, frames: Tensor | Sequence[int]) -> Tensor:
    """Return the sound by which each frame of a dubbed video is made: 16 steps from where the frame before it begins.

    So it reaches from frame f - 1 to f + 3, as in Wav2Lip and in the published weights of Diff2Lip, which count frames
    from 1 here and take two off; the middle is one frame later than the frame's own.

    Args:
        mel: (..., 80, M) mel spectrogram; M may be 0.
        frames: F, any shape, whole numbers of at least 0; there is silence beyond the end of the sound.

    Returns:
        (..., *F, 80, 16).
    """
    frames = torch.as_tensor(frames, dtype=torch.int64, device=mel.device)
    return _mels_from(mel, (frames - 1).clamp_min(0) * MEL_RATE // FRAME_RATE)


def frame_mels_at(mel: Tensor, times: Tensor | Sequence[float]) -> Tensor:
    """Return the sound by which frames of a video of any rate are made; at 25 frames a second that of `frame_mels`.

    Args:
        mel: (..., 80, M) mel spectrogram; M may be 0.
        times: F, any shape, seconds of the sound when frames are shown.

    Returns:
        (..., *F, 80, 16).
    """
    times = torch.as_tensor(times, dtype=torch.float64, device="cpu")  # not every accelerator has float64
    starts = (MEL_RATE * (times - 1 / FRAME_RATE).clamp_min(0) + ROUNDING).floor()
    return _mels_from(mel, starts.to(mel.device, torch.int64))


def _mels_from(mel: Tensor, starts: Tensor) -> Tensor:
    """Return 16 steps (..., *F, 80, 16) from each of some steps F on, with silence beyond the end."""
    padded = F.pad(mel, (0, MEL_WINDOW), value=-LIMIT)
    steps = starts.clamp_max(mel.shape[-1])[..., None] + torch.arange(MEL_WINDOW, device=mel.device)
    return padded[..., steps].movedim(mel.dim() - 2, -2)


def whole_windows(frames: int, steps: int) -> int:
    """Return V, how many windows of five frames, with starts 0 to V - 1, have all of their frames and mel steps.

    Args:
        frames: T, of the video.
        steps: M, of the mel spectrogram.
    """
    # The last start s has MEL_RATE * s // FRAME_RATE + MEL_WINDOW <= steps.
    heard = -(-(steps - MEL_WINDOW + 1) * FRAME_RATE // MEL_RATE)
    return max(0, min(frames - WINDOW_FRAMES + 1, heard))
