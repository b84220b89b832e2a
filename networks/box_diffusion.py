"""A small diffusion model that draws objects of given classes into boxes, over what surrounds them.

It estimates the picture itself from a noised one. Pictures go in and out as cells of 4 x 4 pixels, so that a sixteenth
of the places are computed; smaller cells cost more and learn sooner how to take noise away.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import torch
from diffusers.models.unets.unet_2d import UNet2DModel
from diffusers.schedulers.scheduling_ddim import DDIMScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.weights import load_state, read_metadata, read_state_dict
from visionscapes.checks import Among, Bounds, PositiveInt, check_options
from visionscapes.errors import UserError

CELL = 4  # pixels of a side, unless a network is made with others
SPREAD = 0.5  # standard deviation of pictures in [-1, 1], about
STEPS = 1000  # T, of the training
PLACES = 3  # planes before those of the classes: the mask, and where in its box a pixel lies
COVERED = 0.5  # of a plane, where a smaller box lies over one
LEFT_BY = "give a file that a run of configs/gen2det_inpainter.yaml has left"


class AskedBoxes(NamedTuple):
    """What is to be drawn, and what is around it.

    Attributes:
        kept: (B, 3, H, W) float32 in [-1, 1], pictures whose boxes are empty, 0.
        planes: (B, 3 + K, H, W) float32, see `painted_boxes`.
    """

    kept: Tensor
    planes: Tensor

    @property
    def mask(self) -> Tensor:
        """(B, 1, H, W), 1 where something is drawn and 0 elsewhere."""
        return self.planes[:, :1]


class BoxDiffusion(nn.Module):
    """A UNet of diffusers without attention, for pictures of any size.

    Args:
        classes: names of the K classes that it draws.
        channels: of its levels, each of half the resolution of the last; the first has the cells.
        blocks: residual blocks of a level.
        cell: pixels of a side of the cells.

    Attributes:
        alphas: (T,) float32, the cumulative products alpha-bar of the noise scales.

    Raises:
        UserError: an option out of its bounds, or channels that are no multiples of 8.
    """

    alphas: Tensor

    def __init__(
        self,
        classes: Sequence[str],
        channels: Sequence[Annotated[int, Bounds(least=8), Among(1)]] = (64, 80),
        blocks: PositiveInt = 1,
        cell: PositiveInt = CELL,
    ):
        check_options(BoxDiffusion, locals())
        super().__init__()
        if any(each % 8 for each in channels):
            raise UserError(f"BoxDiffusion.channels is {list(channels)}; each has to be a multiple of 8")
        self.classes, self.channels, self.blocks, self.cell = tuple(classes), tuple(channels), blocks, cell
        levels = len(self.channels)
        self.unet = UNet2DModel(
            in_channels=(2 * 3 + 1) * cell**2 + PLACES + len(self.classes),
            out_channels=3 * cell**2,
            block_out_channels=self.channels,
            layers_per_block=blocks,
            down_block_types=("DownBlock2D",) * levels,
            up_block_types=("UpBlock2D",) * levels,
            add_attention=False,
            norm_num_groups=math.gcd(16, *self.channels),
            resnet_time_scale_shift="scale_shift",
        )
        torch.nn.init.zeros_(self.unet.conv_out.weight)
        self.register_buffer("alphas", self.scheduler(1).alphas_cumprod.clone(), persistent=False)

    @property
    def options(self) -> dict[str, Any]:
        """The options that it was made with."""
        plain = {"classes": list(self.classes), "channels": list(self.channels), "blocks": self.blocks}
        return plain | {"cell": self.cell}

    @property
    def multiple(self) -> int:
        """What height and width of pictures have to be multiples of, in pixels."""
        return self.cell * 2 ** (len(self.channels) - 1)

    @staticmethod
    def scheduler(steps: int) -> DDIMScheduler:
        """Return DDIM over some of the T steps, from T - 1, where all is noise, to the picture."""
        with torch.device("cpu"):
            scheduler = DDIMScheduler(
                STEPS, beta_schedule="squaredcos_cap_v2", prediction_type="sample", timestep_spacing="trailing"
            )
            scheduler.set_timesteps(steps)
        return scheduler

    def noised(self, image: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Return x_t of pictures (B, 3, H, W) in [-1, 1] and noise of their shape, at steps (B,) int64."""
        alphas = self.alphas[step][:, None, None, None]
        return alphas.sqrt() * image + (1 - alphas).sqrt() * noise

    @override
    def forward(self, noised: Tensor, step: Tensor | int, asked: AskedBoxes) -> Tensor:
        """Return the estimate (B, 3, H, W) of the pictures, in units of [-1, 1], outside the boxes as they are.

        Args:
            noised: (B, 3, H, W), x_t; outside the boxes the pictures stand in for it.
            step: (B,) or () int64, t.
            asked: what is to be drawn.
        """
        alphas = self.alphas[step].reshape(-1, 1, 1, 1)
        # After Karras et al., "Elucidating the design space of diffusion models" (NeurIPS 2022): what the noised
        # picture alone says is not left to the network, which adds the rest, of the same size at every step.
        variance = alphas * SPREAD**2 + 1 - alphas
        share, rest = alphas.sqrt() * SPREAD**2 / variance, SPREAD * ((1 - alphas) / variance).sqrt()
        within = torch.where(asked.mask > 0, noised / variance.sqrt(), asked.kept)
        cells = F.pixel_unshuffle(torch.cat([within, asked.kept, asked.mask], 1), self.cell)
        seen = torch.cat([cells, F.avg_pool2d(asked.planes, self.cell)], 1)
        made = F.pixel_shuffle(self.unet(seen, step, return_dict=False)[0], self.cell)
        return torch.where(asked.mask > 0, share * noised + rest * made, asked.kept)

    @classmethod
    def from_file(cls, path: str | Path) -> "BoxDiffusion":
        """Return the frozen network of a file that knows its own options, as its training leaves it.

        Raises:
            UserError: the file cannot be read, or holds another network.
        """
        header = read_metadata(path)
        try:
            channels = [int(each) for each in header["channels"].split(",")]
            cell = int(header.get("cell", CELL))  # which files of older versions do not name
            network = cls(header["classes"].split(","), channels, int(header["blocks"]), cell=cell)
        except (KeyError, ValueError) as error:
            raise UserError(f"'{path}' does not say which diffusion model it holds: {LEFT_BY}") from error
        load_state(network, read_state_dict(path), f"'{path}'", f"To mend it, {LEFT_BY}.")
        return network.requires_grad_(False).eval()

    def described(self) -> dict[str, str]:
        """Return the options as `from_file` reads them in the header of a file."""
        return {
            "classes": ",".join(self.classes),
            "channels": ",".join(map(str, self.channels)),
            "blocks": str(self.blocks),
            "cell": str(self.cell),
        }


