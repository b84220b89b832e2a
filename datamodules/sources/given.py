"""Images of unknown origin that a user gives in Python."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from datamodules.common.given import GivenPictures
from datamodules.sources.pictures import as_tensor, middle_square
from visionscapes.checks import ImageSize, check_options


@dataclass(frozen=True)
class GivenSources(GivenPictures):
    """Images whose source is asked for, as ``predict`` of `SourceImages` prepares them.

    Attributes:
        image_size: S in pixels; the middle square of an image is resized to it.
        upright: whether images are turned as their EXIF data say; off, as in training: a source shows in the pixels as
            they are stored.

    Raises:
        UserError: an option is out of its bounds.
    """

    image_size: ImageSize = 128
    upright: bool = False

    def __post_init__(self) -> None:
        check_options(GivenSources, vars(self))

    def sample(self, image: Image.Image) -> dict[str, Any]:
        """Return "image" (3, S, S) float32 in [0, 1]."""
        return {"image": as_tensor(middle_square(image, self.image_size))}
