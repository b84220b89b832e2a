"""Chunks of the frames of videos, one video after the other: what networks that make videos of videos predict."""

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from datamodules.clips.prepare.trees import clean
from datamodules.common.loading import as_it_is
from datamodules.common.reports import report_left_out
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError
from visionscapes.media.video import TimedPicture, timed_pictures
from visionscapes.processes import rank_and_world_size

Batch = dict[str, Any]


class InChunks(Protocol):
    """A video that comes in chunks of its frames."""

    @property
    def most_frames(self) -> int:
        """How many frames there are at most.

        Raises:
            ClipError: it cannot be read.
        """

    def chunks(self, size: int, most: int) -> Iterator[Batch]:
        """Yield batches of consecutive frames.

        Args:
            size: frames of a chunk, at most, if that makes no more than ``most`` chunks.
            most: chunks.

        Raises:
            ClipError: nothing can be made of the video.
        """


Video = TypeVar("Video", bound=InChunks)


class VideoChunks(IterableDataset, Generic[Video]):
    """Chunks of consecutive frames of videos, one video after the other.

    A video of which nothing can be made is left out and told, unless it is the only one. Processes share the videos.

    Args:
        videos: of which something is made; one at least.

    Attributes:
        purpose: what is done to the videos, such as "dubbing".
        done: what is then done to each, such as "dubbed".
    """

    purpose: ClassVar[str]
    done: ClassVar[str]

    def __init__(self, videos: Sequence[Video]):
        super().__init__()
        self.videos = list(videos)

    @abstractmethod
    def chunk_of(self, video: Video) -> int:
        """Return how many frames of a video make a chunk, at most."""

    def __len__(self) -> int:
        """Return how many chunks this process gives at most; 1, which is not given, if others have all videos."""
        return sum(self._most_chunks(video) for video in self._mine()) or 1

    def __iter__(self) -> Iterator[Batch]:
        """Yield the chunks.

        Raises:
            ClipError: nothing can be made of the only video.
            UserError: nothing can be made of any of several.
        """
        worker = get_worker_info()
        if worker is not None and worker.id:
            return  # the chunks of a video are in order: one worker reads them
        mine, wrong = self._mine(), list[ClipError]()
        for video in mine:
            try:
                yield from video.chunks(self.chunk_of(video), self._most_chunks(video))
            except ClipError as error:
                if len(self.videos) == 1:
                    raise
                wrong.append(error)
                print(f"left out: {error}", flush=True)
        if wrong and len(wrong) == len(self.videos):  # other processes may have some that can
            raise UserError(f"None of {len(mine)} videos can be {self.done}. The first: {wrong[0]}")
        for reason, count in Counter(error.reason for error in wrong).items():
            first = next(error for error in wrong if error.reason == reason)
            report_left_out(self.purpose, count, "videos", len(mine), f"{reason}, the first: {first}")

    def _mine(self) -> list[Video]:
        rank, world_size = rank_and_world_size()
        return self.videos[rank::world_size]

    def _most_chunks(self, video: Video) -> int:
        """Return how many chunks a video has at most; one, which is not given, if it cannot be read."""
        try:
            return -(-video.most_frames // self.chunk_of(video))
        except ClipError:
            return 1


def chunk_loader(videos: VideoChunks) -> DataLoader:
    """Return the loader of videos in chunks, whose chunks are batches as they are; it reads in this process."""
    return DataLoader(videos, batch_size=None, collate_fn=as_it_is, generator=torch.Generator())


def distinct_names(videos: Sequence[Path]) -> dict[Path, str]:
    """Return what the files about each video are called: its name without suffix, after its folder's if need be."""
    names: dict[Path, str] = {}
    different = list(dict.fromkeys(videos))
    counts = Counter(clean(video.stem).casefold() for video in different)
    taken: set[str] = set()
    for video in different:
        name = clean(video.stem)
        if counts[name.casefold()] > 1:
            name = clean(f"{video.absolute().parent.name}_{video.stem}")
        base, number = name, 2
        while name.casefold() in taken:
            name, number = f"{base}-{number}", number + 1
        taken.add(name.casefold())
        names[video] = name
    return names


def in_order(video: Path, sources: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    """Yield the pictures of some numbers, decoded anew each time that a number is below the one before.

    Raises:
        ClipError: there are fewer pictures.
    """
    position, pictures, shown = -1, timed_pictures(video), np.zeros((0, 0, 3), np.uint8)
    for source in sources.tolist():
        if source < position:
            position, pictures = -1, timed_pictures(video)
        while position < source:
            one = next(pictures, None)
            if one is None:
                raise ClipError(f"{video} changed while it was read: see to it that nothing writes it")
            position, shown = position + 1, one.picture
        yield shown


class PassingTimes:
    """When pictures that pass by are shown.

    Attributes:
        starts: when each is, in seconds after the first one.
        end: when the last one ends.
    """

    def __init__(self) -> None:
        self.starts: list[float] = []
        self.end = 0.0

    def of(self, pictures: Iterable[TimedPicture]) -> Iterator[TimedPicture]:
        """Yield pictures as they are, and keep their times."""
        for one in pictures:
            self.starts.append(one.time)
            self.end = one.end
            yield one


@contextmanager
def added(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Add the seconds that the block takes to those of a part."""
    began = time.perf_counter()
    yield
    seconds[part] += time.perf_counter() - began
