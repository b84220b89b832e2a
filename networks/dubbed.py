"""What a generator of lips hands to those that evaluate it or write videos."""

from typing import NamedTuple

from torch import Tensor

from networks.face_region import FaceRegion


class Dubbed(NamedTuple):
    """Faces with generated mouths.

    Attributes:
        faces: (T, 3, S, S) float32 in [0, 1], the input faces with the patches in them.
        patches: (T, 3, h, w) float32 in [-1, 1], what the generator made of the region; above the mask, and where no
            face was found, it is the input.
        mask: (T, 1, h, w) float32, 1 where it generates and 0 elsewhere.
        region: which part of the faces the patches are.
    """

    faces: Tensor
    patches: Tensor
    mask: Tensor
    region: FaceRegion
