"""Whether a mouth moves where there is nothing to hear."""

import torch
from torch import Tensor
from torch.nn import functional as F
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat
from typing_extensions import override

from metrics.estimate import Estimate, ratio_estimate
from metrics.landmark_distance import eye_distances

FRAME_RATE, SAMPLES = 25, 640  # frames a second, and samples of sound a frame at 16 kHz
INNER_LIPS = ((61, 67), (62, 66), (63, 65))  # upper and lower points of iBUG 300-W that face each other


class MouthMovement(Metric):
    """Speed at which the lips open and close, in silence and in speech.

    A frame is silent whose sound is ``below`` the loudest frame of its clip, or below ``floor``, and so are those of
    ``margin`` frames before and behind it, in which a mouth may still close or already open. Movement is the change of
    the inner lips' opening from one silent frame to the next.

    Args:
        below: level in dB under the clip's loudest frame from which on a frame is silent.
        floor: level in dB of full scale below which any frame is silent.
        margin: frames.

    Returns:
        ``compute`` gives "movement in silence" and "movement in speech", in distances of the outer corners of the eyes
        a second over all frames, with errors over clips, and "silence / speech", their ratio without an error, to
        ``Estimate`` whose count is the clips that have any. NaN where there is no silence or no speech.
    """

    full_state_update = False
    samples: list[Tensor]

    def __init__(self, below: float = 40.0, floor: float = -60.0, margin: int = 3):
        super().__init__()
        self.below, self.floor, self.margin = below, floor, margin
        # One flat state: torchmetrics gathers an empty float vector from a rank that has seen no clip.
        self.add_state("samples", default=[], dist_reduce_fx="cat")

    @override
    def update(self, landmarks: Tensor, audio: Tensor, known: Tensor | None = None) -> None:
        """Add a clip.

        Args:
            landmarks: (T, 68, 2) xy in pixels.
            audio: (N,) in [-1, 1], mono at 16 kHz; frames beyond its end are silent.
            known: (T,) bool, frames with a face; all if None.
        """
        known = torch.ones(len(landmarks), dtype=torch.bool, device=landmarks.device) if known is None else known
        quiet = silent_frames(audio.to(landmarks.device), len(landmarks), self.below, self.floor)
        opening = inner_opening(landmarks) / eye_distances(landmarks)[known].mean()
        speed = opening.diff().abs() * FRAME_RATE
        both = known[1:] & known[:-1]
        deep = _eroded(quiet, self.margin)
        row = []
        for frames in (deep, ~quiet):
            counted = both & frames[1:] & frames[:-1]
            row += [speed[counted].sum(), counted.sum()]
        self.samples.append(torch.stack([each.float() for each in row]))

    @override
    def compute(self) -> dict[str, Estimate]:
        """Return the three estimates."""
        samples = dim_zero_cat(self.samples) if len(self.samples) else torch.zeros(0, device=self.device)
        silent, silent_frames, spoken, spoken_frames = samples.double().reshape(-1, 4).T
        silence, speech = ratio_estimate(silent, silent_frames), ratio_estimate(spoken, spoken_frames)
        ratio = Estimate(silence.value / speech.value, silence.value.new_tensor(torch.nan), silence[2])
        return {"movement in silence": silence, "movement in speech": speech, "silence / speech": ratio}


def inner_opening(landmarks: Tensor) -> Tensor:
    """Return how far the inner lips are apart (T,) float64, in pixels of landmarks (T, 68, 2): mean of three pairs."""
    gaps = [(landmarks[:, upper].double() - landmarks[:, lower].double()).norm(dim=1) for upper, lower in INNER_LIPS]
    return torch.stack(gaps).mean(0)


def silent_frames(audio: Tensor, frames: int, below: float = 40.0, floor: float = -60.0) -> Tensor:
    """Return which frames are silent, (T,) bool, by the level of their 40 ms of sound.

    Args:
        audio: (N,) in [-1, 1] at 16 kHz.
        frames: T.
        below: dB under the loudest frame.
        floor: dB of full scale.
    """
    padded = F.pad(audio.double(), (0, max(0, frames * SAMPLES - len(audio))))[: frames * SAMPLES]
    levels = 10 * torch.log10(padded.reshape(frames, SAMPLES).square().mean(1).clamp(min=1e-20))
    return (levels < levels.max() - below) | (levels < floor) if frames else levels.new_zeros(0, dtype=torch.bool)


def _eroded(mask: Tensor, margin: int) -> Tensor:
    """Return the frames all of whose neighbours within ``margin`` frames are in the mask, where there are any."""
    outside = (~mask).float()[None, None]
    return F.max_pool1d(outside, 2 * margin + 1, stride=1, padding=margin)[0, 0] == 0 if len(mask) else mask
