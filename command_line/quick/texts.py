"""Rows of text as columns, times and sizes for people."""

import io
import sys
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

IN_A_FILE = 10_000  # letters a line


def columns(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = ()) -> str:
    """Return a table as text, on a terminal within its width, in a file or a pipe with no line broken.

    Args:
        head: names of the columns; none are shown if all are empty.
        rows: a text for each column.
        right: names of the columns that end alike, such as numbers.
    """
    table = Table(box=box.SIMPLE_HEAD, show_header=any(head), show_edge=False, pad_edge=False)
    for name in head:
        table.add_column(Text(name), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(Text, row))
    written = io.StringIO()
    width = Console().width if sys.stdout.isatty() else IN_A_FILE
    Console(file=written, width=width, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in written.getvalue().splitlines())


def duration(seconds: float) -> str:
    """Return seconds as "1:02:03" or "2:03"."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count: int) -> str:
    """Return a number of bytes with three digits and a unit."""
    value, unit = float(count), 0
    units = ("B", "kB", "MB", "GB", "TB")
    while value >= 999.5 and unit + 1 < len(units):
        value, unit = value / 1000, unit + 1
    return f"{value:.3g} {units[unit]}"
