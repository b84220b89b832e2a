"""What the data sets of dubbing predict: chunks of the frames of any videos, with any sound."""

import glob
import os
from pathlib import Path
from typing import Annotated

from torch.utils.data import DataLoader
from typing_extensions import override

from datamodules.clips.dubbing.schedule import Length
from datamodules.clips.dubbing.videos import VideosToDub, chunk_loader
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.prepare.trees import VIDEO_SUFFIXES
from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import find_images
from datamodules.common.parts import DataInParts
from visionscapes.checks import Bounds

MostTurned = Annotated[float, Bounds(above=0, most=90)]
MOST_TURNED = 50.0  # degrees
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


def find_videos(place: str) -> list[Path]:
    """Return the videos that a path is, holds or matches, sorted; of a file its name need not tell that it is one.

    Args:
        place: a file, a folder, which is searched with its sub-folders, or a pattern.

    Raises:
        DatasetNotFoundError: there is none.
    """
    path = Path(place).expanduser()
    if path.is_dir():
        return find_images(path, VIDEO_SUFFIXES, name=NAME, expected=EXPECTED, remedies=REMEDIES)
    if path.exists():
        return [path]
    matching = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(place) else []
    videos = [Path(each) for each in matching if os.path.isfile(each)]
    if not videos:
        raise DatasetNotFoundError(name=NAME, looked_in=path, expected=EXPECTED, remedies=REMEDIES)
    return videos
