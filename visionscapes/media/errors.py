"""Why a clip cannot be used: one class, whose reason can be counted."""

from typing import Literal

from visionscapes.errors import UserError

Reason = Literal[
    "unreadable",
    "no video stream",
    "no frames",
    "no sound stream",
    "no sound",
    "too short",
    "one frame",
    "no face",
    "out of sync",
    "offset unclear",
    "name taken",
    "no landmarks",
    "no label maps",
    "too few label maps",
    "too few frames",
    "not square",
    "face alone",
    "crashed",
]


class ClipError(UserError):
    """A clip cannot be used.

    Args:
        message: names the file, says what is wrong and what to do.
        reason: in two words, by which a command that takes many clips counts what it left out.
    """

    # The default is for a DataLoader, which makes the error of a worker again out of its message alone.
    def __init__(self, message: str, reason: Reason = "unreadable"):
        super().__init__(message)
        self.reason: Reason = reason

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        """Return how it is made again where a process hands it over pickled."""
        return type(self), (str(self), self.reason)
