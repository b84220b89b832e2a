"""How the stages of a round ask for results that an earlier, interrupted run has kept."""

import hashlib
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

Arrays = dict[str, np.ndarray]


class StageResults(Protocol):
    """Gives the result of a stage, from where it is kept or anew: what ``callbacks.StageFiles`` hands out."""

    def __call__(self, stage: str, inputs: str, compute: Callable[[], Arrays]) -> Arrays:
        """Return the arrays that a stage gives.

        Args:
            stage: its name.
            inputs: fingerprint of all that the stage depends on, see ``digest``; what is kept counts only for the same.
            compute: gives them anew.
        """


def computed_anew(stage: str, inputs: str, compute: Callable[[], Arrays]) -> Arrays:
    """Return what ``compute`` gives: nothing is kept."""
    return compute()


def digest(*parts: Any) -> str:
    """Return a fingerprint of texts and arrays in their order."""
    found = hashlib.sha256()
    for part in parts:
        found.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else str(part).encode())
    return found.hexdigest()
