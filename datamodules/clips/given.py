"""Videos of talking people that a user gives SyncNet in Python."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.prepared_clips import Clips
from datamodules.common.evaluation import Stacked
from datamodules.common.given import Asked, Batch, Given
from datamodules.common.given_pictures import listed
from visionscapes.checks import Bounds, check_options
from visionscapes.errors import UserError
from visionscapes.given_paths import checked_path
from visionscapes.options import group_of

MOST_BYTES = 2**33  # of the frames of a result


@dataclass(frozen=True)
class GivenClips(Given):
    """Videos, or prepared clips, as ``predict`` of `Clips` takes them.

    Attributes:
        face_size: S in pixels.
        faces: which face of a video, and how it is found.

    Raises:
        UserError: an option is out of its bounds.
    """

    face_size: Annotated[int, Bounds(least=16, most=1024)] = 96
    faces: FaceOptions = FaceOptions()

    def __post_init__(self) -> None:
        object.__setattr__(self, "faces", group_of(GivenClips, "faces", self.faces))
        check_options(GivenClips, vars(self))

    def ask(self, video: Any) -> Asked:
        """Return what is asked about by a video or by a list of videos.

        Args:
            video: path of a video with sound, or of a prepared clip; or a list of them.

        Raises:
            UserError: it is no path, or the list is empty; later, a video cannot be read, or shows no face.
        """
        videos, many = listed(video)
        paths = [path_of(each, name) for each, name in videos]

        def batches(most: int) -> Iterator[Batch]:
            for path in paths:
                data = Clips(path, face_size=self.face_size, faces=self.faces, num_workers=0)
                yield Stacked("predict")([data.predicted()[0]])  # from a folder that is there as long as the data are

        return Asked(batches, many)


def in_memory(chunks: Iterable[Batch], path: str) -> Iterator[Batch]:
    """Yield the chunks of a video, whose result will be in memory as a whole.

    Args:
        chunks: each with "total" frames of the video, and with its "frames" (H, W, 3), or with "shots" (K, 3, S, S).
        path: of the video, for the error.

    Raises:
        UserError: it would take too much.
    """
    for chunk in chunks:
        frame = chunk["frames"][0].nbytes if "frames" in chunk else chunk["shots"][0].nbytes
        if (size := chunk["total"] * frame) > MOST_BYTES:
            raise UserError(
                f"the result of {path}, {chunk['total']} frames, would take {size / 2**30:.1f} GiB of memory: cut the "
                "video, or run python cli.py predict, which writes it as it comes"
            )
        yield chunk


def path_of(given: Any, name: str) -> str:
    """Return the path of a file of video or sound.

    Raises:
        UserError: something else was given, or a path that cannot be looked up.
    """
    if not isinstance(given, str | os.PathLike):
        raise UserError(f"{name} is of class {type(given).__name__}: give the path of a file of video or sound")
    checked_path(given, name)
    return os.fspath(given)
