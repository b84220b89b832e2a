"""What a network needs to be followed once for inputs of all sizes: nothing is decided by comparing sizes."""

import copy
from collections.abc import Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from networks.position_tables import CentredRotary

Network = TypeVar("Network", bound=nn.Module)


def top_left(images: Tensor, height: int, width: int) -> Tensor:
    """Return the upper left part (..., height, width) of images (..., H, W) as a copy.

    A slice may be one or the images themselves, depending on their size, and lies in memory accordingly.
    """
    rows, columns = (torch.arange(side, device=images.device) for side in (height, width))
    return images.index_select(-2, rows).index_select(-1, columns)


def with_same_weights(network: Network) -> Network:
    """Return a copy of a network that shares its weights and buffers."""
    tensors: Iterable[Tensor] = (*network.parameters(), *network.buffers())
    return copy.deepcopy(network, {id(each): each for each in tensors})


def with_only(network: Network, *parts: str) -> Network:
    """Return a network with the same weights that has no parts but some, for an export of those.

    Args:
        network: whose methods are kept.
        parts: names of submodules, as "layout.encoder".
    """
    kept = copy.copy(network)
    kept._modules = {}
    for name, child in network._modules.items():
        inside = [part.partition(".")[2] for part in parts if part.partition(".")[0] == name]
        if inside:
            kept._modules[name] = child if child is None or "" in inside else with_only(child, *inside)
    return kept


def prepare_vit(vit: Any) -> None:
    """Change a timm vision transformer such that it can be followed for images of all sizes, in place."""
    if (rotary := CentredRotary.in_place_of(getattr(vit, "rope", None))) is not None:
        vit.rope = rotary
    for block in vit.blocks:
        if type(block).__module__.endswith("_sam"):  # its attention has no axis of heads, which exporters expect
            block.attn.fused_attn = False
