"""Arrays as files."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from visionscapes.checksums import damage_of_archive
from visionscapes.files import atomic_write


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as .npz, whole or not at all; folders are made."""
    with atomic_write(path) as file:
        np.savez(file, allow_pickle=False, **cast(Any, dict(arrays)))


def read_npz(path: Path) -> dict[str, np.ndarray] | None:
    """Return the arrays of an .npz file, None if there is none or it does not hold any more what was written."""
    try:
        if damage := damage_of_archive(path):
            print(f"{path} is damaged ({damage}): it is not used")
            return None
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError):
        return None


def folder_name(name: str) -> str:
    """Return the name of a model as that of a folder: letters, digits, dots and dashes, different names kept apart."""
    plain = re.sub(r"[^\w.-]+", "_", name)
    if plain == name and plain.strip("."):
        return plain
    return f"{plain.replace('..', '_')}-{hashlib.sha256(json.dumps(name).encode()).hexdigest()[:4]}"
