"""Pictures that a user gives a detector in Python."""

from dataclasses import dataclass
from typing import Annotated, Any

from PIL import Image

from datamodules.common.given import Batch, GivenPictures
from datamodules.detection.prediction import as_sample, collate_to_detect
from datamodules.detection.second_view import SecondView
from visionscapes.checks import LARGEST_IMAGE, AnyInt, Bounds, check_options

PictureSide = Annotated[int, Bounds(least=2, most=LARGEST_IMAGE)]  # torch cannot resize to a single pixel


@dataclass(frozen=True)
class GivenScenes(GivenPictures):
    """Pictures in which objects are to be found, as ``predict`` of `DetectionDataModule` prepares them.

    Attributes:
        size: shorter side in pixels that the detector sees.
        longest: most pixels of the longer side.
        classes: names of the classes; None if they are not known.
        second_view: options of `SecondView`, for detectors that compare two views of a picture; None for others.
        seed: of the second views.
        upright: whether pictures are turned as their EXIF data say.

    Raises:
        UserError: an option is out of its bounds.
    """

    size: PictureSide = 800
    longest: PictureSide = 1333
    classes: list[str] | None = None
    second_view: dict[str, Any] | None = None
    seed: AnyInt = 0
    upright: bool = True

    def __post_init__(self) -> None:
        check_options(GivenScenes, vars(self))

    def sample(self, image: Image.Image) -> dict[str, Any]:
        """Return a sample without objects, see `datamodules.detection.prediction.as_sample`."""
        view = None if self.second_view is None else SecondView(**self.second_view)
        sample = as_sample(image, self.size, self.longest, second_view=view, seed=self.seed)
        return sample | {"image_id": 0, "name": ""}

    def batch(self, samples: list[dict[str, Any]]) -> Batch:
        """Return a batch of the task "detect", with the names of the classes."""
        return collate_to_detect(samples) | {"classes": self.classes}
