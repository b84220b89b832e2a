"""The index page of a report: one HTML file without scripts that reads well on a phone and on a wide screen."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from callbacks.results.html import render
from callbacks.results.table import MISSING, Table
from callbacks.vit_analysis.report.arrays import AnalysedModel
from callbacks.vit_analysis.report.exhibits import Exhibit
from callbacks.vit_analysis.report.style import RANDOM

WIDE = 1000  # pixels; a picture up to it is still legible in half a page
MODELS = ("Model", "Layers", "Heads", "Patch (px)", "Image (px)", "Token grid", "Supervision")


@dataclass(frozen=True)
class SavedPicture:
    """A picture on disk.

    Attributes:
        path: from the page, with forward slashes.
        title: what it shows.
        width: in pixels.
        height: in pixels.
    """

    path: str
    title: str
    width: int
    height: int


@dataclass(frozen=True)
class SavedFigure:
    """A figure of the thesis and the pictures that make it.

    Attributes:
        exhibit: the figure.
        pictures: at least one.
    """

    exhibit: Exhibit
    pictures: Sequence[SavedPicture]

    @property
    def wide(self) -> bool:
        """Whether it takes the whole width; one small picture leaves room for the next figure beside it."""
        return len(self.pictures) > 1 or self.pictures[0].width > WIDE


@dataclass(frozen=True)
class Section:
    """A part of the page.

    Attributes:
        key: its anchor.
        title: of one word.
        question: that it answers.
        figures: those that could be drawn, at least one.
    """

    key: str
    title: str
    question: str
    figures: Sequence[SavedFigure]


@dataclass(frozen=True)
class SavedTable:
    """A numbered table and its files.

    Attributes:
        number: of the thesis.
        table: what it shows.
        csv: path from the page.
        markdown: path from the page.
    """

    number: str
    table: Table
    csv: str
    markdown: str


@dataclass(frozen=True)
class Content:
    """All that the page shows.

    Attributes:
        models: that were analysed.
        data: where the figures come from, a sentence for every caption; empty if unknown.
        embedded: names of the embedded worlds among the data.
        sections: with figures, in order.
        tables: in order.
        absent: numbers of the figures and tables for which nothing was measured.
        problems: files that could not be read and figures that could not be drawn.
    """

    models: Sequence[AnalysedModel]
    data: str
    embedded: Sequence[str]
    sections: Sequence[Section]
    tables: Sequence[SavedTable]
    absent: Sequence[str]
    problems: Sequence[str]


def page(content: Content) -> str:
    """Return the page as HTML; all links are relative, so that its folder can be moved."""
    noise = [model.name for model in content.models if model.method == RANDOM]
    template = Path(__file__).with_name("page.html")
    return render(template, content=content, models=models_table(content.models), noise=noise)


def models_table(models: Sequence[AnalysedModel]) -> Table:
    """Return the table of the models' sizes, of which random features have none."""
    rows = []
    for model in models:
        sizes = [model.depth, model.heads, model.patch_size, model.image_size, f"{model.grid[0]} × {model.grid[1]}"]
        texts = [MISSING] * 5 + ["none"] if model.method == RANDOM else [*map(str, sizes), model.method]
        rows.append([model.name, *texts])
    return Table.of_texts("", MODELS, rows)
