"""Plain torch building blocks that two or more methods use. Names are imported when they are first used."""

from importlib import import_module
from typing import Any

EXPORTS = {
    "AtLargerImage": "networks.dense",
    "Upsampled": "networks.dense",
    "ViTFeatures": "networks.vit_features",
}
__all__ = list(EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(EXPORTS[name]), name)
