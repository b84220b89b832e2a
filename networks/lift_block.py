"""The LiFT block (thesis 8.2.2, Figure 8.2): ViT features and the image in, features on a grid twice as fine out."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.cells import Cells
from networks.vit_features import ViTFeatures
from networks.weights import load_state, read_state_dict

STEM = 32  # channels of the image, of the authors' network
# Our names for the modules of the authors' released state dicts.
OFFICIAL_NAMES = {
    "image_convs_1": "stem",
    "image_convs_2": "coarse",
    "up1.up": "up",
    "up1.conv_1.double_conv": "fuse",
    "outc": "out",
}


class LiFTBlock(nn.Module):
    """Doubles the resolution of ViT features with the help of the image.

    A U-Net of one level, as in the authors' released network (the thesis gives only its idea): strided convolutions
    bring the image to the fine grid (2h, 2w) and on to the coarse grid (h, w); the ViT's features join it there, a
    transposed convolution carries them to the fine grid, and two convolutions fuse them with the fine image features.
    No residual path and no final norm, so the magnitude is free where the loss is the cosine distance.

    Args:
        dim: channels C of the features.
        patch_size: of the ViT in pixels; any size. The stems see 8 pixels a patch below patch 12 and 16 above, for
            which the image is resized where the patch has another size; the authors' network takes 8 and 16 only.
        stride: between the ViT's patches in pixels; the patch size if None.
        use_image: whether the image is used; without it the block has no stems and zeros in their place (table 8.9).
        stem: channels that the stems make of the image.
        stem_blocks: further convolutions of the image on the fine grid, for larger ViTs (thesis 8.7.2).
    """

    def __init__(
        self,
        dim: int,
        patch_size: int,
        stride: int | None = None,
        use_image: bool = True,
        stem: int = STEM,
        stem_blocks: int = 0,
    ):
        super().__init__()
        self.dim, self.patch_size, self.stride = dim, patch_size, stride or patch_size
        self.cell = 8 if patch_size < 12 else 16
        self.use_image, self.stem_width = use_image, stem
        if use_image:
            further = [layer for _ in range(stem_blocks) for layer in _convolution(stem, stem)]
            self.stem = nn.Sequential(*_strided(3, stem), *_strided(stem, stem), *further)
            self.shrink = nn.MaxPool2d(2) if self.cell == 16 else nn.Identity()
            self.coarse = nn.Sequential(*_strided(stem, stem))
        raised = (dim + stem) // 2
        self.up = nn.ConvTranspose2d(dim + stem, raised, kernel_size=2, stride=2)
        self.fuse = nn.Sequential(*_convolution(raised + stem, dim // 2), *_convolution(dim // 2, dim // 2))
        self.out = nn.Conv2d(dim // 2, dim, kernel_size=1)

    @override
    def forward(self, features: Tensor, image: Tensor) -> Tensor:
        """Return features (B, C, 2h, 2w).

        Args:
            features: (B, C, h, w), of a ViT with this patch size and stride.
            image: (B, 3, H, W), normalised as its ViT saw it, of the same size or with what the ViT left unseen at the
                right and the bottom.
        """
        return self._lift(features, self._covered(image, features.shape[-2:]))

    def repeat(self, features: Tensor, image: Tensor, times: int) -> Tensor:
        """Return features (B, C, 2**times h, 2**times w): the block applied to its own output (thesis 8.5.4).

        Before every further application the image is enlarged twofold with bilinear interpolation, as in the official
        code; the thesis does not mention it.
        """
        covered = self._covered(image, features.shape[-2:])
        for n in range(times):
            if n:
                covered = F.interpolate(covered, scale_factor=2, mode="bilinear", align_corners=False)
            features = self._lift(features, covered)
        return features

    def effective_parameters(self) -> list[nn.Parameter]:
        """Return the parameters that the output depends on: all but the stems' biases.

        The batch norm behind a stem takes its bias away again. Such a bias has nothing but rounding errors for a
        gradient, of which Adam would make full steps.
        """
        biases = ("stem.0.bias", "stem.3.bias", "coarse.0.bias")
        return [parameter for name, parameter in self.named_parameters() if name not in biases]

    def load_official(self, state_dict: Mapping[str, Tensor], source: str = "this state dict") -> None:
        """Load a state dict with the names of the authors' released network or with our own; strict.

        Args:
            state_dict: name to tensor.
            source: what it comes from, for the message.

        Raises:
            UserError: names or shapes differ, for instance because the file belongs to another width.
        """
        renamed = {_own_name(key): value for key, value in state_dict.items()}
        remedy = f"Give weights of a LiFT block for {self.dim} channels, made with the same stem."
        load_state(self, renamed, source, remedy)

    def _covered(self, image: Tensor, grid: torch.Size) -> Tensor:
        """Return the part of the image that the features stand for, at ``cell`` pixels a grid cell.

        A cell is a square of ``stride`` pixels around the centre of a patch, so that the first one starts at
        (patch - stride) / 2. Where patch and stride are 8 or 16 and H, W are multiples, this is the image itself.
        """
        h, w = grid
        margin = (self.patch_size - self.stride) // 2
        height, width = self.stride * h, self.stride * w
        if image.shape[-2] < margin + height or image.shape[-1] < margin + width:
            raise ValueError(
                f"features of {h}x{w} cells do not belong to an image of {image.shape[-2]}x{image.shape[-1]} pixels "
                f"at patch {self.patch_size} and stride {self.stride}"
            )
        image = image[..., margin : margin + height, margin : margin + width]
        if self.stride == self.cell or not self.use_image:
            return image
        return F.interpolate(image, (self.cell * h, self.cell * w), mode="bilinear", align_corners=False)

    def _lift(self, features: Tensor, image: Tensor) -> Tensor:
        if self.use_image:
            fine = self.shrink(self.stem(image))
            coarse = self.coarse(fine)
        else:
            # Zeros after the stems: a zero image would still pass the stems' biases and batch norms.
            b, _, h, w = features.shape
            fine = features.new_zeros(b, self.stem_width, 2 * h, 2 * w)
            coarse = features.new_zeros(b, self.stem_width, h, w)
        raised = self.up(torch.cat([features, coarse], 1))
        return self.out(self.fuse(torch.cat([raised, fine], 1)))


def load_block(block: LiFTBlock, path: str) -> None:
    """Load a block's weights from a checkpoint of ours, a bare state dict, or one of the authors' files.

    Raises:
        UserError: the file cannot be read or does not fit.
    """
    state = read_state_dict(path)
    own = {key.removeprefix("block."): value for key, value in state.items() if key.startswith("block.")}
    block.load_official(own or state, f"'{path}'")


class Lifted(nn.Module):
    """Dense features of a ViT followed by LiFT: images (B, 3, H, W) in [0, 1] to (B, C, 2**times h, 2**times w).

    Args:
        backbone: the frozen ViT.
        block: its LiFT block.
        times: how often the block is applied.
    """

    def __init__(self, backbone: ViTFeatures, block: LiFTBlock, times: int = 1):
        super().__init__()
        self.backbone, self.block, self.times = backbone, block, times

    @override
    def forward(self, images: Tensor) -> Tensor:
        return self.block.repeat(self.backbone(images), self.backbone.normalise(images), self.times)

    def cells(self) -> Cells:
        """Return where the cells lie: each cell of the ViT is split into 2**times along either side."""
        return self.backbone.cells().split(2**self.times)


def _strided(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, stride=2, padding=1)
    return convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)


def _convolution(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    convolution = nn.Conv2d(channels_in, channels_out, kernel_size=3, padding=1, bias=False)
    return convolution, nn.BatchNorm2d(channels_out), nn.ReLU(inplace=True)


def _own_name(key: str) -> str:
    key = key.removeprefix("module.").replace("outc.conv.", "outc.")
    for official, own in OFFICIAL_NAMES.items():
        if key.startswith(f"{official}."):
            return own + key[len(official) :]
    return key