def painted_boxes(boxes: Tensor, labels: Sequence[int], classes: int, size: tuple[int, int]) -> Tensor:
    """Return planes that say where objects are to be drawn, and of which class.

    Of boxes that lie over each other the smaller one is in front.

    Args:
        boxes: (N, 4) xyxy pixels; pixels that are covered in part belong to them.
        labels: N numbers of classes.
        classes: K.
        size: H and W.

    Returns:
        (3 + K, H, W) float32: 1 within any box; x and y in the box in front, from -1 at its left or upper edge to 1;
        and for each class 1 in its boxes, less where they are covered.
    """
    height, width = size
    planes = torch.zeros(PLACES + classes, height, width)
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
    for row in areas.argsort(descending=True, stable=True).tolist():
        low_x, low_y, high_x, high_y = boxes[row].tolist()
        rows = slice(max(math.floor(low_y), 0), max(math.ceil(high_y), 0))
        columns = slice(max(math.floor(low_x), 0), max(math.ceil(high_x), 0))
        part = planes[:, rows, columns]
        part[PLACES:] *= COVERED
        part[0] = 1
        part[1] = _along(low_x, high_x, width)[columns]
        part[2] = _along(low_y, high_y, height)[rows, None]
        part[PLACES + labels[row]] = 1
    return planes


def emptied(image: Tensor, planes: Tensor) -> AskedBoxes:
    """Return what is asked of pictures (B, 3, H, W) in [0, 1], with the inside of their boxes taken out."""
    return AskedBoxes((2 * image - 1) * (1 - planes[:, :1]), planes)


def _along(low: float, high: float, length: int) -> Tensor:
    """Return (length,), -1 to 1 between two edges, of the centres of pixels."""
    return ((torch.arange(length) + 0.5 - low) / max(high - low, 1e-6) * 2 - 1).clamp(-1, 1)
