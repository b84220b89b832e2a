"""A file that runs code when it is read as a pickle, as a hostile file of weights would."""

import os
from pathlib import Path
from typing import Any


class Bomb:
    """Makes a folder when it is unpickled, so that a test sees that it went off.

    Args:
        mark: the folder, relative to the current one of the process that reads.
    """

    def __init__(self, mark: Path | str):
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.mark),)
