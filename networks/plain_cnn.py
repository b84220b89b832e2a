"""A small convolutional network for small pictures, as a model of timm: ``timm.create_model("plain_cnn")``."""

from collections.abc import Sequence
from typing import Any

from timm.models import register_model
from torch import Tensor, nn
from typing_extensions import override


class PlainCNN(nn.Module):
    """Convolutions 3 x 3 with batch norm and ReLU, the first at full resolution and every other at half of the last.

    Models of timm throw away three quarters of the pixels in their first layer. A generator's traces are in
    neighbouring pixels, and pictures of 64 px have none to spare.

    Args:
        widths: channels of the layers.
    """

    def __init__(self, widths: Sequence[int] = (16, 24, 32, 48)):
        super().__init__()
        before = [3, *widths[:-1]]
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(inner, outer, 3, stride=2 if place else 1, padding=1, bias=False),
                nn.BatchNorm2d(outer),
                nn.ReLU(),
            )
            for place, (inner, outer) in enumerate(zip(before, widths, strict=True))
        )
        self.num_features = widths[-1]
        self.feature_info = [
            {"num_chs": width, "reduction": 2**place, "module": f"layers.{place}"} for place, width in enumerate(widths)
        ]

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return the means (B, widths[-1]) of the last maps of images (B, 3, H, W)."""
        for layer in self.layers:
            images = layer(images)
        return images.mean((2, 3))


@register_model
def plain_cnn(
    pretrained: bool = False, num_classes: int = 0, widths: Sequence[int] = (16, 24, 32, 48), **_: Any
) -> Any:
    """Return a `PlainCNN` without a head; there are no published weights.

    Raises:
        ValueError: weights or a head are asked for.
    """
    if pretrained or num_classes:
        raise ValueError("plain_cnn has no published weights and no classifier")
    return PlainCNN(widths)
