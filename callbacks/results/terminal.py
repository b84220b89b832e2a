"""Tables on the terminal."""

from collections.abc import Sequence
from typing import Any

from callbacks.results.table import Table, TableCell

LONGEST_LABEL = 40  # characters; a longer label is a sentence, which may be broken
UNLIMITED = 10_000  # columns of a file or pipe


def print_tables(tables: Sequence[Table], note: str = "", console: Any = None) -> None:
    """Print tables; the best figures are bold, "~" marks those close to them.

    On a terminal they are as wide as it allows; in a file or pipe no line is broken.

    Args:
        tables: to show, each under its title.
        note: printed at the end, how to read them.
        console: a ``rich.console.Console``; that of standard output if None.
    """
    from rich import box
    from rich import table as rich_table
    from rich.console import Console
    from rich.text import Text

    if console is None:
        console = Console()
        if not (console.is_terminal or console.is_jupyter):
            console = Console(width=UNLIMITED)
    for table in tables:
        if table.title:
            console.print(Text(table.title, "bold"))  # as a table's own title it breaks at its width
        drawn = rich_table.Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
        longest = max((len(label) for label, _ in table.rows), default=0)
        drawn.add_column(Text(table.header[0]), no_wrap=longest <= LONGEST_LABEL)
        columns = []
        for index, name in enumerate(table.header[1:]):
            figures = [cells[index] for _, cells in table.rows]
            marked = any(cell.close and not cell.best for cell in figures)
            # rich takes away the spaces at the end of what it moves to the right.
            drawn.add_column(Text(name), justify="left" if marked else "right")
            columns.append(_beside_marks(figures) if marked else [cell.text for cell in figures])
        for row, (label, cells) in enumerate(table.rows):
            texts = (
                Text(column[row], "bold" if cell.best else "") for column, cell in zip(columns, cells, strict=True)
            )
            drawn.add_row(Text(label), *texts)
        console.print(drawn)
    if note:
        console.print(Text(note, "dim"))


def _beside_marks(cells: Sequence[TableCell]) -> list[str]:
    """Return the texts of a column, one below the other, with the marks to their right.

    Without a space between, so that five columns fit into 80 characters beside the methods.
    """
    width = max(len(cell.text) for cell in cells)
    return [cell.text.rjust(width) + ("~" if cell.close and not cell.best else "") for cell in cells]
