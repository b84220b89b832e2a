"""What data sets of heads predict: one person, known from any pictures, moved by any video or landmarks."""

from pathlib import Path
from typing import Annotated, Any, ClassVar

from torch.utils.data import DataLoader
from typing_extensions import override

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.heads.given import MOST_SHOTS, GivenHeads
from datamodules.clips.heads.reenactment import HeadsToReenact, HowToReenact
from datamodules.clips.heads.source import shots_of
from datamodules.clips.heads.transfer import LandmarksMode
from datamodules.clips.prepare.preparing import PrepareOptions
from datamodules.clips.video_chunks import chunk_loader
from datamodules.clips.video_files import find_videos
from datamodules.common.parts import DataInParts
from visionscapes.checks import Bounds, PositiveInt, check_options
from visionscapes.errors import UserError

NAME = "The driver"
EXPECTED = 'a video, a folder with videos, a pattern in quotes such as "videos/*.mp4", or a .npz file of landmarks'
REMEDIES = ("Name another file, folder or pattern as --data.driving",)


class PredictsHeads(DataInParts):
    """Base of data modules that predict heads to reenact, see `HeadsToReenact`.

    Subclasses set ``image_size`` and ``faces`` in ``__init__``, and make ``predicted()`` their ``predict_set`` in
    ``setup``; one that can draw people overrides ``drawn``.

    Args:
        source: to predict: pictures of the person, of which more than one may be named: a file, a folder, a pattern
            such as "me/*.jpg"; or a video.
        driving: to predict: who moves that person: a video, a folder, a pattern, or a file of landmarks (.npz).
        finetune: to predict: whether the network is trained on the pictures of the person first (thesis 6.1.1.5).
        landmarks: to predict: "absolute" are the driver's (thesis 6.1); "relative" keeps the shape of the source's face
            and moves it as the driver's moves.
        sound: to predict: whether the result gets the driver's.
        save_landmarks: to predict: file for the driver's landmarks, .npz, to be named as ``driving`` later.
        most_shots: to predict: pictures of the person that are used.
        crop: to predict: side of the square around the middle of a face in multiples of that face, as in the clips
            trained on; None for what the pictures of this data set show.

    Attributes:
        image_size: S in pixels.
        faces: which faces are found, and how.
        usual_crop: ``crop`` where none is named; that of `datamodules.clips.prepare`.
        usual_raised: how far the middle of the square lies above that of the face then, in multiples of the face.

    Raises:
        UserError: an option is out of its bounds.
    """

    image_size: int
    faces: FaceOptions = FaceOptions()
    usual_crop: ClassVar[float] = PrepareOptions().margin
    usual_raised: ClassVar[float] = 0.0

    def __init__(
        self,
        source: list[str] | str | None = None,
        driving: str | None = None,
        finetune: bool = False,
        landmarks: LandmarksMode = "absolute",
        sound: bool = False,
        save_landmarks: str | None = None,
        most_shots: PositiveInt = MOST_SHOTS,
        crop: Annotated[float, Bounds(least=0.5, most=10)] | None = None,
        **kwargs: Any,
    ):
        check_options(PredictsHeads, locals())
        super().__init__(**kwargs)
        self.source, self.driving, self.finetune, self.landmarks = source, driving, finetune, landmarks
        self.sound, self.save_landmarks, self.most_shots, self.crop = sound, save_landmarks, most_shots, crop

    @property
    def framing(self) -> tuple[float, float]:
        """Side of the square around a head, and how far its middle lies above that of the face, see `head_windows`."""
        return (self.usual_crop, self.usual_raised) if self.crop is None else (self.crop, 0.0)

    @property
    def inputs(self) -> GivenHeads:
        """How pictures and drivers are prepared that a user gives in Python, as `predict` does it."""
        crop, raised = self.framing
        return GivenHeads(
            self.image_size,
            crop,
            faces=self.faces,
            landmarks=self.landmarks,
            sound=self.sound,
            most_shots=self.most_shots,
            raised=raised,
        )

    def drawn(self) -> tuple[str, str]:
        """Return a source and a driver where none is named, as ``source`` and ``driving``.

        Raises:
            UserError: there are no drawn people in this data set.
        """
        raise UserError(
            "There is nobody to reenact: name pictures of a person as --data.source, and a video, or a file of"
            " landmarks, as --data.driving"
        )

    def predicted(self) -> HeadsToReenact:
        """Return the heads to reenact; heads of the source are found at once.

        Raises:
            DatasetNotFoundError: there is no such file.
            UserError: no picture of the source can be used, or one of source and driver is named without the other.
        """
        source, driving = self.source, self.driving
        if source is None and driving is None:
            source, driving = self.drawn()
        if source is None or driving is None:
            missing, what = ("source", "pictures of a person") if source is None else ("driving", "a video of a driver")
            raise UserError(f"Name {what} as --data.{missing} too")
        margin, raised = self.framing
        how = HowToReenact(
            size=self.image_size,
            margin=margin,
            faces=self.faces,
            landmarks=self.landmarks,
            finetune=self.finetune,
            sound=self.sound,
            save_landmarks=self.save_landmarks,
            raised=raised,
        )
        drivers = drivers_at(driving)
        shots = shots_of(source, how.size, most=self.most_shots, margin=margin, raised=raised, faces=self.faces)
        return HeadsToReenact(shots, drivers, how=how)

    @override
    def predict_dataloader(self) -> DataLoader:
        assert isinstance(self.predict_set, HeadsToReenact)
        return chunk_loader(self.predict_set)


def drivers_at(place: str) -> list[Path]:
    """Return the drivers that a path is, holds or matches, see `find_videos`; a file of landmarks is one.

    Raises:
        DatasetNotFoundError: there is none.
    """
    return find_videos(place, name=NAME, expected=EXPECTED, remedies=REMEDIES)[1]
