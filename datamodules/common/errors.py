"""The error of a data set that is not where it was looked for."""

from collections.abc import Sequence
from pathlib import Path
from textwrap import indent

from visionscapes.errors import UserError


class DatasetNotFoundError(UserError):
    """A data set or a part of it is missing: the message says where it was looked for and what to do.

    Args:
        name: of the data set, as its authors write it.
        looked_in: the path or paths that were tried.
        expected: the tree that has to be there, as text of one or several lines.
        remedies: the ways out, each a sentence in the imperative without its full stop: usually to point the option
            at another folder, and how to obtain and unpack the data.
        missing: what exactly was not there, for a data set that is found but incomplete.
    """

    def __init__(
        self,
        *,
        name: str,
        looked_in: str | Path | Sequence[str | Path],
        expected: str,
        remedies: Sequence[str],
        missing: str | Path = "",
    ):
        places = [looked_in] if isinstance(looked_in, str | Path) else list(looked_in)
        lines = [f"{name} was not found."]
        lines += [f"Looked in: {Path(place).absolute()}" for place in places]
        if str(missing):
            lines.append(f"Missing: {missing}")
        lines += ["Expected:", indent(expected.strip("\n"), "    "), "Ways out:"]
        lines += [f"  {number}. {remedy}." for number, remedy in enumerate(remedies, 1)]
        super().__init__("\n".join(lines))
        self.name, self.looked_in = name, [Path(place) for place in places]
