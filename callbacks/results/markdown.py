"""Tables as Markdown."""

from callbacks.results.table import Table, TableCell


def markdown_table(table: Table, markup: bool = False) -> list[str]:
    r"""Return the lines of a table, without its title; the best figures are bold, "~" marks those close to them.

    Columns are aligned in plain text too, the labels to the left and all else to the right.

    Args:
        table: to show.
        markup: whether labels and texts may hold code and emphasis. Otherwise they are shown letter by letter: what
            Markdown would read as markup is escaped.
    """
    read = _cells_only if markup else _literally
    rows = [
        [read(text) for text in table.header],
        *([read(label), *(_marked(cell, read(cell.text)) for cell in cells)] for label, cells in table.rows),
    ]
    widths = [max(3, *(len(text) for text in column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        padded = [
            text.ljust(w) if i == 0 else text.rjust(w) for i, (text, w) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append(f"| {' | '.join(padded)} |")
    rules = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    return [lines[0], f"| {' | '.join(rules)} |", *lines[1:]]


def _marked(cell: TableCell, text: str) -> str:
    return f"**{text}**" if cell.best else f"{text} ~" if cell.close else text


def _cells_only(text: str) -> str:
    return text.replace("|", "\\|")


def _literally(text: str) -> str:
    for letter in "\\`|*_<":
        text = text.replace(letter, f"\\{letter}")
    return text
