"""Background that a detector takes for objects, left out of the loss of generated pictures (thesis 7.2.4).

mmdet's heads hand what they classify, its labels and its weights to one module, ``loss_cls``. While
`background_ignored` lasts, the weights of background pass through here first, so that heads of many kinds need no
subclass each.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from visionscapes.errors import UserError

Normalizer = Literal["sampled", "kept"]
# Heads, by their exact class: those derived from them give their labels other meanings, or weigh them otherwise.
DENSE = ("RPNHead", "RetinaHead", "RetinaSepBNHead", "FCOSHead", "ATSSHead", "GFLHead")
BOXES = (
    "BBoxHead",
    "CenterNet2BBoxHead",
    "ConvFCBBoxHead",
    "DoubleConvFCBBoxHead",
    "Shared2FCBBoxHead",
    "Shared4Conv1FCBBoxHead",
)
HEATMAPS = ("CenterNetUpdateHead", "CenterNetProposals")
Arguments = tuple[tuple[Any, ...], dict[str, Any]]


class Ignored(NamedTuple):
    """What was left out of one loss.

    Attributes:
        ignored: scalar, how many regions of background were left out.
        background: scalar, how many there were with a weight.
    """

    ignored: Tensor
    background: Tensor


def check_heads(detector: nn.Module) -> None:
    """Check that background can be left out of every loss of a detector.

    Raises:
        UserError: a head is of another kind.
    """
    known = (*DENSE, *BOXES, *HEATMAPS)
    others = {type(head).__name__ for head in _classifying(detector)} - set(known)
    lossless = not any(True for _ in _classifying(detector))
    if others or lossless:
        what = f"has the head {sorted(others)[0]}" if others else "has no head that classifies background"
        raise UserError(
            f"{type(detector).__name__} {what}, whose background cannot be left out of the loss: set tau_i to null, or "
            f"choose a detector with heads of these: {', '.join(known)}"
        )


@contextmanager
def background_ignored(detector: nn.Module, tau_i: float, normalizer: Normalizer) -> Iterator[list[Ignored]]:
    """Leave background out of all classification losses, in RPN, box heads and dense heads, while the context lasts.

    Background is left out where its score of being any object is above ``tau_i``. The losses of objects and of their
    boxes stay.

    Args:
        detector: of mmdet, see `check_heads`.
        tau_i: in [0, 1]; with 0 all background is left out.
        normalizer: what a box head divides by: the number of regions that were "sampled", so that an object weighs as
            much as in a real picture, or that are "kept", as mmdet counts weights above 0. An RPN divides by what was
            sampled either way, dense heads by the number of objects.

    Yields:
        A list that gets what was left out, an entry a loss.
    """
    found: list[Ignored] = []
    handles = []
    for head in _classifying(detector):
        kind = type(head).__name__
        if kind in HEATMAPS:
            hook: Callable[..., Any] = partial(_of_heatmap, tau_i, found)
        else:
            divides_by_kept = normalizer == "kept" and kind in BOXES
            hook = partial(_of_labels, head.num_classes, tau_i, divides_by_kept, found)
        handles.append(head.loss_cls.register_forward_pre_hook(hook, with_kwargs=True))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def foreground_scores(loss: Any, logits: Tensor) -> Tensor:
    """Return the probabilities (N,) of being any object at all.

    Args:
        loss: module of mmdet that these logits are made for.
        logits: (N, K) of sigmoids, (N, K + 1) of a softmax with background last, or what a loss of its own activates.
    """
    logits = logits.detach().float()
    if getattr(loss, "custom_activation", False):
        return loss.get_activation(logits)[:, :-1].amax(1)
    if getattr(loss, "use_sigmoid", False):
        return logits.sigmoid().amax(1)
    return 1 - logits.softmax(1)[:, -1]


def _of_labels(
    background: int,
    tau_i: float,
    divides_by_kept: bool,
    found: list[Ignored],
    loss: nn.Module,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Arguments:
    """Set the weights of ignored background to 0 in ``loss(logits, labels, weight=None, avg_factor=None, ...)``."""
    logits, target, *rest = args
    weight = rest[0] if rest else kwargs.get("weight")
    labels = target[0] if isinstance(target, tuple) else target  # GFL has a quality beside each label
    weight = torch.ones(len(labels), device=logits.device) if weight is None else weight
    empty = (labels == background) & (weight > 0)
    left_out = empty if tau_i == 0 else empty & (foreground_scores(loss, logits) > tau_i)
    weight = weight.masked_fill(left_out, 0)
    found.append(Ignored(left_out.sum(), empty.sum()))
    changed = {**kwargs, "weight": weight}
    if divides_by_kept:
        changed["avg_factor"] = (weight > 0).sum().clamp(min=1).to(logits.dtype)
    return (logits, target), changed


def _of_heatmap(
    tau_i: float, found: list[Ignored], loss: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Arguments:
    """Set ignored background to a heat of 0 in ``loss(heat, target, pos_inds=..., ...)``, where it costs nothing."""
    heat, *rest = args
    centres = torch.zeros(len(heat), dtype=torch.bool, device=heat.device)
    centres[kwargs["pos_inds"]] = True
    left_out = ~centres if tau_i == 0 else ~centres & (heat.detach().amax(1) > tau_i)
    found.append(Ignored(left_out.sum(), (~centres).sum()))
    return (heat.masked_fill(left_out[:, None], 0), *rest), kwargs


def _classifying(detector: nn.Module) -> Iterator[Any]:
    """Yield the heads that classify."""
    for module in detector.modules():
        if isinstance(getattr(module, "loss_cls", None), nn.Module):
            yield module
