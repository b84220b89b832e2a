"""What a filter has found out about generated pictures, kept so that no picture is looked at twice."""

import os
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from visionscapes.json_lines import append_line, open_to_append, read_entries

FOLDER = "evidence"


class EvidenceStore:
    """Lines about pictures, of every process that has ever looked at them with the same networks.

    A line is {"name", "sha256" of the picture, "score", "seen"}, with "losses" where they were measured. Every process
    writes a file of its own, line by line, so that a kill loses one picture at most and two filters at work at once do
    not meet.

    Args:
        folder: of the generated pictures.
        digest: of what the evidence depends on besides the pictures.
        elsewhere: where it is kept if that folder cannot be written to.
    """

    def __init__(self, folder: Path, digest: str, elsewhere: Path):
        root = folder if os.access(folder, os.W_OK) else elsewhere
        self.path = root / FOLDER / digest[:16]
        self._file: IO[bytes] | None = None

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield all lines; of a picture that was looked at twice, two."""
        for path in sorted(self.path.glob("*.jsonl")):
            yield from read_entries(path)

    def add(self, line: Mapping[str, Any]) -> None:
        """Write a line so that it survives the end of this process."""
        if self._file is None:
            self._file = open_to_append(self.path / f"{uuid.uuid4().hex}.jsonl")
        append_line(self._file, dict(line))

    def close(self) -> None:
        """Close the file of this process."""
        if self._file is not None:
            self._file.close()
            self._file = None
