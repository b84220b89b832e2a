"""What the page is made of: numbered figures, each with its caption and with the function that draws it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from callbacks.vit_analysis.report.arrays import AnalysedModel

Models = Sequence[AnalysedModel]


@dataclass(frozen=True)
class DrawnPicture:
    """One picture of a figure.

    Attributes:
        suffix: what its file name has after the number; letters, digits and underscores.
        title: printed above it on the page, and its alternative text.
        figure: from matplotlib; None if there is nothing to show.
    """

    suffix: str
    title: str
    figure: Any | None


@dataclass(frozen=True)
class Exhibit:
    """A figure of the thesis.

    Attributes:
        number: such as "2.7".
        title: what it shows.
        look_for: what to look at, and how to read it.
        draw: yields its pictures from all models.
        narrowest: column of the page in pixels that one of its pictures needs.
        note: tells from the models what is left out; empty if nothing is.
    """

    number: str
    title: str
    look_for: str
    draw: Callable[[Models], Iterator[DrawnPicture]]
    narrowest: int = 340
    note: Callable[[Models], str] = lambda models: ""
