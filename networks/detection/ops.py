"""Stand-in for mmcv's compiled operators, so that mmdet runs wherever torch and torchvision do."""

import importlib
import importlib.machinery
import sys
from types import ModuleType
from typing import Any, NoReturn

from networks.detection import box_operators, convolution_operators, feature_operators
from visionscapes.errors import UserError

NAME = "mmcv._ext"
OPERATORS = (*box_operators.OPERATORS, *convolution_operators.OPERATORS, *feature_operators.OPERATORS)


def ensure_ops() -> None:
    """Make `mmcv._ext` importable; has to come before the first import of `mmcv.ops` or `mmdet.models`.

    A compiled `mmcv._ext` that imports is left as it is. Without one, mmdet cannot be imported at all: each module of
    `mmcv.ops` looks its operators up when it is imported. The stand-in has every name; operators that no model of
    mmdet's collection reaches, and those that need more than torch and torchvision, raise `UserError` when
    called. Fewer operators are fused than in compiled mmcv, so that deformable layers take more memory and time.
    """
    if NAME in sys.modules:
        return
    try:
        importlib.import_module(NAME)
    except ImportError:
        import mmcv

        mmcv._ext = sys.modules[NAME] = StandIn()


class StandIn(ModuleType):
    """Module `mmcv._ext` made of Python functions: those in `OPERATORS`, and refusals under every other name."""

    def __init__(self) -> None:
        super().__init__(NAME, self.__doc__)
        # importlib.util.find_spec, with which libraries ask whether a module exists, raises where the spec is None.
        self.__spec__ = importlib.machinery.ModuleSpec(NAME, loader=None, origin=__name__)
        for operator in OPERATORS:
            setattr(self, operator.__name__, operator)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy, pickle and inspect ask for these and take any answer for a yes
            raise AttributeError(f"module '{NAME}' has no attribute '{name}'")

        def refuse(*args: Any, **kwargs: Any) -> NoReturn:
            raise UserError(
                f"the operator '{name}' is not among the stand-ins for mmcv's compiled operators; "
                "replace mmcv-lite by mmcv 2.1, built for this torch, to use it"
            )

        return refuse
