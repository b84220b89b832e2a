"""What ``visionscapes.load`` returns: a trained module that Python users call with what they have."""

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from visionscapes.errors import UserError


class Model:
    """A trained module that takes pictures, or whatever its method is about, as Python users have them.

    It is called with what the method takes, see ``print(model)``. One input gives one result and a list a list. Results
    are plain: tensors, and dataclasses of ``visionscapes.results``, on the CPU. Nothing is trained, no gradient is
    kept, and inputs go through the networks a few at a time, those of one size together.

    Attributes:
        module: the LightningModule itself, in evaluation mode.
        inputs: how inputs are prepared, as ``python cli.py predict`` prepares the same files.
        source: where it comes from.
        batch_size: inputs that go through the networks at once. With 1 the result of an input has the same bits
            whatever else is in the list; more are quicker on a GPU, and may round differently in the last bits.

    Args:
        module: see there.
        inputs: see there.
        source: see there.
        batch_size: see there.
    """

    def __init__(self, module: Any, inputs: Any, source: str, batch_size: int = 1):
        self.module, self.inputs, self.source, self.batch_size = module.eval(), inputs, source, batch_size

    @property
    def device(self) -> torch.device:
        """Where the module computes."""
        return self.module.device

    def to(self, device: str | torch.device) -> Self:
        """Move the module to a device, such as "cuda", and return this model."""
        self.module.to(device)
        return self

    def __call__(self, *given: Any, **options: Any) -> Any:
        """Return what the method says of an input, or of each of a list.

        Args:
            given: what the method takes, see ``print(model)``.
            options: of this call, see ``help(model.inputs.ask)``.

        Raises:
            UserError: an input that cannot be used, or inputs that are too many or too few.
        """
        try:
            inspect.signature(self.inputs.ask).bind(*given, **options)
        except TypeError as error:
            raise UserError(f"{error}: {type(self.module).__name__} is called as {self._call()}") from None
        _check_devices(given, self.device)
        asked, answers = self.inputs.ask(*given, **options), list[Any]()
        with _inferring(self.module):
            for batch in asked.batches(self.batch_size):
                moved = self.module.transfer_batch_to_device(batch, self.device, 0)
                with _naming(batch.get("named")):
                    answers += [_on_cpu(each) for each in self.module.answers(moved)]
        return asked.result([_plain(each) for each in answers])

    def __repr__(self) -> str:
        name = type(self.module).__name__
        return f"{name} from {self.source} on {self.device}: {self._call()} -> {self.module.gives}; {self.inputs}"

    def _call(self) -> str:
        names = [
            name if each.default is inspect.Parameter.empty else f"{name}={each.default}"
            for name, each in inspect.signature(self.inputs.ask).parameters.items()
        ]
        return f"model({', '.join(names)})"


def _check_devices(given: Any, device: torch.device, depth: int = 2) -> None:
    """Refuse tensors on another accelerator than the module's: whether to copy them is for their owner to say."""
    if isinstance(given, Tensor):
        if given.device.type not in ("cpu", "meta") and given.device != device:
            raise UserError(
                f"a tensor lies on {given.device} and the model on {device}: give tensor.cpu(), or move the model with "
                f'model.to("{given.device}")'
            )
    elif depth and isinstance(given, list | tuple):
        for each in given:
            _check_devices(each, device, depth - 1)


@contextmanager
def _inferring(module: Any) -> Iterator[None]:
    """Have a module answer without gradients, in evaluation mode, and forget whom it has met when it is done."""
    module.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        module.on_predict_end()


@contextmanager
def _naming(names: list[str] | None) -> Iterator[None]:
    """Have what is wrong with an input say which one it is."""
    try:
        yield
    except UserError as error:
        if not names:
            raise
        raise UserError(f"{', '.join(names)}: {error}") from error


def _on_cpu(answer: Any) -> Any:
    return _mapped(answer, lambda tensor: tensor.cpu())


def _plain(answer: Any) -> Any:
    """Return an answer whose tensors may take part in a training: those made without gradients may not."""
    return _mapped(answer, lambda tensor: tensor.clone() if tensor.is_inference() else tensor)


def _mapped(value: Any, change: Any) -> Any:
    if isinstance(value, Tensor):
        return change(value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{each.name: _mapped(getattr(value, each.name), change) for each in fields(value)})
    if isinstance(value, dict):
        return {name: _mapped(each, change) for name, each in value.items()}
    return [_mapped(each, change) for each in value] if isinstance(value, list) else value
