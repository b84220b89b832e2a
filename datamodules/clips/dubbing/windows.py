"""Windows to learn dubbing from: those of a SyncNet, and of each frame its own sound and landmarks."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from datamodules.clips.clip import Clip, landmarks_in_crops
from datamodules.clips.windows import SyncWindows, window_starts
from networks.audio import FRAME_RATE, MEL_RATE, MEL_WINDOW, WINDOW_FRAMES, frame_mels

# Of a clip with one window and all of its sound: that of its last frame begins with frame 3 and takes five.
LEAST_FRAMES = 2 * WINDOW_FRAMES - 2


class DubbingWindows(SyncWindows):
    """Windows of five frames with what each frame is made by, several of one clip a sample, at distinct starts.

    A sample holds what one of `SyncWindows` holds, "frame_mel" (W, 5, 80, 16) float32 in [-4, 4], see
    ``networks.audio.frame_mels``, and "landmarks" (W, 5, 68, 2) float32 in pixels of the faces. Windows whose sound
    ends before that of their last frame does are not drawn.
    """

    @override
    def starts_in(self, clip: Clip) -> NDArray[np.int64]:
        starts = window_starts(clip)
        before_last = starts + WINDOW_FRAMES - 2  # where the sound of the last frame begins
        return starts[before_last * MEL_RATE // FRAME_RATE + MEL_WINDOW <= clip.mel_steps]

    @override
    def sample(self, clip: Clip, frames: Tensor) -> dict[str, Any]:
        shown = frames[:, None] + torch.arange(WINDOW_FRAMES)
        landmarks = landmarks_in_crops(clip, shown.flatten().tolist(), self.size)
        return {
            **super().sample(clip, frames),
            "frame_mel": frame_mels(clip.mel, shown),
            "landmarks": landmarks.unflatten(0, tuple(shown.shape)),
        }
