"""``python cli.py export``: the trained networks of a module as files that run without this code."""

from typing import Literal

from command_line.subcommands.table import Built
from visionscapes.errors import UserError


def export(
    built: Built,
    *,
    format: Literal["onnx", "pt2", "both"] = "both",
    output: str | None = None,
    opset: int | None = None,
) -> None:
    """Write the networks of a module.

    Args:
        built: the module.
        format: onnx, pt2 (torch.export), or both.
        output: folder to write to; None: exported/ in the run folder.
        opset: version of the ONNX operators; None: that of the exporter.

    Raises:
        UserError: the module has no networks to export.
    """
    raise UserError(f"{type(built.module).__name__} offers no networks to export")
