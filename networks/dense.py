"""Dense features: anything that maps RGB images (B, 3, H, W) in [0, 1] to features (B, C, h, w), normalising inside."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.cells import Cells, cells_of
from visionscapes.checks import PositiveInt, check_options
from visionscapes.errors import UserError


@runtime_checkable
class HasDenseFeatures(Protocol):
    """A module that offers one or several dense features to be evaluated next to each other."""

    def dense_features(self) -> Mapping[str, nn.Module]:
        """Return the dense features by the name under which results report them."""
        ...


def check_finite(features: Tensor, name: str, precision: object = None) -> None:
    """Check that features are numbers: what is not finite would get a score like any other.

    Args:
        features: (B, C, h, w).
        name: what gave them, for the message.
        precision: of the run, if it may be the reason.

    Raises:
        UserError: some of them are infinite or not a number.
    """
    finite = features.isfinite().flatten(1).all(1)
    if bool(finite.all()):
        return
    lower = f", or try another precision than {precision}" if "16" in str(precision) else ""
    raise UserError(
        f"features of {name} are infinite or not a number for {int((~finite).sum())} of {len(finite)} images of a "
        f"batch, the first being number {int((~finite).int().argmax())}: look at the weights and at the images{lower}"
    )


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

    def cells(self) -> Cells | None:
        """Return where the cells lie, ``factor`` in the place of one; see ``networks.cells.LocatesCells``."""
        cells = cells_of(self.features)
        return None if cells is None else cells.split(self.factor)


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

    def cells(self) -> Cells | None:
        """Return where the cells lie in the image before it is enlarged; see ``networks.cells.LocatesCells``."""
        cells = cells_of(self.features)
        return None if cells is None else cells.at(1, self.factor)
