"""Dense features: anything that maps RGB images (B, 3, H, W) in [0, 1] to features (B, C, h, w), normalising inside."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from visionscapes.checks import PositiveInt, check_options


@runtime_checkable
class HasDenseFeatures(Protocol):
    """A module that offers one or several dense features to be evaluated next to each other."""

    def dense_features(self) -> Mapping[str, nn.Module]:
        """Return the dense features by the name under which results report them."""
        ...


def by_layer(maps: Tensor | dict[str, Tensor]) -> dict[str, Tensor]:
    """Return maps by the name of their layer, which is empty where dense features give those of one layer."""
    return maps if isinstance(maps, dict) else {"": maps}


class Upsampled(nn.Module):
    """Dense features with their grid enlarged by bilinear interpolation: the baseline of every learned upsampler.

    Args:
        features: dense features, (B, 3, H, W) in [0, 1] -> (B, C, h, w).
        factor: how many times larger the grid becomes; the output is (B, C, factor h, factor w).

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(self, features: nn.Module, factor: PositiveInt = 2):
        check_options(Upsampled, locals())
        super().__init__()
        self.features, self.factor = features, factor

    @override
    def forward(self, images: Tensor) -> Tensor:
        return F.interpolate(self.features(images), scale_factor=self.factor, mode="bilinear", align_corners=False)


class AtLargerImage(nn.Module):
    """Dense features of the image enlarged bilinearly: what an upsampler of features tries to reach cheaply.

    Args:
        features: dense features, (B, 3, H, W) in [0, 1] -> (B, C, h, w).
        factor: how many times larger height and width of the image become before ``features`` sees it.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(self, features: nn.Module, factor: PositiveInt = 2):
        check_options(AtLargerImage, locals())
        super().__init__()
        self.features, self.factor = features, factor

    @override
    def forward(self, images: Tensor) -> Tensor:
        larger = F.interpolate(images, scale_factor=self.factor, mode="bilinear", align_corners=False)
        return self.features(larger)
