"""What a folder of prepared clips tells about itself: a row for each clip, and one for each that was left out."""

import csv
import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from visionscapes.files import atomic_write

MANIFEST, LEFT_OUT = "manifest", "left_out"
COLUMNS = {
    MANIFEST: (
        *("name", "source", "frames", "seen", "interpolated", "without_face", "damaged_packets", "sound"),
        *("offset", "confidence", "distance", "moved"),
    ),
    LEFT_OUT: ("file", "reason", "message", "name", "offset", "confidence", "settings"),
}
Row = dict[str, str]
Shard = tuple[int, int]  # (3, 16): the third of sixteen
_ENCODING: dict[str, Any] = {"newline": "", "encoding": "utf-8", "errors": "surrogateescape"}  # for names of any bytes


def manifest_row(name: str, about: Mapping[str, Any]) -> Row:
    """Return the row of a prepared clip.

    Args:
        name: of the clip.
        about: what its file tells.
    """
    values = {**about, **(about["sync"] or {}), "name": name}
    return {column: _text(values.get(column)) for column in COLUMNS[MANIFEST]}


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def digest_of(settings: Mapping[str, Any]) -> str:
    """Return eight digits that tell settings apart."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def record_file(folder: Path, kind: str, shard: Shard | None) -> Path:
    """Return the file of the records of a shard, or of all clips where there are no shards."""
    return folder / (f"{kind}.csv" if shard is None else f"{kind}.{shard[0]}-of-{shard[1]}.csv")


def read_records(path: Path) -> list[Row]:
    """Return the rows of a file of records; none if there is no such file, or it was changed beyond recognition."""
    try:
        with path.open(**_ENCODING) as file:
            rows = list(csv.DictReader(file))
    except (OSError, csv.Error):
        return []
    columns = set(COLUMNS[MANIFEST if path.name.startswith(MANIFEST) else LEFT_OUT])
    return [row for row in rows if columns <= {key for key, value in row.items() if value is not None}]


def left_out_before(folder: Path) -> dict[str, Row]:
    """Return name -> row of all clips that were left out before, by whatever shard."""
    paths = sorted(folder.glob(f"{LEFT_OUT}*.csv"))
    return {row["name"]: row for path in paths for row in read_records(path)}


def write_records(path: Path, rows: Iterable[Row]) -> None:
    """Write rows, sorted by name, whole or not at all.

    Raises:
        OSError: no space or no permission.
    """
    kind = MANIFEST if path.name.startswith(MANIFEST) else LEFT_OUT
    with atomic_write(path, "w", **_ENCODING) as file:
        writer = csv.DictWriter(file, COLUMNS[kind], extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: (row["name"], row.get("file", ""))))
