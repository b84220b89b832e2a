"""What else has to believe in the device: torch.cuda, modules, and Lightning's Trainer."""

import contextlib
from typing import Any

import torch

from tests.helpers.pretended_cuda import findings, guard
from tests.helpers.pretended_cuda.tensor import CUDA, Device


class NoGradMode:
    """In place of ``torch.inference_mode``, in which views of wrapped tensors cannot be made."""

    def __new__(cls, mode: Any = True) -> Any:
        if callable(mode):
            return torch.no_grad()(mode)
        return torch.no_grad() if mode else contextlib.nullcontext()


def install() -> Device:
    """Pretend from here on, for this process: what asks for the Trainer's CPU gets "cuda:0".

    ``torch.cuda.is_available()`` stays False: what it guards are calls of the driver.

    Returns:
        The mode; leave it to make no more tensors on the device.
    """
    guard.install()
    _patch_torch()
    _patch_lightning()
    mode = Device()
    mode.__enter__()
    return mode


def _patch_torch() -> None:
    torch.inference_mode = torch.autograd.grad_mode.inference_mode = NoGradMode
    torch.cuda._lazy_init = lambda: None
    torch.cuda.current_device = lambda: 0
    torch.cuda.synchronize = lambda *args, **kwargs: None
    torch.cuda.is_bf16_supported = lambda *args, **kwargs: True
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False
    torch.backends.cudnn.enabled = False
    torch.autograd.set_multithreading_enabled(False)  # lines of the backward pass are found on the stack
    torch._C._set_only_lift_cpu_tensors(True)
    apply = torch.nn.Module._apply

    def moved(self, fn, recurse=True):
        if "weight_g" in self._parameters and "weight" in self.__dict__:  # of the old weight_norm, made anew in forward
            self.weight = self.weight.detach()
        return apply(self, fn, recurse)

    torch.nn.Module._apply = moved


def _patch_lightning() -> None:
    from pytorch_lightning.accelerators import CPUAccelerator
    from pytorch_lightning.loops.training_epoch_loop import _TrainingEpochLoop
    from pytorch_lightning.plugins.precision import MixedPrecision
    from pytorch_lightning.strategies import SingleDeviceStrategy

    CPUAccelerator.setup_device = lambda self, device: None
    SingleDeviceStrategy.root_device = property(lambda self: CUDA, lambda self, value: None)
    made, advance = MixedPrecision.__init__, _TrainingEpochLoop.advance
    MixedPrecision.__init__ = lambda self, precision, device, scaler=None: made(self, precision, "cuda", scaler)

    def counted(self, *args, **kwargs):
        advance(self, *args, **kwargs)
        findings.steps[findings._module_of(self)] += 1

    _TrainingEpochLoop.advance = counted
