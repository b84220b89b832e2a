"""Data: paths, splits, transforms and collation. Names are imported when they are first used."""

from importlib import import_module
from typing import Any

EXPORTS = {
    "COCO20k": "datamodules.discovery",
    "DAVIS2017": "datamodules.davis",
    "ImageFolder": "datamodules.image_folder",
    "ImageNet": "datamodules.imagenet",
    "RandomViews": "datamodules.views",
    "SPair71k": "datamodules.spair",
    "SceneWorld": "datamodules.scene_world",
    "VOCDiscovery": "datamodules.discovery",
}
__all__ = list(EXPORTS)


def __getattr__(name: str) -> Any:
    if name not in EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(EXPORTS[name]), name)
