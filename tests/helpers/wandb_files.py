"""W&B's own file of a run that was offline, read back."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

HEAD, BLOCK, PIECE = 7, 32768, 7  # bytes: of the file, of a block, before a piece of a record
LAST = (1, 4)  # kinds of pieces with which a record ends


def records(path: Path) -> Iterator[Any]:
    """Yield the records of a file, which is a log as LevelDB writes it: pieces in blocks of equal size."""
    from wandb.proto import wandb_internal_pb2

    content, place, parts = path.read_bytes(), HEAD, b""
    while place + PIECE <= len(content):
        if BLOCK - place % BLOCK < PIECE:
            place += BLOCK - place % BLOCK  # what is left of a block is empty
            continue
        size, kind = int.from_bytes(content[place + 4 : place + 6], "little"), content[place + 6]
        parts += content[place + PIECE : place + PIECE + size]
        place += PIECE + size
        if kind in LAST:
            record = wandb_internal_pb2.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def configuration_in(path: Path) -> tuple[dict[str, Any], str]:
    """Return the configuration and the group that a file has."""
    known: dict[str, Any] = {}
    group = ""
    for record in records(path):
        group = record.run.run_group or group
        for update in [*record.config.update, *record.run.config.update]:
            place = known
            *parents, last = [update.key] if update.key else list(update.nested_key)
            for name in parents:
                place = place.setdefault(name, {})
            place[last] = json.loads(update.value_json)
    return known, group
