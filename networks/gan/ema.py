"""Moving averages of generators, which generate better than their last step."""

from typing import Any

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils._foreach_utils import _group_tensors_by_device_and_dtype
from typing_extensions import override


class MovingAverage(AveragedModel):
    """torch's average of a model, which asks the device in the first update alone whether it is the first.

    torch asks in every one, twice, and has the host wait for a GPU each time.

    Args:
        model: that is averaged.
        decay: in [0, 1].
    """

    def __init__(self, model: nn.Module, decay: float):
        super().__init__(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self._begun = False
        self.register_load_state_dict_post_hook(_ask_again)

    @torch.no_grad()
    @override
    def update_parameters(self, model: nn.Module) -> None:
        """Move one step along."""
        if not self._begun:
            super().update_parameters(model)
            self._begun = True
            return
        pairs: list[list[Any]] = [[*each.parameters(), *each.buffers()] for each in (self.module, model)]
        for (average, now), _ in _group_tensors_by_device_and_dtype(pairs).values():
            self.multi_avg_fn(average, now, self.n_averaged)  # type: ignore[misc, arg-type]
        self.n_averaged += 1


def _ask_again(average: MovingAverage, incompatible: Any) -> None:
    average._begun = False


def moving_average(model: nn.Module, decay: float = 0.999) -> MovingAverage:
    """Return a copy of ``model`` that ``update_parameters(model)`` moves along.

    average <- decay * average + (1 - decay) * model, for parameters and floating buffers alike; the first update copies
    (PGGAN, Karras et al. 2018, appendix A, with a decay of 0.999). The copy, its buffers and the number of updates are
    in its state dict.

    Args:
        model: any module; not changed.
        decay: in [0, 1].

    Returns:
        The averaged model, without gradients, in evaluation mode; called like ``model``.

    Raises:
        ValueError: ``decay`` is out of range.
    """
    return MovingAverage(model, decay).requires_grad_(False).eval()
