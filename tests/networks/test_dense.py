import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from networks.dense import AtLargerImage, HasDenseFeatures, Upsampled


class Patches(nn.Module):
    """Mean colour of every 4 x 4 patch."""

    def forward(self, images):
        return nn.functional.avg_pool2d(images, 4)


@pytest.mark.parametrize("factor", [2, 4])
def test_upsampled_equals_pillow(factor):
    image = torch.rand(1, 3, 20, 28)
    result = Upsampled(Patches(), factor)(image)
    for channel, expected in zip(result[0], Patches()(image)[0], strict=True):
        height, width = expected.shape
        pillow = Image.fromarray(expected.numpy()).resize((factor * width, factor * height), Image.Resampling.BILINEAR)
        torch.testing.assert_close(channel, torch.from_numpy(np.array(pillow)))


def test_at_larger_image_sees_the_image_enlarged():
    """A linear ramp stays linear: away from the border, the mean of a patch is the ramp at its centre."""
    ramp = torch.linspace(0, 1, 33)[:-1].expand(1, 3, 32, 32)
    result = AtLargerImage(Patches())(ramp)
    assert result.shape == (1, 3, 16, 16)
    centres = ((torch.arange(16) + 0.5) * 2 - 0.5) / 32
    torch.testing.assert_close(result[0, 0, 5, 1:-1], centres[1:-1])


def test_protocol_is_about_the_method():
    class Offers:
        def dense_features(self):
            return {}

    assert isinstance(Offers(), HasDenseFeatures)
    assert not isinstance(Patches(), HasDenseFeatures)
