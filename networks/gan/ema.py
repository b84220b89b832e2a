"""Moving averages of generators, which generate better than their last step."""

from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def moving_average(model: nn.Module, decay: float = 0.999) -> AveragedModel:
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
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
    return averaged.requires_grad_(False).eval()
