"""What a table of results is, whoever makes it; markdown.py, terminal.py and html.py beside it each show any table."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Self

MISSING = "–"  # in place of a figure that there is not


@dataclass(frozen=True)
class TableCell:
    """One figure in a table.

    Attributes:
        text: the figure as it is shown, with what belongs to it, such as its standard error.
        best: whether it is the best of those that it is compared with.
        close: whether it can hardly be told from the best; also true of the best itself.
    """

    text: str = MISSING
    best: bool = False
    close: bool = False


@dataclass(frozen=True)
class Table:
    """A table of results.

    Attributes:
        title: of one line; empty where its surroundings say what it shows.
        header: of all columns, that of the labels first.
        rows: label and cells of each row; as many cells as ``header`` has after its first.
        ranked: whether some column marks its best figure.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[tuple[str, Sequence[TableCell]]]
    ranked: bool = False

    @classmethod
    def of_texts(cls, title: str, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Self:
        """Return a table in which nothing is marked, from rows of texts, the label first."""
        return cls(title, header, [(label, [TableCell(text) for text in texts]) for label, *texts in rows])

    def texts(self) -> list[list[str]]:
        """Return the header and all rows as texts, without marks: what a CSV file has."""
        return [list(self.header), *([label, *(cell.text for cell in cells)] for label, cells in self.rows)]
