"""What a generator of mouths sees of a face, and which part of that it makes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_modules.diff2lip.masks import Mask, below_the_nose, lower_half
from networks.face_region import FaceRegion
from visionscapes.errors import UserError

MOUTH = 0.68, 0.84  # heights between which mouths are, in shares of the box of a face from forehead to chin


@dataclass(frozen=True)
class MouthView:
    """The size of faces, the region of them that a generator sees, and the mask in that.

    Attributes:
        face_size: S, side of the faces in pixels.
        region: of the faces.
        mask: "lower" half of the region (6.2.1.2), or below the nose by its "landmarks".
    """

    face_size: int
    region: FaceRegion
    mask: Mask

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the region in pixels."""
        return self.region.shape(self.face_size)

    def check(self, multiple: int) -> None:
        """Check that a network can halve the region's sides as often as it does, and that what it makes has a mouth.

        Args:
            multiple: what the sides have to be multiples of.

        Raises:
            UserError: they are not, or the mouth lies elsewhere.
        """
        height, width = self.shape
        if height % multiple or width % multiple or 0 in (height, width):
            raise UserError(
                f"the region of faces of {self.face_size} pixels is {width} x {height} pixels; the network takes "
                f"multiples of {multiple}: change --model.face_size, --model.region or the levels of the network"
            )
        region, (upper, lower) = self.region, MOUTH
        top = (region.top + region.bottom) / 2 if self.mask == "lower" else region.top
        if not (region.left < 0.5 < region.right and top < lower and upper < region.bottom):
            raise UserError(
                f"what is generated, from {top:.2f} to {region.bottom:.2f} of a face's height and {region.left:.2f} to "
                f"{region.right:.2f} of its width, has no mouth, which is between {upper} and {lower} in the middle: "
                "give another --model.region"
            )

    def signed(self, faces: Tensor) -> Tensor:
        """Return the region (..., 3, h, w) of faces (..., 3, S, S) of [0, 1] in [-1, 1], as networks see it."""
        return 2 * self.region.of(faces) - 1

    def masks(self, frames: Tensor, landmarks: Tensor | None) -> Tensor:
        """Return the masks (..., 1, h, w) of frames.

        Args:
            frames: (..., 3, h, w), the region of the faces.
            landmarks: (..., 68, 2) in pixels of the faces; only the mask that follows them needs any.

        Raises:
            UserError: they are needed and missing.
        """
        if self.mask == "lower":
            return lower_half(self.shape, frames.device).expand(*frames.shape[:-3], -1, -1, -1)
        if landmarks is None:
            raise UserError(
                "the mask follows landmarks, and the data have none: take a datamodule for dubbing, or "
                "--model.mask=lower"
            )
        return below_the_nose(landmarks, self.region, self.face_size)

    def pasted(self, faces: Tensor, patches: Tensor, mask: Tensor) -> Tensor:
        """Return faces (..., 3, S, S) of [0, 1] with the masked part of patches in them; the rest stays bit by bit.

        Args:
            faces: the input.
            patches: (..., 3, h, w) in [-1, 1], which gradients pass to.
            mask: (..., 1, h, w).
        """
        inside = torch.where(mask > 0, (patches.to(faces.dtype) + 1) / 2, self.region.of(faces))
        return self.region.paste(faces, inside)
