"""Coordinates in full precision while a detector computes in bfloat16.

mmdet gives regions of interest and anchors the type of the features or scores beside them. bfloat16 has eight bits for
a number: beyond 256 pixels it knows every second one, beyond 512 every fourth.
"""

from typing import Any

import torch
from torch import Tensor, nn

LOW = (torch.bfloat16, torch.float16)


def keep_coordinates_exact(detector: Any) -> None:
    """Let a detector's features and the outputs of its dense heads leave in float32, under autocast too.

    Convolutions and linear layers compute in the lower precision as before; what follows them casts as it needs.
    """
    from mmdet.models.dense_heads.base_dense_head import BaseDenseHead

    last = getattr(detector, "neck", None) or getattr(detector, "backbone", None)
    heads = [child for child in detector.children() if isinstance(child, BaseDenseHead)]
    for module in [last, *heads]:
        if isinstance(module, nn.Module):
            module.register_forward_hook(_in_float32)


def _in_float32(_: nn.Module, __: Any, outputs: Any) -> Any:
    return in_float32(outputs)


def in_float32(values: Any) -> Any:
    """Return tensors of 16 bits in float32, in lists and tuples too; everything else as it is."""
    if isinstance(values, Tensor):
        return values.float() if values.dtype in LOW else values
    if type(values) in (list, tuple):
        return type(values)(in_float32(each) for each in values)
    return values
