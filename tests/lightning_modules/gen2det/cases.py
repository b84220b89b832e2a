"""Small detectors of many families, batches of drawn rectangles, and what their losses are given."""

import copy
import functools
from typing import Any

import torch
from torch import Tensor

from lightning_modules import Detector, Gen2Det
from networks.detection.build import build_detector
from tests.helpers.drawn_detection import drawn_batch
from tests.helpers.small_detectors import CASCADE, CENTERNET, FCOS, FPN, MASKS, ONE, RETINA, SMALL, TWO

FAMILIES = (FPN, MASKS, CASCADE, RETINA, FCOS, CENTERNET)


@functools.cache
def _detector(config: str) -> Any:
    torch.manual_seed(0)
    return build_detector(config, SMALL[config], num_classes=12)


def detector(config: str) -> Any:
    """Return a fresh copy of a small detector in training mode."""
    return copy.deepcopy(_detector(config)).train()


def module(config: str = FPN, kind: type[Detector] = Gen2Det, **options: Any) -> Any:
    """Return a module with a fresh small detector, the same weights every time."""
    torch.manual_seed(0)
    return kind(config=config, overrides=SMALL[config], num_classes=12, **options).train()


def batch(*pictures: list[tuple[int, ...]], synthetic: bool | list[bool] = True, masks: bool = False) -> dict[str, Any]:
    """Return a batch of pictures; two with objects if none are given."""
    found = drawn_batch(list(pictures) or [ONE, TWO], (64, 64)) | {"task": "detection"}
    if not masks:
        del found["masks"]
    count = len(found["image"])
    return found | {"synthetic": [synthetic] * count if isinstance(synthetic, bool) else synthetic}


def loss_of(losses: dict[str, Tensor]) -> Tensor:
    """Return the sum of what is called a loss."""
    return torch.stack([value for name, value in losses.items() if "loss" in name]).sum()


class Watched:
    """What the classification losses of a detector are given, and the gradients of that.

    Attributes:
        logits: of every call.
        labels: of every call; for heatmaps 0 at centres and the number of classes elsewhere.
        losses: that were called.
    """

    def __init__(self, detector: Any):
        self.logits: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.losses: list[Any] = []
        self.background: list[int] = []
        for head in detector.modules():
            if isinstance(getattr(head, "loss_cls", None), torch.nn.Module):
                hook = functools.partial(self._note, head.num_classes)
                head.loss_cls.register_forward_pre_hook(hook, with_kwargs=True)

    def _note(self, background: int, loss: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        logits, target = args[:2]
        if "pos_inds" in kwargs:
            target = torch.full((len(logits),), background)
            target[kwargs["pos_inds"]] = 0
        if logits.requires_grad:
            logits.retain_grad()
        self.logits.append(logits)
        self.labels.append(target)
        self.losses.append(loss)
        self.background.append(background)
