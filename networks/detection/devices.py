"""What mmdet's modules keep on a device where torch does not look for it, and how it follows them to another one.

A module that is moved takes along its parameters, its buffers and the modules that it knows. mmdet keeps more: the
device that pictures go to, anchors in objects that are no modules, the teacher of a distilled detector. The detector's
own ``to`` sees to some of it; a LightningModule that the detector is a part of never calls that.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Move = Callable[[Tensor], Tensor]
# What every module of torch has; its values are moved by torch, or are hooks.
OF_TORCH = frozenset(vars(nn.Module()))


@functools.cache
def follow_devices() -> None:
    """Let everything that a module of mmdet holds follow it to another device; calls after the first do nothing."""
    from mmengine.model import BaseDataPreprocessor, BaseModule

    kinds = (BaseDataPreprocessor, BaseModule)
    under_way: set[int] = set()  # modules that are being moved; PISA's sampler holds the head that it is a part of

    def following(original: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        @functools.wraps(original)
        def apply(self: nn.Module, fn: Move, *args: Any, **kwargs: Any) -> nn.Module:
            if id(self) in under_way:
                return self
            under_way.add(id(self))
            try:
                original(self, fn, *args, **kwargs)
                others = (child for child in self.children() if not isinstance(child, kinds))  # losses, for instance
                for module in (self, *others):
                    for name in vars(module).keys() - OF_TORCH:
                        vars(module)[name] = moved(vars(module)[name], fn)
            finally:
                under_way.remove(id(self))
            return self

        return apply

    for kind in kinds:
        kind._apply = following(kind._apply)


def moved(value: Any, fn: Move, done: set[int] | None = None) -> Any:
    """Return a value of any kind with its tensors, and the names of devices in it, where ``fn`` moves a tensor.

    Their type stays as it is: coordinates of anchors are exact in a network of 16 bits too.

    Args:
        value: objects of mmdet, modules and dictionaries are changed in place; what is foreign stays as it is.
        fn: what ``torch.nn.Module._apply`` takes.
        done: objects that need not be looked into again, by id; some hold themselves.
    """
    done = set() if done is None else done
    if isinstance(value, torch.device):
        return fn(torch.empty(0, device=value)).device
    if isinstance(value, nn.Module):
        return value._apply(fn)
    if isinstance(value, Tensor):
        return value.to(moved(value.device, fn))
    if type(value) in (list, tuple):
        return type(value)(moved(each, fn, done) for each in value)
    inside = value if type(value) is dict else vars(value) if _of_mmdet(value) else {}
    if id(value) not in done:
        done.add(id(value))
        for name, each in inside.items():
            inside[name] = moved(each, fn, done)
    return value


def _of_mmdet(value: Any) -> bool:
    package = type(value).__module__.partition(".")[0]
    return package in ("mmdet", "mmcv", "networks") and isinstance(getattr(value, "__dict__", None), Mapping)
