"""A ViT seen layer by layer as a network of its own."""

import re

from torch import Tensor, nn
from typing_extensions import override

from networks.vit_layers import Layered
from visionscapes.exporting.parts import Exportable, Input


class LayersOfViT(nn.Module):
    """The patch tokens of all layers of a ViT.

    Args:
        vit: seen layer by layer.
    """

    def __init__(self, vit: Layered):
        super().__init__()
        self.vit = vit

    @override
    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Return patch tokens (B, C, h, w) of every layer for images (B, 3, S, S) in [0, 1]."""
        return tuple(self.vit(images).values())


def layers_of_vit(name: str, vit: Layered) -> Exportable:
    """Return a ViT as it is exported: for square pictures of the size at which the data bring them.

    Args:
        name: under which results report it.
        vit: seen layer by layer.
    """
    size, layers = vit.data_size, range(1, vit.depth + 1)
    return Exportable(
        name=re.sub(r"\W+", "_", name).strip("_").lower() or "vit",
        network=LayersOfViT(vit),
        inputs={"images": Input(shape=("batch", 3, size, size), meaning="RGB images; normalised inside")},
        outputs={f"layer_{layer}": "patch tokens of the block, before the final norm" for layer in layers},
        about={"model": name, "patch_size": vit.patch_size, "channels": vit.dim},
    )
