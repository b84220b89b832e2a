"""What the data sets of dubbing predict: chunks of the frames of any videos, with any sound."""

from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader
from typing_extensions import override

from datamodules.clips.dubbing.given import MOST_TURNED, GivenVideos, MostTurned
from datamodules.clips.dubbing.schedule import Length
from datamodules.clips.dubbing.videos import VideosToDub
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.video_chunks import chunk_loader
from datamodules.clips.video_files import find_videos
from datamodules.common.parts import DataInParts

__all__ = ["MOST_TURNED", "MostTurned", "PredictsVideos", "videos_at"]
NAME = "The video to dub"
EXPECTED = 'a video, a folder with videos, or a pattern that videos match, in quotes, such as "videos/*.mp4"'
REMEDIES = ("Name another file, folder or pattern as --data.init_args.video",)


class PredictsVideos(DataInParts):
    """Base of data modules that predict videos to dub; subclasses set in ``__init__`` what it has, and ``setup`` calls.

    Attributes:
        face_size: S in pixels.
        faces: which faces are found in videos, and how.
        audio: file with the new sound; the videos' own if None.
        length: what happens where the sound is longer or shorter than a video.
        most_turned: degrees that a head may be turned to a side.
    """

    face_size: int
    faces: FaceOptions
    audio: str | None
    length: Length
    most_turned: float

    @property
    def inputs(self) -> Any:
        """How videos are prepared that a user gives in Python, as `predict` does it."""
        return GivenVideos(self.face_size, self.faces, length=self.length, most_turned=self.most_turned)

    def to_dub(self, videos: list[Path], audio: Path | None = None) -> VideosToDub:
        """Return the chunks of some videos; ``audio`` is their sound if no option names another.

        Raises:
            UserError: there is no video.
        """
        return VideosToDub(
            videos,
            audio if self.audio is None else Path(self.audio).expanduser(),
            face_size=self.face_size,
            faces=self.faces,
            length=self.length,
            most_turned=self.most_turned,
        )

    @override
    def predict_dataloader(self) -> DataLoader:
        assert isinstance(self.predict_set, VideosToDub)
        return chunk_loader(self.predict_set)


def videos_at(place: str) -> list[Path]:
    """Return the videos that a path is, holds or matches, see `find_videos`.

    Raises:
        DatasetNotFoundError: there is none.
    """
    return find_videos(place, name=NAME, expected=EXPECTED, remedies=REMEDIES)[1]
