"""Lightning without what it imports and hardly uses: all metrics of torchmetrics, and the compiler of torch.

Both cost as much as torch itself, in every process that only prints help or finds a mistake. Whoever uses them gets
them, then: nothing is left out, and where this does not work, with other versions, everything is imported as usual.
"""

import gc
import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from importlib import import_module
from importlib.util import find_spec, module_from_spec
from types import ModuleType
from typing import Any

COMPILER = "torch._dynamo"
METRICS = "torchmetrics"
# What Lightning asks torchmetrics for; the first is imported for the sake of the order that the others need.
PARTS = {"utilities": "torchmetrics.utilities", "Metric": "torchmetrics.metric"}
PARTS |= {"MetricCollection": "torchmetrics.collections"}


def import_lightning() -> None:
    """Import pytorch_lightning, quickly if nobody has imported it yet."""
    import torch  # noqa: F401  # as a whole: its compiler is missing for a moment

    if METRICS not in sys.modules:
        _defer_metrics()
    if COMPILER in sys.modules or "pytorch_lightning" in sys.modules:
        return
    before = set(sys.modules)
    sys.modules[COMPILER] = _StandIn(COMPILER)
    try:
        import_module("pytorch_lightning.cli")
    except (ImportError, AttributeError):  # it wants more of the compiler than is known here
        _forget(name for name in set(sys.modules) - before if name.startswith(("pytorch_lightning", "lightning_")))
    finally:
        del sys.modules[COMPILER]


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Keep Python from looking for garbage: imports leave none, and make it look often at ever more objects."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _defer_metrics() -> None:
    """Import two classes of torchmetrics; the package as a whole follows when something else of it is asked for."""
    spec = find_spec(METRICS)
    if spec is None or spec.loader is None:
        return
    loader, package = spec.loader, module_from_spec(spec)

    def __getattr__(name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(f"module {METRICS!r} has no attribute {name!r}")
        vars(package).pop("__getattr__", None)
        loader.exec_module(package)
        return getattr(package, name)

    vars(package)["_logger"] = logging.getLogger(METRICS)
    sys.modules[METRICS] = package
    try:
        for name, module in PARTS.items():
            part = import_module(module)
            vars(package)[name] = getattr(part, name, part)
    except (ImportError, AttributeError):
        _forget(name for name in set(sys.modules) if name.partition(".")[0] == METRICS)
    else:
        vars(package)["__getattr__"] = __getattr__


def _forget(names: Any) -> None:
    for name in list(names):
        sys.modules.pop(name, None)


class _Compiled(type):
    """The type of a class that stands in for that of compiled modules: without the compiler there are none."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return COMPILER in sys.modules and isinstance(instance, sys.modules[COMPILER].OptimizedModule)


class _StandIn(ModuleType):
    """What Lightning's modules ask of the compiler while they are imported."""

    class OptimizedModule(metaclass=_Compiled):
        """Stands in for the class of compiled modules."""

    @staticmethod
    def disable(function: Callable[..., Any] | None = None, *positional: Any, **options: Any) -> Callable[..., Any]:
        """Return the function; once the compiler is there, as one that it leaves alone."""
        if function is None:
            return lambda each: _StandIn.disable(each, *positional, **options)
        left_alone = cache(lambda: sys.modules[COMPILER].disable(function, *positional, **options))

        @wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return (left_alone() if COMPILER in sys.modules else function)(*args, **kwargs)

        return call
