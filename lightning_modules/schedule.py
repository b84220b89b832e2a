"""Learning rates and optimisers that several trainings share."""

import math
from collections.abc import Iterable
from typing import Any

import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn


def cosine_schedule(step: int, steps: float, warmup: int, floor: float = 0.01) -> float:
    """Return the share of the peak learning rate at ``step``: linear warm-up, then a cosine down to ``floor``."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1.0, steps - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def half_cosine(start: float, end: float, progress: float) -> float:
    """Return the value at ``progress`` in [0, 1] of the way from ``start`` to ``end`` along half a cosine."""
    return end - (end - start) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def decayed_apart(modules: Iterable[nn.Module]) -> list[dict[str, Any]]:
    """Return two groups of the trained parameters of ``modules``: vectors and scalars, biases and gains, do not decay.

    Frozen parameters are left out. An empty group is too: optimisers do not take it.
    """
    trained = [each for module in modules for each in module.parameters() if each.requires_grad]
    decayed = {"params": [each for each in trained if each.ndim > 1]}
    free = {"params": [each for each in trained if each.ndim <= 1], "weight_decay": 0.0}
    return [group for group in (decayed, free) if group["params"]]


def adamw_with_cosine(
    parameters: Iterable[nn.Parameter] | Iterable[dict[str, Any]],
    lr: float,
    weight_decay: float,
    warmup: int,
    steps: float,
    floor: float = 0.01,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> OptimizerLRSchedulerConfig:
    """Return AdamW whose rate follows ``cosine_schedule`` over ``steps``, as ``configure_optimizers`` gives it."""
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay, betas=betas, eps=eps)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine_schedule(step, steps, warmup, floor))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
