"""Weights from a hub name or a local file, loaded without running code and matched strictly.

The one place in ``networks`` that reads files.
"""

import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from visionscapes.checksums import damage_of
from visionscapes.errors import UserError

# Keys under which authors nest a state dict, and prefixes they leave on its names.
CONTAINERS = ("state_dict", "model", "teacher", "module")
PREFIXES = (
    "teacher.vit.",
    "network.vit.",
    "encoder.vit.",
    "vit.",
    "module.base_encoder.",
    "module.",
    "backbone.",
    "base_encoder.",
    "encoder.",
    "student.",
    "teacher.",
    "detector.backbone.vit.",
)


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read a state dict from a .safetensors file or from a torch checkpoint.

    Args:
        path: the file. Of a torch checkpoint the usual containers ("state_dict", "model", "teacher") are opened.

    Returns:
        Name to tensor, on the CPU.

    Raises:
        UserError: the file is missing, cut short, does not match its checksum, or holds more than tensors and plain
            values.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"no weights at '{path}': give the path of a .safetensors, .pth, .pt or .ckpt file")
    try:
        if damage := damage_of(path):
            raise UserError(f"'{path}' is damaged: {damage}; copy it again")
        if path.suffix == ".safetensors":
            return load_file(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"'{path}' is damaged or holds Python objects besides tensors, which could run code when read; "
            "load it where you trust it and save its state dict alone (safetensors.torch.save_file)"
        ) from error
    except UserError:
        raise
    except Exception as error:  # What a damaged file raises is not documented: struct.error, ...
        raise UserError(f"'{path}' cannot be read as weights, it may be cut short: {error}; copy it again") from error
    while isinstance(content, Mapping):
        inner = next((content[key] for key in CONTAINERS if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    if not isinstance(content, Mapping):
        raise UserError(f"'{path}' holds a {type(content).__name__}, not a state dict; save module.state_dict()")
    return {key: value for key, value in content.items() if isinstance(value, Tensor)}


def read_metadata(path: str | Path) -> dict[str, str]:
    """Return what the header of a .safetensors file says about it, nothing for files of other kinds.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"no weights at '{path}': give the path of a .safetensors file")
    if path.suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, "pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise UserError(f"'{path}' cannot be read as weights, it may be cut short: {error}; copy it again") from error


def read_values(path: str | Path) -> dict[str, Any]:
    """Return what a torch checkpoint holds at its top, its tensors without their values; nothing for other files.

    Raises:
        UserError: the file is missing or cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"no weights at '{path}': give the path of a .safetensors, .pth, .pt or .ckpt file")
    if path.suffix == ".safetensors":
        return {}
    try:
        content = torch.load(path, map_location="meta", weights_only=True)
    except Exception as error:  # see `read_state_dict`
        raise UserError(f"'{path}' cannot be read as weights, it may be cut short: {error}; copy it again") from error
    return dict(content) if isinstance(content, Mapping) else {}


def strip_prefix(state: Mapping[str, Tensor], wanted: Iterable[str]) -> dict[str, Tensor]:
    """Remove the prefix under which most names of ``state`` match the ``wanted`` ones."""
    wanted = set(wanted)

    def stripped(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}

    return max((stripped(prefix) for prefix in ("", *PREFIXES)), key=lambda names: len(wanted & names.keys()))


def load_weights(module: nn.Module, path: str | Path, ignore: Iterable[str] = ()) -> None:
    """Load weights from a local file into ``module``; every name and shape has to match.

    Args:
        module: receives the weights; floating-point values are cast to its dtype.
        path: see ``read_state_dict``.
        ignore: prefixes of names that the file may have and the module not, such as a classifier.

    Raises:
        UserError: names are missing or left over, or shapes differ; says which.
    """
    load_read(module, read_state_dict(path), path, ignore)


def load_read(module: nn.Module, state: Mapping[str, Tensor], path: str | Path, ignore: Iterable[str] = ()) -> None:
    """Load weights that were read into ``module``, as `load_weights` does.

    Args:
        module: receives the weights.
        state: what `read_state_dict` has read.
        path: of the file, for the message.
        ignore: see `load_weights`.

    Raises:
        UserError: names are missing or left over, or shapes differ; says which.
    """
    own = module.state_dict()
    state = strip_prefix(state, own)
    state = {key: value for key, value in state.items() if key in own or not key.startswith(tuple(ignore))}
    remedy = "Choose the model (patch size, width, number of heads) that these weights were trained for."
    load_state(module, state, f"'{path}'", remedy)


def load_state(
    module: nn.Module,
    state: Mapping[str, Tensor],
    source: str,
    remedy: str = "Choose the options that these weights were trained with.",
) -> None:
    """Load a state dict into ``module``; every name and shape has to match.

    Args:
        module: receives the weights; floating-point values are cast to its dtype.
        state: name to tensor.
        source: what the weights come from, for the message.
        remedy: what to do where they do not fit.

    Raises:
        UserError: names are missing or left over, or shapes differ; says which.
    """
    own = module.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    shapes = [
        f"{key} is {tuple(state[key].shape)}, wanted {tuple(own[key].shape)}"
        for key in sorted(own.keys() & state.keys())
        if state[key].shape != own[key].shape
    ]
    if missing or extra or shapes:
        problems = [f"missing: {_some(missing)}"] * bool(missing) + [f"left over: {_some(extra)}"] * bool(extra)
        problems += [f"other shapes: {_some(shapes)}"] * bool(shapes)
        raise UserError(f"{source} does not fit {type(module).__name__}; {'; '.join(problems)}. {remedy}")
    module.load_state_dict(state)


def weights_total(module: nn.Module) -> str:
    """Return the sum of the absolute values of all parameters, to seven digits: it tells weights from others."""
    with torch.no_grad():
        return f"{sum(float(each.double().abs().sum()) for each in module.parameters()):.6e}"


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
