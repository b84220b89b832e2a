"""The network that tells sources apart as one that gives features and logits."""

from collections.abc import Sequence

from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.gan_discovery.network import AttributionNetwork
from visionscapes.exporting.parts import BATCH, Exportable, Input, Size

SIDE = 64  # pixels of the example, where a backbone does not say which it was made for


class FeaturesAndLogits(nn.Module):
    """Features and logits from one pass.

    Args:
        network: that tells sources apart.
    """

    def __init__(self, network: AttributionNetwork):
        super().__init__()
        self.network = network

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, dim) and logits (B, classes) of images (B, 3, H, W) in [0, 1]."""
        features = self.network(images)
        return features, self.network.logits(features)


def attribution(network: AttributionNetwork, names: Sequence[str] | None) -> Exportable:
    """Return the network as it is exported.

    Args:
        network: that tells sources apart.
        names: of the known sources, whose logits come first; None where they are not known.
    """
    told = (getattr(network.backbone, "default_cfg", None) or {}).get("input_size", (3, SIDE, SIDE))
    side = int(getattr(getattr(network.backbone, "patch_embed", None), "img_size", told)[-1])
    return Exportable(
        name="gan_discovery",
        network=FeaturesAndLogits(network),
        inputs={"images": Input(shape=("batch", 3, "height", "width"), meaning="RGB images; normalised inside")},
        outputs={
            "features": "what discovery clusters",
            "logits": "of the known sources, and behind them of the clusters that were found",
        },
        sizes={
            "batch": BATCH,
            "height": Size(side + 32, (2 * side, side), fixed=side),
            "width": Size(side + 64, (side + 96, side), fixed=side),
        },
        about={} if names is None else {"classes": list(names)},
    )
