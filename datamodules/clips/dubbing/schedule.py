"""Which picture of a video is shown when, where the sound is longer or shorter than the video."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from visionscapes.media.video import steady_rate

Length = Literal["trim", "hold", "loop"]
Times = NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """The pictures of the dubbed video.

    Attributes:
        sources: (n,) int64, number of the picture in the video; they rise, but for a video that starts again.
        times: (n,) float64, when each is shown, in seconds after the first one.
        rate: pictures a second, on average if they are not steady.
        steady: whether all are shown for the same time.
        held: pictures at the end that are the video's last one.
        repeated: pictures of a video that started again.
        trimmed: pictures of the video that are left out, for the sound has ended.
        sound_left_out: seconds of the sound that are left out, for the video has ended.
        silence: seconds of the video for which there is no sound any more.
    """

    sources: NDArray[np.int64]
    times: Times
    rate: float
    steady: bool
    held: int = 0
    repeated: int = 0
    trimmed: int = 0
    sound_left_out: float = 0.0
    silence: float = 0.0

    def __len__(self) -> int:
        return len(self.sources)


def scheduled(times: Times, end: float, sound: float, length: Length) -> Schedule:
    """Return what is shown when.

    A picture has sound if the middle of its time has.

    Args:
        times: (N,) when the pictures of the video are shown, in seconds after the first one; N > 0.
        end: when the last of them ends.
        sound: seconds that the sound lasts.
        length: "trim" ends with the shorter one; "hold" holds the last picture while the sound goes on, and "loop"
            starts the video again; with both a video that is longer goes on in silence.
    """
    rate = steady_rate(times, end)
    steady = rate is not None
    rate = len(times) / end if rate is None else rate
    if steady:
        times, end = np.arange(len(times)) / rate, len(times) / rate
    middles = (times + np.append(times[1:], end)) / 2
    heard = max(1, int(np.searchsorted(middles, sound)))
    sources = np.arange(len(times))
    counts = {"held": 0, "repeated": 0, "trimmed": 0}
    if length == "trim":
        counts["trimmed"] = len(times) - heard
        sources, times, end = sources[:heard], times[:heard], float(np.append(times, end)[heard])
    elif heard == len(times) and length == "hold":
        counts["held"] = more = _steps(end, sound, 1 / rate)
        sources = np.append(sources, np.full(more, len(times) - 1))
        times, end = np.append(times, end + np.arange(more) / rate), end + more / rate
    elif heard == len(times):
        rounds = int(sound // end) + 1
        all_times = (times + end * np.arange(rounds)[:, None]).ravel()
        count = max(len(times), int(np.searchsorted((middles + end * np.arange(rounds)[:, None]).ravel(), sound)))
        counts["repeated"] = count - len(times)
        sources = np.tile(sources, rounds)[:count]
        times, end = all_times[:count], float(np.append(all_times, end * rounds)[count])
    if steady:
        times = np.arange(len(times)) / rate
    left_out, silence = max(0.0, sound - end), max(0.0, end - sound)
    return Schedule(sources, times, rate, steady=steady, **counts, sound_left_out=left_out, silence=silence)


def _steps(start: float, until: float, step: float) -> int:
    """Return of how many steps, one after the other from ``start`` on, the middle lies before ``until``."""
    return max(0, int(np.ceil((until - start) / step - 0.5 - 1e-9)))
