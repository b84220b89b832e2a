"""LiFT as a network of its own, from images to lifted features."""

from torch import Tensor, nn
from typing_extensions import override

from networks.any_size import top_left
from networks.lift_block import LiFTBlock, Lifted
from networks.vit_features import ViTFeatures
from visionscapes.exporting.parts import BATCH, Exportable, Input, Size


class LiftedAtAnySize(nn.Module):
    """`networks.lift_block.Lifted` in a form that can be followed once for images of all sizes.

    Args:
        backbone: the frozen ViT.
        block: its LiFT block.
    """

    def __init__(self, backbone: ViTFeatures, block: LiFTBlock):
        super().__init__()
        self.backbone, self.block = backbone.traceable(), block

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, C, 2h, 2w) of images (B, 3, H, W) in [0, 1]."""
        h, w = self.backbone.grid(images.shape[2], images.shape[3])
        patch, stride = self.backbone.patch_size, self.backbone.stride
        # What the ViT leaves unseen is cut off.
        seen = top_left(images, (h - 1) * stride + patch, (w - 1) * stride + patch)
        return self.block(self.backbone(seen), self.backbone.normalise(seen))


def lifted(backbone: ViTFeatures, block: LiFTBlock) -> Exportable:
    """Return LiFT as it is exported, with the sizes of images that its ViT takes."""
    patch, native = backbone.patch_size, backbone.vit.patch_embed.img_size
    sizes = {"batch": BATCH}
    shape: tuple[int | str, ...] = ("batch", 3, *(backbone.fixed_size or ("height", "width")))
    if backbone.fixed_size is None:
        # Neither of them a multiple of the patch; smaller, larger in one direction; and the ViT's own size.
        sizes["height"] = Size(5 * patch + 3, (3 * patch, native[0]), fixed=native[0])
        sizes["width"] = Size(4 * patch + 1, (7 * patch + 2, native[1]), fixed=native[1])
    return Exportable(
        name="lift",
        network=LiftedAtAnySize(backbone, block),
        inputs={"images": Input(shape=shape, meaning="RGB images; normalised inside")},
        outputs={"features": "lifted features, a grid twice as fine as that of the ViT's patches"},
        sizes=sizes,
        reference=Lifted(backbone, block),
        about={"patch_size": patch, "stride": backbone.stride, "channels": backbone.dim},
    )
