"""Which part of the picture of a face a generator works on."""

from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from networks.turning import turned
from visionscapes.checks import Bounds, Share, check_options
from visionscapes.errors import UserError


@dataclass(unsafe_hash=True)  # not frozen: Lightning copies what modules return, field by field
class FaceRegion:
    """A part of the box of a face, in shares of it; the whole face by default.

    Args:
        left: share of the width at which it begins.
        top: share of the height at which it begins.
        right: share of the width at which it ends.
        bottom: share of the height at which it ends.

    Raises:
        UserError: a share out of [0, 1], or a region that ends before it begins.
    """

    left: Share = 0.0
    top: Share = 0.0
    right: Annotated[float, Bounds(above=0, most=1)] = 1.0
    bottom: Annotated[float, Bounds(above=0, most=1)] = 1.0

    def __post_init__(self) -> None:
        check_options(FaceRegion, vars(self))
        if self.left >= self.right or self.top >= self.bottom:
            raise UserError(
                f"FaceRegion ends at ({self.right}, {self.bottom}) and begins at ({self.left}, {self.top}): give left "
                "below right and top below bottom"
            )

    def box(self, size: int) -> tuple[int, int, int, int]:
        """Return (x0, y0, x1, y1) in whole pixels of a face of ``size`` pixels, of which it includes the first two."""
        x0, y0, x1, y1 = (round(share * size) for share in (self.left, self.top, self.right, self.bottom))
        return x0, y0, x1, y1

    def shape(self, size: int) -> tuple[int, int]:
        """Return its height and width (h, w) in pixels of a face of ``size`` pixels."""
        x0, y0, x1, y1 = self.box(size)
        return y1 - y0, x1 - x0

    def in_pixels_of(self, size: int) -> "FaceRegion":
        """Return the region whose shares are what `box` has made of them."""
        x0, y0, x1, y1 = (edge / size for edge in self.box(size))
        return FaceRegion(left=x0, top=y0, right=x1, bottom=y1)

    def of(self, faces: Tensor) -> Tensor:
        """Return the region (..., 3, h, w) of faces (..., 3, S, S), a view."""
        x0, y0, x1, y1 = self.box(faces.shape[-1])
        return faces[..., y0:y1, x0:x1]

    def paste(self, faces: Tensor, patches: Tensor) -> Tensor:
        """Return faces (..., 3, S, S) with patches (..., 3, h, w) in their place, which gradients pass to."""
        x0, y0, x1, y1 = self.box(faces.shape[-1])
        middle = torch.cat([faces[..., y0:y1, :x0], patches.to(faces.dtype), faces[..., y0:y1, x1:]], -1)
        return torch.cat([faces[..., :y0, :], middle, faces[..., y1:, :]], -2)

    def in_frame(self, boxes: Tensor, rolls: Tensor | None = None) -> Tensor:
        """Return the boxes of the region in frames.

        Args:
            boxes: (..., 4) xyxy in pixels of the frames, of the faces.
            rolls: (...) radians by which these are turned about their middles, clockwise on the screen; None for none.

        Returns:
            (..., 4) xyxy, boxes that lie on the region when they are turned by as much about their own middles.
        """
        corner, size = boxes[..., :2], boxes[..., 2:] - boxes[..., :2]
        shares = boxes.new_tensor([[self.left, self.top], [self.right, self.bottom]])
        region = torch.cat([corner + shares[0] * size, corner + shares[1] * size], -1)
        if rolls is None:
            return region
        middle = (region[..., :2] + region[..., 2:]) / 2
        moved = turned(middle[..., None, :], corner + size / 2, rolls)[..., 0, :] - middle
        return region + torch.cat([moved, moved], -1)
