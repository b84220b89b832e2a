"""Pictures of a person, and who moves it, which a user gives in Python."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.given import in_memory, path_of
from datamodules.clips.heads.cropping import Raised
from datamodules.clips.heads.reenactment import HeadsToReenact, HowToReenact
from datamodules.clips.heads.source import FoundShots, shots_of, shots_of_images
from datamodules.clips.heads.transfer import LandmarksMode
from datamodules.clips.prepare.preparing import PrepareOptions
from datamodules.clips.video_files import find_videos
from datamodules.common.given import Asked, Batch, Given
from datamodules.common.given_pictures import as_image, listed
from visionscapes.checks import Bounds, ImageSize, PositiveInt, check_options, check_value
from visionscapes.options import group_of
from visionscapes.results import MadeVideo

MOST_SHOTS = 32  # of the thesis' figure 6.6
NAME = "The driver"
EXPECTED = "a video, or a .npz file of landmarks"
REMEDIES = ("Name another file",)


@dataclass(frozen=True)
class GivenHeads(Given):
    """People in pictures, and drivers, as ``predict`` of `PredictsHeads` takes them.

    Attributes:
        image_size: S in pixels.
        crop: side of the square around a head in multiples of its face, as in the clips trained on.
        faces: which faces are found, and how.
        landmarks: "absolute" are the driver's; "relative" keeps the shape of the source's face.
        sound: whether the result gets the driver's.
        most_shots: pictures of the person that are used.
        raised: how far the middle of the square lies above that of the face, in multiples of the face.

    Raises:
        UserError: an option is out of its bounds.
    """

    image_size: ImageSize = 224
    crop: Annotated[float, Bounds(least=0.5, most=10)] = PrepareOptions().margin
    faces: FaceOptions = FaceOptions()
    landmarks: LandmarksMode = "absolute"
    sound: bool = False
    most_shots: PositiveInt = MOST_SHOTS
    raised: Raised = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "faces", group_of(GivenHeads, "faces", self.faces))
        check_options(GivenHeads, vars(self))

    def ask(self, source: Any, driving: Any, finetune: bool = False) -> Asked:
        """Return what is asked about by pictures of one person and a driver, or a list of drivers.

        Args:
            source: a picture of the person, or a list of several: paths, PIL images, arrays or tensors; a path may also
                be that of a folder of pictures, or of a video.
            driving: path of a video, or of a file of landmarks (.npz), which says how the person moves; or a list of
                them.
            finetune: whether the network is trained on the pictures of the person first (thesis 6.1.1.5).

        Raises:
            UserError: no picture can be used, such as one without a face; or a driver cannot be read.
        """
        check_value("finetune", finetune, bool)
        drivers, many = listed(driving)
        paths = [path_of(each, name) for each, name in drivers]
        shots = self._shots(source)
        how = HowToReenact(
            self.image_size,
            self.crop,
            faces=self.faces,
            landmarks=self.landmarks,
            finetune=finetune,
            sound=self.sound,
            raised=self.raised,
        )

        def batches(most: int) -> Iterator[Batch]:
            for path in paths:
                files = find_videos(path, name=NAME, expected=EXPECTED, remedies=REMEDIES)[1]
                yield from in_memory(HeadsToReenact(shots, files, how=how), path)

        return Asked(batches, many, MadeVideo.series)

    def _shots(self, source: Any) -> FoundShots:
        things = list(listed(source)[0])
        how: dict[str, Any] = {
            "most": self.most_shots,
            "margin": self.crop,
            "raised": self.raised,
            "faces": self.faces,
        }
        if all(isinstance(thing, str | os.PathLike) for thing, _ in things):
            files = [path_of(thing, name) for thing, name in things]
            return shots_of(files, self.image_size, **how)
        images = [np.array(as_image(thing, name)) for thing, name in things]
        return shots_of_images(images, self.image_size, **how)
