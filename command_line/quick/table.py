"""The commands that need no torch: each is a function of the words behind its name, and returns what is printed."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module


@dataclass(frozen=True, kw_only=True)
class QuickCommand:
    """A command that needs no configuration.

    Attributes:
        function: path of what it runs, "package.module.function".
        meaning: what it does, in a line of the help.
    """

    function: str
    meaning: str

    def load(self) -> Callable[[list[str]], str]:
        """Return the function."""
        module, _, name = self.function.rpartition(".")
        function: Callable[[list[str]], str] = getattr(import_module(module), name)
        return function


QUICK = {
    "runs": QuickCommand(
        function="command_line.quick.runs.runs",
        meaning="list, show, compare or remove runs",
    ),
    "doctor": QuickCommand(
        function="command_line.quick.doctor.doctor",
        meaning="what is there: versions, devices, disk, data sets, weights, network",
    ),
}
