"""What trained modules answer in Python, where it is not a tensor: plain values on the CPU."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor


@dataclass(frozen=True)
class DetectedObjects:
    """The objects found in a picture, N of them, the surest first; none without area.

    Attributes:
        boxes: (N, 4) float32 xyxy in pixels of the picture as it was given, upright.
        scores: (N,) float32 in [0, 1].
        labels: (N,) int64, numbers of classes.
        names: of the classes, N str; "class 3" where the name is not known.
        masks: N compressed RLE of COCO, of a detector that segments; None of others.
    """

    boxes: Tensor
    scores: Tensor
    labels: Tensor
    names: list[str]
    masks: list[dict[str, Any]] | None = None

    def __len__(self) -> int:
        return len(self.scores)


@dataclass(frozen=True)
class Attribution:
    """Which source an image comes from.

    Attributes:
        source: name of a known source, "cluster 7" of a discovered one, or "unknown".
        distance: of the image to that source; where it is unknown, to the one that is nearest to accepting it.
        margin: the threshold of that source less the distance; above 0 inside.
        probability: in [0, 1], that the classifier gives to the known source that it prefers.
    """

    source: str
    distance: float
    margin: float
    probability: float


@dataclass(frozen=True)
class Translation:
    """An image that was made of a label map or another condition.

    Attributes:
        image: (3, H, W) float32 RGB in [0, 1], as high and wide as the condition.
        parts: what it is the sum of, by name, such as "reconstruction" and "residual", (3, H, W) float32 each; they are
            in units in which [-1, 1] are the colours that can be shown. Empty where there is one part only.
    """

    image: Tensor
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class MadeVideo:
    """A video that was made: a dubbed one, or a head that moves as another does.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB.
        times: (T,) float64, when each is shown, in seconds after the first.
        found: (T,) bool, where a face was seen; elsewhere a dubbed frame is as it was.
        rate: frames a second.
        steady: whether all are shown for the same time.
        sound: file with the sound; "" for none.
        pixel_aspect: width of a pixel as shown divided by its height.
        notes: what was done, and what to be wary of, a line each.
    """

    frames: Tensor
    times: Tensor
    found: Tensor
    rate: float
    steady: bool = True
    sound: str = ""
    pixel_aspect: float = 1.0
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.frames)

    @classmethod
    def series(cls, parts: Sequence[Self]) -> list[Self]:
        """Return the parts of videos, one after the other, as videos: each begins where the time is 0."""
        starts = [at for at, part in enumerate(parts) if float(part.times[0]) == 0]
        return [cls.joined(parts[first:end]) for first, end in pairwise([*starts, len(parts)])]

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Return the parts of a video as one."""
        frames, times = torch.cat([each.frames for each in parts]), torch.cat([each.times for each in parts])
        return replace(parts[0], frames=frames, times=times, found=torch.cat([each.found for each in parts]))

    def save(self, path: str | Path, *, crf: int = 14) -> Path:
        """Write the video as MP4, with its sound, and return its path.

        Args:
            path: of the file; its folder is made if it is missing.
            crf: constant rate factor of H.264: 0 loses nothing but colour resolution, 18 is hardly seen, 28 is small.

        Raises:
            UserError: the file cannot be written.
        """
        from visionscapes.media.video_writer import VideoWriter

        size = self.frames.shape[2], self.frames.shape[1]
        sound = self.sound or None
        with VideoWriter(path, size, self.rate, sound=sound, pixel_aspect=self.pixel_aspect, crf=crf) as video:
            for frame, shown in zip(self.frames.numpy(), self.times.tolist(), strict=True):
                video.write(frame, None if self.steady else shown)
        return Path(path)


@dataclass(frozen=True)
class SyncResult:
    """By how much the sound of a video is late, and how surely.

    Attributes:
        offset: in frames of 40 ms, above 0 where the sound is late; None where it cannot be told.
        confidence: median distance over all offsets less the smallest; below 0.1 the offset means nothing.
        distance: of picture and sound at the offset, in [0, 2].
        windows: number of windows that were judged.
        faces: share of the frames with a face, in [0, 1].
    """

    offset: int | None
    confidence: float
    distance: float
    windows: int
    faces: float

    @property
    def seconds(self) -> float | None:
        """The offset in seconds."""
        return None if self.offset is None else self.offset / 25
