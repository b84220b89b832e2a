"""The plain way of analysing a ViT, as the official code does it: what benchmarks/vit_analysis.py compares with."""

import torch
from torch import Tensor

from networks.vit_layers import LayeredViT


def plain_layers(vit: LayeredViT, images: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return class token (B, C) and mean patch token (B, C) of every block, from one whole pass a block."""
    found = []
    for block in vit.vit.blocks:
        kept: list[Tensor] = []
        handle = block.register_forward_hook(lambda _, inputs, output, kept=kept: kept.append(output))
        vit.vit((images - vit.mean) / vit.std)
        handle.remove()
        found.append((kept[0][:, 0], kept[0][:, vit.prefix :].mean(1)))
    return found


def plain_aligned(rows: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the AAAM (H, 2h - 1, 2w - 1) as a sum, from rows (B, H, N, N), summed over images and pasted by query."""
    height, width = grid
    canvas = rows.new_zeros(rows.shape[1], 2 * height - 1, 2 * width - 1)
    for i in range(height):
        for j in range(width):
            own = rows[:, :, i * width + j].sum(0).unflatten(1, grid)
            canvas[:, height - 1 - i : 2 * height - 1 - i, width - 1 - j : 2 * width - 1 - j] += own
    return canvas


def plain_hsic(k: Tensor, other: Tensor) -> Tensor:
    """Return HSIC_1 of two Gram matrices (n, n), term by term."""
    n = len(k)
    k, other = k.clone().fill_diagonal_(0), other.clone().fill_diagonal_(0)
    product = k @ other
    total = k.sum() * other.sum() / ((n - 1) * (n - 2))
    return (product.trace() + total - 2 / (n - 2) * product.sum()) / (n * (n - 3))


def plain_similarity(batches: list[list[Tensor]]) -> Tensor:
    """Return the minibatch CKA (L, L) of L layers from features (n, D) a batch and layer, pair by pair."""
    depth = len(batches[0])
    found = torch.zeros(depth, depth, dtype=torch.float64)
    for i in range(depth):
        for j in range(depth):
            sums = torch.zeros(3, dtype=torch.float64)
            for features in batches:
                x, y = features[i].double(), features[j].double()
                k, other = x @ x.T, y @ y.T
                sums += torch.stack([plain_hsic(k, other), plain_hsic(k, k), plain_hsic(other, other)]).cpu()
            found[i, j] = sums[0] / (sums[1] * sums[2]).sqrt()
    return found


def plain_attention(vit: LayeredViT, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean class maps (L, H, N), AAAM sums (L, H, 2h - 1, 2w - 1) and distances (L, H) from maps that are kept.

    All maps of a batch are gathered first, and reduced when the pass is over.
    """
    kept: list[Tensor] = []
    blocks, (height, width) = vit.vit.blocks, vit.grid
    handles = [block.attn.attn_drop.register_forward_hook(lambda _, inputs, out: kept.append(out)) for block in blocks]
    fused = [block.attn.fused_attn for block in blocks]
    for block in blocks:
        block.attn.fused_attn = False
    vit.vit((images - vit.mean) / vit.std)
    for handle, block, flag in zip(handles, blocks, fused, strict=True):
        handle.remove()
        block.attn.fused_attn = flag
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    points = torch.stack([y.flatten(), x.flatten()], 1).to(images.device)
    between = torch.cdist(points, points, compute_mode="donot_use_mm_for_euclid_dist")
    means, aligned, distances = [], [], []
    for attention in kept:
        rows = attention[:, :, vit.prefix :, vit.prefix :]
        rows = rows / rows.sum(-1, keepdim=True)
        means.append(attention[:, :, 0, vit.prefix :].mean(0))
        aligned.append(plain_aligned(rows, vit.grid))
        distances.append((rows * between).sum(-1).mean((0, 2)))
    return torch.stack(means), torch.stack(aligned), torch.stack(distances)
