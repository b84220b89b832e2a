"""Configurations of mmdet's detectors in checkpoints: a file of one's own may be gone when the checkpoint is used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_modules.method import without_instantiator
from networks.detection.configs import COLLECTION, plain_config
from visionscapes.bundled import with_bundled_paths

KEPT = "config"


def kept_config(config: str | Mapping[str, Any]) -> dict[str, Any]:
    """Return what a checkpoint keeps of a detector's configuration; nothing of one that is no plain dictionary."""
    content = plain_config(with_bundled_paths(config))
    return {} if content is None else {KEPT: content}


def with_config(options: dict[str, Any], made_of: Mapping[str, Any]) -> dict[str, Any]:
    """Return options whose configuration can be read: that of its file, or the one that the checkpoint has kept.

    Args:
        options: of a detector.
        made_of: what its checkpoint says of how it is made.
    """
    config = with_bundled_paths(options.get("config"))
    there = not isinstance(config, str) or config.startswith(COLLECTION) or Path(config).expanduser().is_file()
    if there or KEPT not in made_of:
        return options | {"config": config}
    return without_instantiator(options) | {"config": made_of[KEPT]}
