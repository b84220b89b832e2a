"""What a generator of mouths learns from, and what it makes mouths for."""

from typing import NamedTuple

import torch
from torch import Tensor


class Windows(NamedTuple):
    """Training windows of five frames.

    Attributes:
        faces: (N, 5, 3, S, S) in [0, 1].
        truth: (N, 5, 3, h, w) in [-1, 1], the region of the faces.
        reference: (N, 5, 3, h, w) in [-1, 1], another window of the same clip.
        mask: (N, 5, 1, h, w), 1 where it is to be generated.
        frame_mel: (N, 5, 80, 16), the sound of each frame.
        mel: (N, 80, 16), the sound of the window.
    """

    faces: Tensor
    truth: Tensor
    reference: Tensor
    mask: Tensor
    frame_mel: Tensor
    mel: Tensor

    def single(self) -> "Windows":
        """Return one frame of each window, drawn by torch's generator: (N, 1, ...); the sound of the window stays."""
        frame = torch.randint(self.truth.shape[1], (len(self.truth),)).to(self.truth.device)
        windows = torch.arange(len(frame), device=frame.device)
        parts = {name: part[windows, frame][:, None] for name, part in self._asdict().items() if name != "mel"}
        return Windows(**parts, mel=self.mel)

    def every(self, step: int) -> "Windows":
        """Return every ``step``-th window, the first at least."""
        return Windows(*(part[::step] for part in self))

    def outside_true(self, frames: Tensor) -> Tensor:
        """Return frames (N, 5, 3, h, w) in which nothing but the masked part is generated."""
        return torch.where(self.mask > 0, frames, self.truth.to(frames.dtype))


class Frames(NamedTuple):
    """Frames to dub.

    Attributes:
        input: (T, 3, h, w) in [-1, 1], the region of the faces.
        reference: (T, 3, h, w) in [-1, 1], of the faces that show the person.
        mask: (T, 1, h, w), 1 where it is to be generated.
        frame_mel: (T, 80, 16), the sound of each frame.
        numbers: (T,) int64 on the CPU, those of the frames in their video.
    """

    input: Tensor
    reference: Tensor
    mask: Tensor
    frame_mel: Tensor
    numbers: Tensor
