"""Random changes of faces and of loudness that leave alone whether they belong together."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from visionscapes.checks import NonNegativeFloat, Share, ShareBelowOne, check_options

DECIBELS = 100 / 8  # that the mel spectrogram's unit stands for


@dataclass(frozen=True)
class SyncAugmentation:
    """How training windows are changed, each window with its five frames alike; nothing by default, as in Wav2Lip.

    Attributes:
        flip: whether half of the windows are mirrored.
        colour: largest relative change of brightness, contrast and of each colour.
        shift: largest displacement of the face, as a share of its side.
        loudness: largest change of the sound in dB.

    Raises:
        UserError: an option is out of its bounds.
    """

    flip: bool = False
    colour: ShareBelowOne = 0.0
    shift: Share = 0.0
    loudness: NonNegativeFloat = 0.0

    def __post_init__(self) -> None:
        check_options(SyncAugmentation, vars(self))

    def of_faces(self, faces: Tensor) -> Tensor:
        """Return windows (N, 5, 3, S, S) in [0, 1] changed at random, drawn from torch's generator of the CPU."""
        count = len(faces)
        if self.flip:
            mirrored = (torch.rand(count) < 0.5).to(faces.device)
            faces = torch.where(mirrored[:, None, None, None, None], faces.flip(-1), faces)
        if self.shift:
            faces = _shifted(faces, round(self.shift * faces.shape[-1]))
        if self.colour:
            brightness, contrast = (self._around_1(count, 1).to(faces) for _ in range(2))
            tint = self._around_1(count, 3).to(faces)
            middle = faces.mean((1, 2, 3, 4), keepdim=True)
            faces = (((faces - middle) * contrast + middle) * brightness * tint).clamp(0, 1)
        return faces

    def of_sound(self, mel: Tensor) -> Tensor:
        """Return windows of mel spectrograms (N, 80, 16) in [-4, 4], louder or softer."""
        if not self.loudness:
            return mel
        change = (2 * torch.rand(len(mel), 1, 1) - 1) * self.loudness / DECIBELS
        return (mel + change.to(mel)).clamp(-4, 4)

    def _around_1(self, count: int, channels: int) -> Tensor:
        return 1 + self.colour * (2 * torch.rand(count, 1, channels, 1, 1) - 1)


def _shifted(faces: Tensor, most: int) -> Tensor:
    """Return windows displaced by up to ``most`` pixels each way; borders are repeated."""
    if not most:
        return faces
    side = faces.shape[-1]
    padded = F.pad(faces.flatten(1, 2), (most,) * 4, mode="replicate")
    corners = torch.randint(0, 2 * most + 1, (len(faces), 2)).tolist()
    cut = [window[:, y : y + side, x : x + side] for window, (y, x) in zip(padded, corners, strict=True)]
    return torch.stack(cut).unflatten(1, faces.shape[1:3])
