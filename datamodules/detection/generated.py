"""The folder that generated pictures lie in, and what is known of them."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionscapes.json_lines import read_entries


@dataclass(frozen=True)
class GeneratedFolder:
    """A folder of generated pictures.

    - images/<name>.png
    - manifest.jsonl: of every picture how it was made, so that it can be made again alone
    - annotations.json: what is in them, as COCO and LVIS have it
    - generation.json: what all pictures have in common
    - parts/: lines of the manifest while pictures are made, a file for each process

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def manifest(self) -> Path:
        """The file of how every picture was made."""
        return self.path / "manifest.jsonl"

    @property
    def annotations(self) -> Path:
        """The file of what is in the pictures."""
        return self.path / "annotations.json"

    @property
    def settings(self) -> Path:
        """The file of what all pictures have in common."""
        return self.path / "generation.json"

    @property
    def images(self) -> Path:
        """The folder of the pictures."""
        return self.path / "images"

    @property
    def parts(self) -> Path:
        """The folder of the lines that are not in the manifest yet."""
        return self.path / "parts"

    def part(self, rank: int) -> Path:
        """Return the file of the lines that a process writes."""
        return self.parts / f"process-{rank}.jsonl"

    def picture(self, name: str) -> Path:
        """Return the file of a picture."""
        return self.images / f"{name}.png"

    def files_of_lines(self) -> list[Path]:
        """Return the files that may hold lines about pictures: the manifest first."""
        return [self.manifest, *sorted(self.parts.glob("*.jsonl"))]

    def entries(self) -> Iterator[dict[str, Any]]:
        """Yield what is known of the pictures that are there; of one that was made twice, twice."""
        for path in self.files_of_lines():
            yield from (entry for entry in read_entries(path) if self.picture(entry["name"]).is_file())


def layout_of(name: str) -> str:
    """Return what all copies of a real picture have in common, of the name of a generated one: "7" of "7-0"."""
    return name.rpartition("-")[0] or name
