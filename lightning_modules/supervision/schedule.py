"""The optimiser that the self-supervised trainings share."""

import math
from collections.abc import Iterable

import torch
from pytorch_lightning.utilities.types import OptimizerLRSchedulerConfig
from torch import nn


def cosine_schedule(step: int, steps: float, warmup: int, floor: float = 0.01) -> float:
    """Return the share of the peak learning rate at ``step``: linear warm-up, then a cosine down to ``floor``."""
    if step < warmup:
        return (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1.0, steps - warmup))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def adamw_with_cosine(
    parameters: Iterable[nn.Parameter], lr: float, weight_decay: float, warmup: int, steps: float
) -> OptimizerLRSchedulerConfig:
    """Return AdamW whose rate follows ``cosine_schedule`` over ``steps``, as ``configure_optimizers`` gives it."""
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=weight_decay)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: cosine_schedule(step, steps, warmup))
    return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
