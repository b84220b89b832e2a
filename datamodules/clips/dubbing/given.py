"""Videos and the sound that they get, which a user gives in Python."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from typing import Annotated, Any

from datamodules.clips.dubbing.schedule import Length
from datamodules.clips.dubbing.videos import VideosToDub
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.given import in_memory, path_of
from datamodules.common.given import Asked, Batch, Given
from datamodules.common.given_pictures import listed
from visionscapes.checks import Bounds, ImageSize, check_options
from visionscapes.errors import UserError
from visionscapes.options import group_of
from visionscapes.results import MadeVideo

MostTurned = Annotated[float, Bounds(above=0, most=90)]
MOST_TURNED = 50.0  # degrees


@dataclass(frozen=True)
class GivenVideos(Given):
    """Videos to dub, as ``predict`` of `DubbingClips` takes them.

    Attributes:
        face_size: S in pixels.
        faces: which face of a video, and how it is found.
        length: what happens where the sound is longer or shorter than a video, see `VideosToDub`.
        most_turned: degrees that a head may be turned to a side.

    Raises:
        UserError: an option is out of its bounds.
    """

    face_size: ImageSize = 128
    faces: FaceOptions = FaceOptions()
    length: Length = "trim"
    most_turned: MostTurned = MOST_TURNED

    def __post_init__(self) -> None:
        object.__setattr__(self, "faces", group_of(GivenVideos, "faces", self.faces))
        check_options(GivenVideos, vars(self))

    def ask(self, video: Any, audio: Any = None) -> Asked:
        """Return what is asked about by a video and a sound, or by lists of them.

        Args:
            video: path of a video; or a list of them.
            audio: path of a file with the new sound, which may be another video; or a list of as many. The videos' own
                if None.

        Raises:
            UserError: it is no path, a list is empty, or the lists have different lengths; later, a video or a sound
                cannot be read, or a video shows no face.
        """
        videos, many = listed(video)
        paths = [Path(path_of(each, name)).expanduser() for each, name in videos]
        sounds, several = listed(audio)
        heard = [None if each is None else Path(path_of(each, name)).expanduser() for each, name in sounds]
        if several and len(heard) != len(paths):
            raise UserError(f"there are {len(paths)} videos and {len(heard)} sounds: give as many, or one for all")
        pairs = list(zip(paths, heard if several else repeat(heard[0]), strict=several))

        def batches(most: int) -> Iterator[Batch]:
            for path, sound in pairs:
                chunks = VideosToDub(
                    [path],
                    sound,
                    face_size=self.face_size,
                    faces=self.faces,
                    length=self.length,
                    most_turned=self.most_turned,
                )
                yield from in_memory(chunks, str(path))

        return Asked(batches, many, MadeVideo.series)
