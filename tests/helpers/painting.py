"""A module that dubs without a network: it paints the mouth with the loudness of the sound, or returns what it got."""

from typing import Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from typing_extensions import override

from networks.dubbed import Dubbed
from networks.face_region import FaceRegion


def lower_half(patches: Tensor) -> Tensor:
    """Return the mask (T, 1, h, w) of the lower half of patches (T, 3, h, w)."""
    mask = torch.zeros_like(patches[:, :1])
    mask[..., patches.shape[-2] // 2 :, :] = 1
    return mask


class Painting(LightningModule):
    """Paints the lower half of the region: green in silence and red where it is loud.

    Args:
        paints: whether it does; else the patches are those of the input.
        region: of the face.
        drawn: whether it is one that knows drawn faces only.
    """

    def __init__(self, paints: bool = True, region: FaceRegion = FaceRegion(), drawn: bool = False):
        super().__init__()
        self.paints, self.region, self.trained_on_drawn = paints, region, drawn
        self.unused = nn.Parameter(torch.zeros(1))

    @override
    def predict_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Dubbed:
        faces = batch["faces"].float() / 255
        patches = 2 * self.region.of(faces) - 1
        mask = lower_half(patches)
        loud = ((batch["frame_mel"].mean((1, 2)) + 4) / 4).clamp(0, 1)
        colour = torch.stack([2 * loud - 1, 1 - 2 * loud, -torch.ones_like(loud)], 1)[..., None, None]
        if self.paints:
            there = mask * batch["found"][:, None, None, None]
            patches = patches * (1 - there) + colour * there
        return Dubbed(self.region.paste(faces, (patches + 1) / 2), patches, mask, self.region)
