"""What is wrong with a data set, and how bad it is."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]
SHOWN = 5  # examples in a sentence; files have all of them


@dataclass(frozen=True)
class DataFinding:
    """Something that is wrong.

    Attributes:
        level: "error" if a training ends or learns nonsense of it, else "warning".
        part: of the data set or the loader where it was found; empty if it is about all of it.
        text: what is wrong, and what to do where that is known.
        examples: what it is about, all of them.
    """

    level: Level
    part: str
    text: str
    examples: tuple[str, ...] = ()

    def __str__(self) -> str:
        where = f"{self.part}: " if self.part else ""
        named = f": {', '.join(self.examples[:SHOWN])}" if self.examples else ""
        return f"{where}{self.text}{named}{', ...' if len(self.examples) > SHOWN else ''}"
