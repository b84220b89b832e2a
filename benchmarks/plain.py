"""The plain way of doing LiFT's work, as the official code does it: what benchmarks/lift.py compares with."""

import copy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from networks.lift_block import LiFTBlock
from networks.vit_features import ViTFeatures


class PlainKeys(nn.Module):
    """Keys of a ViT's last block from a whole pass with explicit softmax attention and a hook.

    The hook projects the block's input a second time, because the first projection is not returned; the rest of the
    block and the final norm are computed and thrown away.
    """

    def __init__(self, features: ViTFeatures):
        super().__init__()
        self.vit: Any = copy.deepcopy(features.vit)
        self.mean, self.std, self.patch = features.mean, features.std, features.patch_size
        for block in self.vit.blocks:
            block.attn.fused_attn = False
        self.vit.blocks[-1].attn.register_forward_hook(self._keep)
        self._keys: list[Tensor] = []

    def _keep(self, attention: Any, inputs: tuple[Tensor, ...], _: Tensor) -> None:
        b, n, channels = inputs[0].shape
        heads = attention.num_heads
        qkv = attention.qkv(inputs[0]).reshape(b, n, 3, heads, channels // heads).permute(2, 0, 3, 1, 4)
        self._keys.append(qkv[1])

    @override
    def forward(self, images: Tensor) -> Tensor:
        """Return (B, C, h, w) for images (B, 3, H, W) in [0, 1]."""
        vit = self.vit
        x = vit.patch_embed.proj((images - self.mean) / self.std)
        b, _, h, w = x.shape
        table = vit.pos_embed[:, 1:].unflatten(1, vit.patch_embed.grid_size).permute(0, 3, 1, 2)
        if (h, w) != table.shape[-2:]:
            factors = ((h + 0.1) / table.shape[-2], (w + 0.1) / table.shape[-1])
            table = F.interpolate(table, scale_factor=factors, mode="bicubic")
        x = torch.cat([vit.cls_token.expand(b, -1, -1), x.flatten(2).transpose(1, 2)], 1)
        x = x + torch.cat([vit.pos_embed[:, :1], table.flatten(2).transpose(1, 2)], 1)
        self._keys.clear()
        vit.norm(vit.blocks(x))
        keys = self._keys[0][:, :, 1:].permute(0, 2, 3, 1).flatten(2)
        return keys.transpose(1, 2).reshape(b, -1, h, w)


def plain_loss(keys: PlainKeys, block: LiFTBlock, x: Tensor) -> Tensor:
    """Return Eq. 8.1 with decimated images and the cosine distance, from three whole passes."""
    x_half, x_quarter = x[..., ::2, ::2], x[..., ::4, ::4]
    with torch.no_grad():
        f1, f2, f3 = keys(x), keys(x_half), keys(x_quarter)
    total = torch.zeros((), device=x.device)
    for image, coarse, fine in ((x_half, f2, f1), (x_quarter, f3, f2)):
        lifted = block(coarse, (image - keys.mean) / keys.std).permute(0, 2, 3, 1).flatten(0, 2)
        wanted = fine.permute(0, 2, 3, 1).flatten(0, 2)
        total = total + F.cosine_embedding_loss(lifted, wanted, torch.ones(len(wanted), device=x.device))
    return total


def plain_match(source: Tensor, target: Tensor, keypoints: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the scores (K, H, W) of all pixels for keypoints (K, 2) and the best one (K,).

    Both maps (C, h, w) are enlarged to the image, as in the official code.
    """
    enlarged = [
        F.interpolate(F.normalize(maps, dim=0)[None], size=size, mode="bilinear", align_corners=False)[0]
        for maps in (source, target)
    ]
    x, y = keypoints.long().unbind(1)
    scores = torch.einsum("ck,chw->khw", enlarged[0][:, y, x], enlarged[1])
    return scores, scores.flatten(1).max(1).values


def plain_box(features: Tensor, image_size: tuple[int, int], tau: float, eps: float = 1e-5) -> NDArray[np.float32]:
    """Return TokenCut's box (4,) from features (C, h, w) by a dense generalised eigen-decomposition."""
    from scipy.linalg import eigh
    from scipy.ndimage import label

    _, height, width = features.shape
    cells = F.normalize(features.flatten(1), dim=0)
    affinity = np.where((cells.T @ cells).numpy() > tau, 1.0, eps)
    degree = np.diag(affinity.sum(1))
    _, vectors = eigh(degree - affinity, degree, subset_by_index=[1, 2])
    vector = vectors[:, 0]
    seed = int(np.abs(vector).argmax())
    side = vector > vector.mean()
    side = side if side[seed] else ~side
    components, _ = label(side.reshape(height, width))
    rows, columns = np.nonzero(components == components.flat[seed])
    scale = np.array([image_size[1] / width, image_size[0] / height] * 2)
    corners = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
    return (corners * scale).astype(np.float32)
