"""E_Audio: what the sound of a frame says about the mouth, as a vector that the UNet is conditioned on (6.2.1.2)."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from diffusers.models.embeddings import TimestepEmbedding
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.audio import MEL_BINS
from networks.sync_network import SyncLayer, SyncNetwork
from visionscapes.checks import Bounds, ShareBelowOne, check_options
from visionscapes.errors import UserError

MULTIPLIERS = (1, 2, 3, 4)  # channels of the levels, in multiples of the width
POOLING = ((2, 1), (2, 1), (2, 2))  # frequencies and time, from one level to the next
BLOCKS = 2  # of a level
ENTRY = 64  # what the first convolution, which sees frequencies as channels, makes of the 80


@dataclass(frozen=True)
class AudioOptions:
    """How the sound of a frame is encoded.

    Args:
        encoder: "unet" for residual blocks like those of the UNet (thesis 6.2.1.2), or "syncnet" for the sound branch
            of a SyncNet, which is trained on.
        width: channels of the first level of "unet"; a multiple of 4.
        syncnet: for "syncnet", the file of a SyncNet whose sound branch is copied; None for Wav2Lip's architecture with
            random weights.
        dropout: share of the training windows that get no sound, which guidance needs.

    Raises:
        UserError: an option out of its bounds.
    """

    encoder: Literal["unet", "syncnet"] = "unet"
    width: Annotated[int, Bounds(least=4)] = 32
    syncnet: str | None = None
    dropout: ShareBelowOne = 0.0

    def __post_init__(self) -> None:
        check_options(AudioOptions, vars(self))
        if self.width % 4:
            raise UserError(f"AudioOptions.width is {self.width}; it has to be a multiple of 4")

    def build(self, dim: int) -> nn.Module:
        """Return the encoder: (N, 80, 16) in [-4, 4] to (N, dim), which is zero at the start.

        Raises:
            UserError: the SyncNet's file cannot be read.
        """
        if self.encoder == "unet":
            return AudioEncoder(dim, self.width)
        return SyncAudioEncoder(dim, SyncNetwork() if self.syncnet is None else SyncNetwork.from_file(self.syncnet))


class AudioEncoder(nn.Module):
    """E_Audio as published: residual blocks at four levels between the mel spectrogram and one vector.

    A convolution over time sees the 80 frequencies as channels and gives 64, which stand as the height of a picture
    from then on. Its residual blocks take the embedding of a step, as those of the UNet do; the step is always 0.

    Args:
        dim: D, length of the vector.
        width: channels of the first level.
    """

    def __init__(self, dim: int, width: int = 32):
        super().__init__()
        groups = math.gcd(32, width)
        self.time_embedding = TimestepEmbedding(width, width)
        self.entry = nn.Conv1d(MEL_BINS, ENTRY, 3, padding=1)
        self.entry_norm = nn.GroupNorm(math.gcd(32, ENTRY), ENTRY)
        self.conv_in = nn.Conv2d(1, width, 3, padding=1)
        blocks: list[ResnetBlock2D] = []
        channels = width
        for level, multiplier in enumerate(MULTIPLIERS):
            for _ in range(BLOCKS):
                blocks.append(_block(channels, multiplier * width, steps=width, groups=groups))
                channels = multiplier * width
            if level < len(POOLING):
                blocks.append(_block(channels, channels, steps=width, groups=groups, down=True))
                blocks[-1].downsample = nn.AvgPool2d(POOLING[level])  # type: ignore[assignment]
        blocks.append(_block(channels, channels, steps=width, groups=groups))
        self.blocks = nn.ModuleList(blocks)
        self.norm = nn.GroupNorm(groups, channels)
        self.style = nn.Conv2d(channels, dim, 1)
        for block in blocks:
            zero(block.conv2)
        zero(self.style)

    @override
    def forward(self, mel: Tensor) -> Tensor:
        """Return vectors (N, D) of frames' sound (N, 80, 16) in [-4, 4]."""
        x = self.conv_in(F.silu(self.entry_norm(self.entry(mel)))[:, None])
        cosines, sines = torch.ones_like(self.time_embedding.linear_1.bias).chunk(2)  # of the step 0
        step = self.time_embedding(torch.cat([cosines, 0 * sines])[None])
        for block in self.blocks:
            x = block(x, step)
        return self.style(F.silu(self.norm(x)).mean((2, 3), keepdim=True)).flatten(1)


class SyncAudioEncoder(nn.Module):
    """The sound branch of a SyncNet, trained on, and a linear map of what it hears.

    Args:
        dim: D, length of the vector.
        network: the SyncNet; its sound branch is copied.

    Attributes:
        options: of the SyncNet.
    """

    def __init__(self, dim: int, network: SyncNetwork):
        super().__init__()
        self.options = network.options
        self.sound = nn.Sequential(*network.sound).requires_grad_(True)
        for layer in self.sound.modules():
            if isinstance(layer, SyncLayer) and isinstance(layer.norm, nn.BatchNorm2d):
                layer.conv.bias.requires_grad_(False)  # type: ignore[union-attr]  # which the norm takes away again
        self.style = nn.Linear(network.dim, dim)
        zero(self.style)

    @override
    def forward(self, mel: Tensor) -> Tensor:
        """Return vectors (N, D) of frames' sound (N, 80, 16) in [-4, 4]."""
        return self.style(self.sound(mel[:, None]).flatten(1))


def zero(layer: nn.Module) -> None:
    """Let a layer give zeros until it has learned."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


def _block(inputs: int, outputs: int, *, steps: int, groups: int, down: bool = False) -> ResnetBlock2D:
    return ResnetBlock2D(
        in_channels=inputs,
        out_channels=outputs,
        temb_channels=steps,
        groups=groups,
        eps=1e-5,
        non_linearity="silu",
        down=down,
    )
