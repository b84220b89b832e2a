import torch

from networks.dubbed import Dubbed
from networks.face_region import FaceRegion


def test_patches_are_the_region_of_the_faces():
    region = FaceRegion(top=0.5)
    faces = torch.rand(2, 3, 8, 8)
    dubbed = Dubbed(faces, patches=2 * region.of(faces) - 1, mask=torch.ones(2, 1, 4, 8), region=region)
    pasted = dubbed.region.paste(faces, (dubbed.patches + 1) / 2)
    torch.testing.assert_close(pasted, dubbed.faces)
