"""The network of Diff2Lip: a UNet that sees noise, the masked frame and a reference, and hears a frame's sound."""

import math
from dataclasses import dataclass
from typing import Annotated, Literal, NamedTuple

import torch
from diffusers.models.attention_processor import Attention
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d import UNet2DModel
from torch import Tensor, nn
from typing_extensions import override

from lightning_modules.diff2lip.audio_network import AudioOptions, zero
from visionscapes.checks import Among, Bounds, NonNegativeInt, PositiveInt, ShareBelowOne, check_options
from visionscapes.errors import UserError

IMAGES = 3  # x_t, the condition and the reference
COLOURS = 3


@dataclass(frozen=True)
class UNetOptions:
    """What the UNet is made of; the defaults are those of the published network, for 128 pixels.

    Args:
        base: channels of the first level.
        multipliers: channels of the levels, in multiples of ``base``; each level has half the resolution of the last.
        blocks: residual blocks of a level.
        attention_levels: levels that have self-attention, from 0; the default is 32, 16 and 8 of 128 pixels. The
            lowest resolution has it in the middle in any case.
        head_channels: channels of an attention head.
        conditioning: how step and sound reach a residual block: "additive", before its second norm, as published, or
            "scale_shift" of it, as 6.2.1.2 can be read.
        learn_sigma: whether it also gives three channels of variance, as published, of which DDIM makes no use.
        dropout: in the residual blocks.

    Raises:
        UserError: an option out of its bounds, a level that does not exist, or heads that do not fit the channels.
    """

    base: Annotated[int, Bounds(least=4)] = 128
    multipliers: tuple[Annotated[int, Bounds(least=1), Among(1)], ...] = (1, 1, 2, 3, 4)
    blocks: PositiveInt = 2
    attention_levels: tuple[NonNegativeInt, ...] = (2, 3, 4)
    head_channels: PositiveInt = 64
    conditioning: Literal["additive", "scale_shift"] = "additive"
    learn_sigma: bool = False
    dropout: ShareBelowOne = 0.0

    def __post_init__(self) -> None:
        check_options(UNetOptions, vars(self))
        levels = len(self.multipliers)
        if any(level >= levels for level in self.attention_levels):
            raise UserError(
                f"UNetOptions.attention_levels is {self.attention_levels}; of {levels} levels the last is {levels - 1}"
            )
        if self.base % 4:
            raise UserError(f"UNetOptions.base is {self.base}; it has to be a multiple of 4, for the group norms")
        for level in {*self.attention_levels, levels - 1}:
            if self.channels[level] % self.head_channels:
                raise UserError(
                    f"UNetOptions.head_channels is {self.head_channels}; it has to divide the {self.channels[level]} "
                    f"channels of level {level}, base times its multiplier"
                )

    @property
    def channels(self) -> list[int]:
        """Channels of the levels."""
        return [self.base * multiplier for multiplier in self.multipliers]

    @property
    def smallest(self) -> int:
        """What height and width of images have to be multiples of, in pixels."""
        return 2 ** (len(self.multipliers) - 1)

    @property
    def dim(self) -> int:
        """Length of the vectors of step and sound."""
        return 4 * self.channels[0]

    def build(self) -> UNet2DModel:
        """Return the UNet, which gives zeros at the start."""
        down = [
            "AttnDownBlock2D" if level in self.attention_levels else "ResnetDownsampleBlock2D" for level in self._levels
        ]
        up = ["AttnUpBlock2D" if level in self.attention_levels else "ResnetUpsampleBlock2D" for level in self._levels]
        groups = math.gcd(32, self.base)
        unet = UNet2DModel(
            in_channels=IMAGES * COLOURS,
            out_channels=COLOURS * (1 + self.learn_sigma),
            block_out_channels=tuple(self.channels),
            layers_per_block=self.blocks,
            down_block_types=tuple(down),
            up_block_types=tuple(reversed(up)),
            downsample_type="resnet",
            upsample_type="resnet",
            attention_head_dim=self.head_channels,
            norm_num_groups=groups,
            attn_norm_num_groups=groups,  # without it, scale_shift would leave the norm of the middle's attention out
            norm_eps=1e-5,
            dropout=self.dropout,
            flip_sin_to_cos=True,
            freq_shift=0,
            class_embed_type="identity",
            resnet_time_scale_shift="default" if self.conditioning == "additive" else "scale_shift",
        )
        for layer in unet.modules():
            if isinstance(layer, ResnetBlock2D):
                zero(layer.conv2)
            if isinstance(layer, Attention):
                zero(layer.to_out[0])
        zero(unet.conv_out)
        return unet

    @property
    def _levels(self) -> range:
        return range(len(self.multipliers))


class Conditions(NamedTuple):
    """What the UNet sees beside the noised frames, the same at every step.

    Attributes:
        masked: (N, 3, h, w) in [-1, 1], frames whose masked part is noise.
        reference: (N, 3, h, w) in [-1, 1], other frames of the same person.
        mask: (N, 1, h, w), 1 where it generates and 0 elsewhere.
    """

    masked: Tensor
    reference: Tensor
    mask: Tensor


class LipNetwork(nn.Module):
    """The UNet and E_Audio: what is to be predicted of the masked part of frames, one frame at a time.

    Args:
        unet: what the UNet is made of.
        audio: how sound is encoded.

    Raises:
        UserError: see `AudioOptions.build`.
    """

    def __init__(self, unet: UNetOptions, audio: AudioOptions):
        super().__init__()
        self.audio, self.unet = audio.build(unet.dim), unet.build()

    @property
    def dtype(self) -> torch.dtype:
        """What its weights are in, and so what it computes in where there is no autocast."""
        return self.unet.conv_in.weight.dtype

    def embed(self, frame_mel: Tensor) -> Tensor:
        """Return the vectors (N, D) of frames' sound (N, 80, 16), the same for every step of a sampling."""
        return self.audio(frame_mel.to(self.dtype))

    @override
    def forward(self, x_t: Tensor, step: Tensor, sound: Tensor, *, conditions: Conditions) -> Tensor:
        """Return the prediction (N, 3, h, w), or (N, 6, h, w) with variances, for frames at a step of the diffusion.

        Args:
            x_t: (N, 3, h, w) noised frames; outside the mask the condition stands in for them.
            step: (N,) or () int64, t.
            sound: (N, D) from `embed`; zeros for none.
            conditions: what else it sees.
        """
        x_t = torch.where(conditions.mask > 0, x_t, conditions.masked)
        seen = torch.cat([x_t, conditions.masked, conditions.reference], 1).to(self.dtype)
        return self.unet(seen, step, sound, return_dict=False)[0]
