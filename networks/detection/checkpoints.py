"""Weights of detectors and of their backbones from files, without running what the files contain."""

import inspect
import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from networks.weights import read_state_dict, strip_prefix
from visionscapes.errors import UserError

LIGHTNING_PREFIX = "detector."
# What weights of classifiers have and a backbone has not: the classifier, and masks that are computed anyway.
CLASSIFIER = ("fc.", "classifier.", "head.", "norm.")
COMPUTED = ("attn_mask",)
# What mmdet adds to networks that were trained to classify and starts neutral: the offsets of deformable convolutions,
# and Swin's norms of the outputs.
ADDED = re.compile(r"\.conv_offset\.|^norm\d\.")


def load_detector(detector: nn.Module, path: str | Path, skip_mismatched: bool = False) -> None:
    """Load the weights of a whole detector.

    Args:
        detector: receives them.
        path: a .safetensors file or a checkpoint of mmdet, mmengine or Lightning; of the last the part under
            "detector." is taken.
        skip_mismatched: leave tensors that are missing or of another shape as they are and warn, instead of refusing.
            Meant for fine-tuning with another number of classes.

    Raises:
        UserError: the file cannot be read, or does not fit; says what differs.
    """
    _load({"": detector}, _own_names(_read(path), detector.state_dict()), path, skip_mismatched)


def load_backbone(detector: nn.Module, path: str | Path, skip_mismatched: bool = False) -> None:
    """Load the backbone, for instance with weights that were trained to classify ImageNet.

    Of a C4 detector, whose box head shares the last stage of the ResNet, that stage is loaded as well. The original
    files of Swin and PVT are renamed as mmdet does.

    Args:
        detector: its ``backbone`` receives the weights.
        path: a file with the names of torchvision's and timm's ResNets, or of mmdet, with or without "backbone."; also
            a whole detector. Classifiers in it are ignored.
        skip_mismatched: see `load_detector`.

    Raises:
        UserError: the file cannot be read, or does not fit; says what differs.
    """
    backbone: Any = detector.backbone
    state = _read(path)
    state = {key.removeprefix(LIGHTNING_PREFIX): value for key, value in state.items()}
    if any(key.startswith("backbone.") for key in state):
        within = re.compile(r"^(backbone|roi_head\.shared_head)\.")
        state = {within.sub("", key): value for key, value in state.items() if within.match(key)}
    state = _converted(backbone, state)
    parts: dict[str, nn.Module] = {"backbone": backbone}
    shared = getattr(getattr(detector, "roi_head", None), "shared_head", None)
    if shared is not None:
        parts["shared_head"] = shared
    own = {key for part in parts.values() for key in part.state_dict()}
    state = strip_prefix(state, own)
    stages = {key.partition(".")[0] for key in own}
    state = {
        key: value
        for key, value in state.items()
        if key in own or not (key.startswith(CLASSIFIER) or key.endswith(COMPUTED) or _absent_stage(key, stages))
    }
    _load(parts, state, path, skip_mismatched, ADDED)


def _absent_stage(key: str, stages: set[str]) -> bool:
    """Whether a tensor belongs to a stage of a ResNet that the detector leaves out."""
    stage = key.partition(".")[0]
    return re.fullmatch(r"layer\d", stage) is not None and stage not in stages


def _read(path: str | Path) -> dict[str, Tensor]:
    """Read tensors; other objects of the file are replaced by inert ones.

    Checkpoints that mmengine writes during training hold its logs, whose classes torch's safe reader refuses.
    """
    with torch.serialization.safe_globals([(_Inert, name) for name in _foreign(path)]):
        return read_state_dict(path)


class _Inert:
    """Stands for any object of a checkpoint that is no tensor: takes every argument and does nothing."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "_Inert":
        return super().__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


def _foreign(path: str | Path) -> list[str]:
    """Names of the classes and functions in a checkpoint that torch's safe reader does not know."""
    try:
        return torch.serialization.get_unsafe_globals_in_checkpoint(Path(path).expanduser())
    except (ValueError, OSError, RuntimeError, EOFError, pickle.UnpicklingError):
        return []  # no torch archive, or damaged: the reader itself says what is wrong


def _own_names(state: dict[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    inside = {key.removeprefix(LIGHTNING_PREFIX): v for key, v in state.items() if key.startswith(LIGHTNING_PREFIX)}
    return inside if inside.keys() & own.keys() else strip_prefix(state, own)


def _converted(backbone: nn.Module, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename as the backbone would with weights of its original repository."""
    own = backbone.state_dict()
    if not getattr(backbone, "convert_weights", False) or own.keys() & strip_prefix(state, own).keys():
        return state
    module = inspect.getmodule(type(backbone))
    convert = getattr(module, "swin_converter", None) or getattr(module, "pvt_convert", None)
    return dict(convert(state)) if convert else state


def _load(
    parts: Mapping[str, nn.Module],
    state: dict[str, Tensor],
    path: str | Path,
    skip_mismatched: bool,
    dispensable: re.Pattern[str] | None = None,
) -> None:
    own = {key: value for part in parts.values() for key, value in part.state_dict().items()}
    shapes = [key for key in sorted(own.keys() & state.keys()) if own[key].shape != state[key].shape]
    fitting = {key: value for key, value in state.items() if key not in shapes}
    missing, extra = set(own), set(fitting)
    for part in parts.values():
        # Modules rename tensors of older versions themselves, so that only they know what is missing.
        result = part.load_state_dict(fitting, strict=False)
        missing -= part.state_dict().keys() - set(result.missing_keys)
        extra &= set(result.unexpected_keys)
    missing -= set().union(*map(_brought, parts.values()))
    missing = {
        key for key in missing - set(shapes) if not ADDED.search(key) and not key.endswith("num_batches_tracked")
    }
    if not (missing or extra or shapes):
        return
    described = [f"{key} is {tuple(state[key].shape)}, wanted {tuple(own[key].shape)}" for key in shapes]
    problems = {"missing": sorted(missing), "left over": sorted(extra), "other shapes": described}
    text = "; ".join(f"{name}: {_some(items)}" for name, items in problems.items() if items)
    if skip_mismatched and len(fitting) > len(extra):
        warnings.warn(f"of '{path}' only what fits was loaded; {text}", stacklevel=3)
        return
    what = " and ".join(parts) if "" not in parts else "detector"
    raise UserError(
        f"'{path}' does not fit the {what}; {text}. Choose the configuration and the number of classes that the "
        "weights were trained with, or set skip_mismatched to load what fits"
    )


def _brought(part: nn.Module) -> set[str]:
    """Names of tensors that came with weights from a file of their own, as those of LiFT behind a ViT do."""
    inside = [
        f"{name}.{child}.".removeprefix(".")
        for name, module in part.named_modules()
        for child in getattr(module, "brought", ())
    ]
    return {key for key in part.state_dict() if key.startswith(tuple(inside))}


def _some(items: Iterable[str], most: int = 4) -> str:
    items = list(items)
    return ", ".join(items[:most]) + (f" and {len(items) - most} more" if len(items) > most else "")
