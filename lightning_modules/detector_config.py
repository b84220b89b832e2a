"""Configurations of mmdet's detectors in checkpoints: a file of one's own may be gone when the checkpoint is used."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning_modules.method import without_instantiator
from networks.detection.configs import COLLECTION, apply_override, plain_config, read_config
from visionscapes.bundled import with_bundled_paths
from visionscapes.errors import UserError

KEPT = "config"
# Where the configuration of a backbone names files to start from: that of ViTDet does, and LiFT behind its ViT.
START_FILES = ("backbone.weights", "backbone.lift.weights")


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


def without_start_files(options: dict[str, Any]) -> dict[str, Any]:
    """Return options whose backbone starts from no file, for a detector that is made for weights of its own.

    Args:
        options: of a detector, with a configuration that can be read; others are returned as they are.
    """
    overrides = options.get("overrides") or {}
    try:
        model = read_config(options["config"])
        for key, value in overrides.items():
            apply_override(model, key, value)
    except UserError:
        return options  # building the detector says what is wrong
    named = [key for key in START_FILES if isinstance(_value_of(model, key), str)]
    others = {key: value for key, value in overrides.items() if key not in named}
    return options | {"overrides": others | dict.fromkeys(named)} if named else options  # these last: they win


def _value_of(model: Any, key: str) -> Any:
    for part in key.split("."):
        model = model.get(part) if isinstance(model, Mapping) else None
    return model
