"""Pictures that a small diffusion model draws from noise: the one kind of source here that has learned from another."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from networks.box_diffusion import BoxDiffusion, emptied, painted_boxes

SIDE = 40  # pixels of the pictures that are drawn, what `generators.capture` needs for pictures of 32
STEPS = 10  # of DDIM; 50 take five times as long and look the same


class PictureDiffusion:
    """A diffusion model of whole pictures of several contents, sampled by DDIM without fresh noise.

    Args:
        path: of the weights, as a run of ``configs/gan_discovery_diffusion.yaml`` leaves them.

    Attributes:
        contents: that it has learned to draw.

    Raises:
        UserError: the file is missing or holds another network.
    """

    def __init__(self, path: str | Path):
        self.network = BoxDiffusion.from_file(path)
        self.contents = self.network.classes

    @torch.no_grad()
    def __call__(self, content: str, rngs: Sequence[np.random.Generator], size: int) -> Tensor:
        """Return pictures (B, 3, size, size) float32 in [0, 1].

        They are drawn with ``SIDE`` pixels and resized where others are asked for.

        Args:
            content: one of ``contents``.
            rngs: the random numbers of the B pictures, out of which their first noise is drawn.
            size: side in pixels.
        """
        planes = whole_picture(self.contents.index(content), len(self.contents), SIDE)
        noise = np.stack([rng.standard_normal((3, SIDE, SIDE), np.float32) for rng in rngs])
        drawn, scheduler = torch.from_numpy(noise), self.network.scheduler(STEPS)
        asked = emptied(torch.zeros_like(drawn), planes.expand(len(drawn), -1, -1, -1))
        for step in scheduler.timesteps:
            drawn = scheduler.step(self.network(drawn, step, asked), step, drawn, return_dict=False)[0]
        pictures = ((drawn + 1) / 2).clamp(0, 1)
        if size == SIDE:
            return pictures
        return F.interpolate(pictures, (size, size), mode="bicubic", antialias=True).clamp(0, 1)


def whole_picture(content: int, contents: int, size: int) -> Tensor:
    """Return planes (3 + contents, size, size) that ask for a whole picture of a content, by its number."""
    return painted_boxes(torch.tensor([[0.0, 0, size, size]]), [content], contents, (size, size))
