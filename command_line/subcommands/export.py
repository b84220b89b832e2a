"""``python cli.py export``: the trained networks of a module as files that run without this code."""

import os
import re
from collections.abc import Sequence
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, Literal

from callbacks.run.run_record import ROOT, git_state, versions
from command_line.subcommands.table import Built
from visionscapes.checks import PositiveInt, check_value
from visionscapes.errors import UserError
from visionscapes.exporting.export import FORMATS, export_networks


def export(
    built: Built,
    *,
    format: Literal["onnx", "pt2", "both"] = "both",
    output: str | None = None,
    opset: int | None = None,
    size: str | None = None,
) -> None:
    """Write the networks of a module, each held against the module itself.

    Args:
        built: the module.
        format: onnx, pt2 (torch.export), or both.
        output: folder to write to; None: exported/ in the run folder.
        opset: version of the ONNX operators; None: that of the exporter.
        size: height and width in pixels of networks that take one size only, as "480x640".

    Raises:
        UserError: a size that is none or has no use, the module has no networks to export, packages are missing, a
            network cannot be exported, or a file gives other values than the network.
    """
    check_value("--opset", opset, PositiveInt | None)
    module = built.module
    assert module is not None
    if size is not None:
        choose_size(module, size)
    folder = Path(os.path.relpath(built.folder / "exported")) if output is None else Path(output)
    about = {
        "method": type(module).__name__,
        "checkpoint": None if built.checkpoint is None else str(built.checkpoint),
        "code": git_state(ROOT),
        "versions": versions(),
        **classes_of(built.datamodule),
        **preparation_of(built.datamodule),
    }
    formats = FORMATS if format == "both" else (format,)
    written = export_networks(module, folder, formats=formats, opset=opset, about=about)
    print(f"{len(written)} file{'s' * (len(written) != 1)} in {folder}, a .json beside each says what goes in and out")


def choose_size(module: Any, size: str) -> None:
    """Have a module export for pictures of a size what takes one size only.

    Args:
        module: to export.
        size: "HEIGHTxWIDTH", in pixels.

    Raises:
        UserError: it is none, or the module has no use for it.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", size)
    if found is None:
        raise UserError(f"--size is {size!r}; it has to be HEIGHTxWIDTH in pixels, as in --size=480x640")
    if not hasattr(module, "export_size"):
        raise UserError(f"--size is for detectors: what {type(module).__name__} exports has its sizes, leave it out")
    module.export_size = int(found[1]), int(found[2])


def classes_of(data: Any) -> dict[str, Any]:
    """Return the names of the classes that the data know, under "classes"; nothing where they know none."""
    names = getattr(data, "classes", None)
    known = isinstance(names, Sequence) and not isinstance(names, str) and all(isinstance(name, str) for name in names)
    return {"classes": list(names)} if known and names else {}


def preparation_of(data: Any) -> dict[str, Any]:
    """Return how pictures were prepared for the module, under "prepared"; nothing where the data do not tell.

    Args:
        data: whose options, such as the shorter side in pixels, ``predict`` prepares pictures by.
    """
    try:
        inputs = getattr(data, "inputs", None)
    except UserError:  # of files that are not here
        return {}
    if not is_dataclass(inputs) or isinstance(inputs, type):
        return {}
    options = {name: value for name, value in vars(inputs).items() if value is not None and name != "classes"}
    return {"prepared": {"as": type(inputs).__name__, **options}}
