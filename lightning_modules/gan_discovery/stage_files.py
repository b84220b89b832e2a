"""Results of stages in files, so that a run that is killed in one stage does not begin with the first again."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

Arrays = dict[str, np.ndarray]


class StageFiles:
    """Keeps what a stage gave in a file, so that a run that is killed in the next stage need not do it again.

    What is kept is used only for the very same inputs.

    Args:
        folder: for one file a stage, ``<stage>.npz``.
    """

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, stage: str, inputs: str, compute: Callable[[], Arrays]) -> Arrays:
        """Return what ``compute`` gives, from the file if there is one for these ``inputs``."""
        path = self.folder / f"{stage}.npz"
        try:
            with np.load(path, allow_pickle=False) as kept:
                if str(kept["inputs"]) == inputs:
                    return {key: kept[key] for key in kept.files if key != "inputs"}
        except (OSError, ValueError, KeyError, EOFError, BadZipFile):
            pass  # not there, or cut short
        arrays = compute()
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial.npz")
        np.savez(partial, inputs=np.array(inputs), **arrays)  # type: ignore[arg-type]
        partial.replace(path)
        return arrays


def digest(*parts: Any) -> str:
    """Return a fingerprint of texts and arrays in their order."""
    found = hashlib.sha256()
    for part in parts:
        found.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else str(part).encode())
    return found.hexdigest()
