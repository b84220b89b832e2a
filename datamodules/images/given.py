"""Photographs that a user gives a method of dense features in Python."""

from dataclasses import dataclass
from typing import Any

from PIL import Image

from datamodules.common.given import GivenPictures
from datamodules.common.resizing import at_longer_side, centre_square_tensor, shorter_side_to, to_tensor
from visionscapes.checks import ImageSize, check_options


@dataclass(frozen=True)
class GivenPhotographs(GivenPictures):
    """Photographs of any size, as ``predict`` of `ImageFolder` prepares them.

    Attributes:
        longer_side: in pixels, to which every image is resized with its aspect ratio kept; None for no resizing.
        upright: whether pictures are turned as their EXIF data say.
        shorter_side: in pixels, in place of ``longer_side`` where it is given.

    Raises:
        UserError: an option is out of its bounds.
    """

    longer_side: ImageSize | None = 448
    upright: bool = True
    shorter_side: ImageSize | None = None

    def __post_init__(self) -> None:
        check_options(GivenPhotographs, vars(self))

    def sample(self, image: Image.Image) -> dict[str, Any]:
        """Return "image" (3, H, W) float32 in [0, 1]."""
        if self.shorter_side is not None:
            return {"image": to_tensor(shorter_side_to(image, self.shorter_side))}
        return {"image": to_tensor(at_longer_side(image, self.longer_side))}


@dataclass(frozen=True)
class GivenSquares(GivenPictures):
    """Pictures of one subject, of which the middle square is seen.

    Attributes:
        image_size: S in pixels, to which the square is resized.
        upright: whether pictures are turned as their EXIF data say.

    Raises:
        UserError: an option is out of its bounds.
    """

    image_size: ImageSize = 64
    upright: bool = True

    def __post_init__(self) -> None:
        check_options(GivenSquares, vars(self))

    def sample(self, image: Image.Image) -> dict[str, Any]:
        """Return "image" (3, S, S) float32 in [0, 1]."""
        return {"image": centre_square_tensor(image, self.image_size)}
