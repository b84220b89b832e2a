"""Heads of prepared clips: which of their frames can be used, and these frames as networks take them."""

from collections.abc import Sequence
from functools import cached_property
from typing import overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from typing_extensions import override

from datamodules.clips.clip_files import ClipFiles, PreparedClip
from datamodules.clips.heads.label_files import LabelFiles
from datamodules.clips.heads.shots import Frames, HeadClip
from datamodules.clips.prepare.cropping import picture_size
from datamodules.common.resizing import squash
from networks.reenacted import shot_numbers
from visionscapes.media.errors import ClipError

INSIDE = 0.5  # share of the landmarks of a face that lie in its picture; of a face at the border some do not


class PreparedHead(HeadClip):
    """The head in a prepared clip, whose pictures show it with its shoulders.

    Args:
        clip: the clip.
        size: S in pixels.
        maps: label maps of its frames.

    Attributes:
        side: of the clip's pictures in pixels.
        outside: (F,) bool, where landmarks lie outside the picture for the most part, and so are not of it.

    Raises:
        ClipError: the pictures are not square, or show the face alone.
    """

    def __init__(self, clip: PreparedClip, size: int, maps: LabelFiles | None = None):
        self.clip, self.size, self.maps, self.name = clip, size, maps, clip.name
        settings = clip.about.get("settings") or {}
        crop = settings.get("crop")
        if crop == "voxceleb2":
            raise ClipError(
                f"{clip.name} shows the face alone (--crop voxceleb2): prepare it with --crop moving, or with --crop"
                " none if its video shows head and shoulders already",
                "face alone",
            )
        if crop is None:
            height, width = clip.images([0]).shape[1:3]
        else:
            width, height = picture_size(tuple(clip.about["size"]), crop, settings["size"])
        if width != height:
            raise ClipError(
                f"{clip.name} has pictures of {width} x {height} pixels, and heads are squares: prepare it with --crop"
                " moving",
                "not square",
            )
        self.side = width

    @cached_property
    def landmarks(self) -> NDArray[np.float32]:  # type: ignore[override]
        """The landmarks (F, 68, 2) in pixels of the frames."""
        return (self.clip.landmarks * (self.size / self.side)).astype(np.float32)

    @cached_property
    def outside(self) -> NDArray[np.bool_]:
        """Where landmarks are not of the picture (F,)."""
        points = self.clip.landmarks
        inside = ((points >= 0) & (points <= self.side)).all(-1).mean(-1)  # of what is no number, none
        return self.clip.found & ((inside < INSIDE) | ~np.isfinite(points).all((1, 2)))

    @cached_property
    def found(self) -> NDArray[np.bool_]:  # type: ignore[override]
        """Where landmarks are known (F,)."""
        return self.clip.found & ~self.outside

    @override
    def pictures(self, frames: Frames) -> Tensor:
        images = self.clip.images(list(frames))
        if self.size != self.side:
            squashed = [squash(Image.fromarray(image), self.size, Image.Resampling.BILINEAR) for image in images]
            images = np.stack([np.asarray(image) for image in squashed])
        return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()

    @override
    def labels(self, frames: Frames) -> Tensor | None:
        if self.maps is None or not set(frames) <= self.maps.frames(self.name):
            return None
        return torch.from_numpy(np.stack([self.maps.read(self.name, frame, self.size) for frame in frames]))


class HeadFiles(Sequence[PreparedHead]):
    """Heads of prepared clips, each opened when it is asked for, for there may be a million.

    Args:
        clips: the clips.
        size: S in pixels.
        maps: label maps of their frames.
    """

    def __init__(self, clips: ClipFiles, size: int, maps: LabelFiles | None = None):
        self.clips, self.size, self.maps = clips, size, maps

    def __len__(self) -> int:
        return len(self.clips)

    @overload
    def __getitem__(self, index: int) -> PreparedHead: ...
    @overload
    def __getitem__(self, index: slice) -> "HeadFiles": ...
    def __getitem__(self, index: int | slice) -> "PreparedHead | HeadFiles":
        """Open a clip; of a slice, none yet."""
        if isinstance(index, slice):
            return HeadFiles(self.clips[index], self.size, self.maps)
        return PreparedHead(self.clips[index], self.size, self.maps)

    def chosen(self, positions: Sequence[int]) -> "HeadFiles":
        """Return some of the heads."""
        return HeadFiles(self.clips.chosen(positions), self.size, self.maps)


def strided(frames: NDArray[np.int64], count: int) -> list[int]:
    """Return ``count`` of n frames at a constant stride of n // count + 1, as the authors' code takes 10 of a clip.

    Raises:
        ClipError: the stride is too long for as many, as it is for fewer than ``count`` (``count`` - 1) frames that are
            not just above a multiple of it.
    """
    chosen = frames[:: len(frames) // count + 1][:count].tolist()
    if len(chosen) < count:
        raise ClipError(
            f"{len(frames)} frames with a face give {len(chosen)} at a stride of {len(frames) // count + 1}, and"
            f" {count} are needed",
            "too few frames",
        )
    return chosen


def halves(frames: NDArray[np.int64], sources: int, targets: int) -> tuple[list[int], list[int]]:
    """Return source frames of the earlier part of a clip and target frames of the later one, spread evenly.

    So no target is the neighbour of a source, whose pose and expression it would have.

    Args:
        frames: of the clip, in order, that can be used.
        sources: how many of them; the earlier part has that share of the frames.
        targets: how many of the others.

    Raises:
        ClipError: there are fewer frames than asked for.
    """
    if len(frames) < sources + targets:
        raise ClipError(
            f"{len(frames)} frames with a face are fewer than {sources} sources and {targets} targets",
            "too few frames",
        )
    middle = len(frames) * sources // (sources + targets)
    parts = (frames[:middle], sources), (frames[middle:], targets)
    earlier, later = (part[shot_numbers(len(part), count)].tolist() for part, count in parts)
    return earlier, later
