"""JSON lines: a file that grows by one line an entry, of which a kill can tear the last one only."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from visionscapes.errors import UserError
from visionscapes.files import make_folder


def read_lines(path: Path) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Yield where each line begins and ends, in bytes, and its entry; a torn last line is passed over.

    Args:
        path: of the file; one that is not there has no lines.

    Raises:
        UserError: a line is no JSON object, which no kill can do.
    """
    if not path.is_file():
        return
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                entry = json.loads(line)
            except ValueError:
                entry = None
            if not isinstance(entry, dict):
                raise UserError(f"line {number} of {path} is no JSON object: the file is damaged; take the line out")
            yield start, start + len(line), entry
            start += len(line)


def read_entries(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the entries of a file, see `read_lines`."""
    return (entry for _, _, entry in read_lines(path))


def as_line(entry: dict[str, Any]) -> bytes:
    """Return an entry as a line of such a file."""
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", "surrogatepass") + b"\n"


def open_to_append(path: Path) -> IO[bytes]:
    """Return a file to write further lines to, without the line that a kill has torn."""
    make_folder(path.parent)
    end = max((stop for _, stop, _ in read_lines(path)), default=0)
    file = path.open("ab")
    file.truncate(end)
    return file


def append_line(file: IO[bytes], entry: dict[str, Any]) -> None:
    """Write an entry so that it survives the end of this process."""
    file.write(as_line(entry))
    file.flush()
