"""The subcommands of our own: each is a function, called with what a configuration describes, built.

A function is named by its path and imported when it is asked for, so that help comes at once. Its first argument is a
``Built``; all others are options of the command line, with the function's annotations and defaults, and stand in
``options`` with what the quick help says of them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pytorch_lightning import LightningDataModule, LightningModule


@dataclass(frozen=True, kw_only=True)
class Built:
    """What a subcommand is called with.

    Attributes:
        folder: absolute path of the run folder, which is there.
        method: name of the method, by which its runs are found.
        module: with the weights of its checkpoint; None where the subcommand builds none.
        datamodule: as constructed, not set up; None where none is configured or built.
        checkpoint: file whose weights the module has, None without one.
    """

    folder: Path
    method: str
    module: "LightningModule | None" = None
    datamodule: "LightningDataModule | None" = None
    checkpoint: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Subcommand:
    """A subcommand of our own.

    Attributes:
        function: path of what it runs, "package.module.function".
        meaning: what it does, in a line of the help.
        needs: of "model" and "data" what has to be chosen, by a configuration or an option.
        builds: of "model" and "data" what is built, where it is chosen; configurations may choose both all the same.
        options: (option, default, meaning) for the quick help.
        examples: commands for the quick help.
    """

    function: str
    meaning: str
    needs: tuple[str, ...]
    builds: tuple[str, ...]
    options: tuple[tuple[str, str, str], ...] = ()
    examples: tuple[str, ...] = ()

    def load(self) -> Callable[..., Any]:
        """Return the function."""
        module, _, name = self.function.rpartition(".")
        function: Callable[..., Any] = getattr(import_module(module), name)
        return function


OWN: dict[str, Subcommand] = {
    "export": Subcommand(
        function="command_line.subcommands.export.export",
        meaning="write the trained networks of a module as ONNX and torch.export files",
        needs=("model",),
        builds=("model", "data"),
        options=(
            ("--format", "both", "onnx, pt2 (torch.export), or both"),
            ("--output", "null", "folder to write to; default: exported/ in the run folder"),
            ("--opset", "null", "version of the ONNX operators; default: that of the exporter"),
            ("--size", "null", "HEIGHTxWIDTH of what takes one size only, a detector end to end; default 640x640"),
        ),
        examples=(
            "python cli.py export --config configs/lift.yaml --ckpt_path last",
            "python cli.py export --config configs/grit.yaml --ckpt_path last --format=onnx --output=grit_onnx",
        ),
    ),
    "check-data": Subcommand(
        function="command_line.subcommands.data_check.command.check_data",
        meaning="look a data set over before a training: files, classes, boxes, copies, batches",
        needs=("data",),
        builds=("data",),
        options=(
            ("--files", "20000", "samples of every part that are read whole, spread evenly over it; null: all"),
            ("--batches", "3", "of every loader that are looked at"),
        ),
        examples=(
            "python cli.py check-data --config configs/lift.yaml",
            "python cli.py check-data --data=datamodules.ImageFolder --data.root=photos",
            "python cli.py check-data --config configs/paper/detector_coco.yaml --files=null",
        ),
    ),
}
