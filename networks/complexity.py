"""What a forward pass costs in multiply-accumulates (MACs), counted honestly and in the convention of the thesis.

The thesis' "FLOPs" (tables 8.5 and 8.6) are what the tool thop prints for the authors' feature extractor. They are MACs
(not twice as many), and four things about them have to be known before they are compared with anything:

- the products of attention, Q K' and A V, are missing, which hides the quadratic growth with the number of tokens;
- the last block's qkv projection is counted twice, for the extractor calls it again in a hook;
- the whole ViT is counted, although the features need no more than the keys of its last block;
- a transposed convolution is counted at its output positions, for kernel 2 and stride 2 four times too often;

and norms count four operations an element. ``thesis_macs`` repeats all that; ``macs`` counts what is computed.
"""

from collections.abc import Callable
from contextlib import ExitStack
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from networks.vit_features import ViTFeatures

NORMS = (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def parameter_count(module: nn.Module) -> int:
    """Return the number of parameters, frozen ones included, shared ones once."""
    return sum(parameter.numel() for parameter in module.parameters())


def macs(features: nn.Module, images: Tensor) -> int:
    """Return the multiply-accumulates of all matrix products and convolutions of a forward pass.

    Attention is counted in full whatever kernel computes it, and what ``features`` does not compute is not counted.

    Args:
        features: in evaluation mode; run once.
        images: (B, 3, H, W) in [0, 1]; the count is that of the whole batch.
    """
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    # The fused kernels of the CPU are unknown to the counter; written out, attention is two matrix products.
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        _run(features, images)
    return counter.get_total_flops() // 2


def thesis_macs(features: nn.Module, images: Tensor) -> int:
    """Return the count of a forward pass in the convention of the thesis (see the top of this file).

    Args:
        features: in evaluation mode; run once. Its ``ViTFeatures`` are counted as the authors' extractor, all other
            layers as thop counts them.
        images: (B, 3, H, W) in [0, 1]; the count is that of the whole batch.
    """
    total = 0

    def count(cost: Callable[[Any, Tensor, Tensor], int]) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            nonlocal total
            total += cost(module, inputs[0], output)

        return hook

    extractors = [module for module in features.modules() if isinstance(module, ViTFeatures)]
    inside = {id(module) for extractor in extractors for module in extractor.modules()}
    with ExitStack() as hooks:
        for extractor in extractors:
            hooks.callback(extractor.register_forward_hook(count(_extractor_cost)).remove)
        for module in features.modules():
            if id(module) not in inside and isinstance(module, (*NORMS, *CONVOLUTIONS, nn.Linear)):
                hooks.callback(module.register_forward_hook(count(_layer_cost)).remove)
        _run(features, images)
    return total


def thesis_vit_macs(
    *, dim: int, depth: int, patch_size: int, cells: int, prefix: int = 1, hidden: int | None = None, again: bool = True
) -> int:
    """Return the thesis' count of one image through a ViT.

    Args:
        dim: width C.
        depth: number of blocks.
        patch_size: in pixels.
        cells: number of patches.
        prefix: number of class and register tokens.
        hidden: width of the MLP; 4 ``dim`` if None.
        again: whether the last block's qkv is counted twice, as for the key, query and value facets.
    """
    hidden = 4 * dim if hidden is None else hidden
    tokens = cells + prefix
    embedding = cells * dim * 3 * patch_size**2
    block = tokens * (4 * dim * dim + 2 * dim * hidden)
    qkv_again = tokens * 3 * dim * dim if again else 0
    norms = (2 * depth + 1) * 4 * tokens * dim
    return embedding + depth * block + qkv_again + norms


def _extractor_cost(extractor: Any, images: Tensor, output: Tensor) -> int:
    vit = extractor.vit
    one = thesis_vit_macs(
        dim=extractor.dim,
        depth=len(vit.blocks),
        patch_size=extractor.patch_size,
        cells=prod(output.shape[-2:]),
        prefix=vit.num_prefix_tokens,
        hidden=getattr(getattr(vit.blocks[0].mlp, "fc1", None), "out_features", None),
        again=extractor.facet != "token",
    )
    return len(images) * one


def _layer_cost(layer: Any, inputs: Tensor, output: Tensor) -> int:
    if isinstance(layer, NORMS):
        return 4 * inputs.numel()
    if isinstance(layer, nn.Linear):
        return output.numel() * layer.in_features
    return output.numel() * layer.in_channels // layer.groups * prod(layer.kernel_size)


def _run(features: nn.Module, images: Tensor) -> None:
    with torch.inference_mode(False), torch.no_grad():  # in inference mode composite operators escape the counter
        features(images)
