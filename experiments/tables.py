"""What a table of the thesis is: the runs that make it, the figures it shows, the claims that it supports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from experiments.claims import Contrast

FOLDER = Path(__file__).parent
SCALES = ("embedded", "paper")
# Seeds of `run` unless told otherwise: three make a verdict possible; the thesis' own figures are of one training each.
SEEDS = {"embedded": (0, 1, 2), "paper": (0,)}
# What takes the seed. An embedded world is a function of its own seed, so that another seed also means other images to
# train on and other instances to evaluate on: a claim that holds does so beyond one draw of the world.
SEEDED = {"embedded": ("seed_everything", "data.init_args.seed"), "paper": ("seed_everything",)}


@dataclass(frozen=True)
class Run:
    """One command line of ``cli.py``, up to the seed.

    Args:
        name: what the table calls it; no part of its identity.
        command: subcommand of ``cli.py``.
        configs: files given with ``--config``, in this order.
        overrides: argument -> value as on the command line, given after the files.
        checkpoints: argument -> the run whose last checkpoint is its value.
        files: argument -> the run, and the path of a file or folder within its run folder, which is its value.
        seeded: arguments that take the seed in place of those that ``SEEDED`` names, where data lie deeper.
    """

    name: str = field(compare=False)
    command: str
    configs: tuple[str, ...]
    overrides: tuple[tuple[str, str], ...] = ()
    checkpoints: tuple[tuple[str, "Run"], ...] = ()
    files: tuple[tuple[str, "Run", str], ...] = ()
    seeded: tuple[str, ...] = ()

    @property
    def sources(self) -> list["Run"]:
        """The runs that it starts from."""
        return [source for _, source in self.checkpoints] + [source for _, source, _ in self.files]


@dataclass(frozen=True)
class FigureSource:
    """Which figure a cell of a table shows.

    Args:
        runs: the runs in whose results it is looked up; one of them has it.
        metric: as in the run's results.
        method: as in the run's results.
        image_size: side of the images in pixels.
        factor: what the figure is multiplied by, e.g. 100 for per cent.
    """

    runs: tuple[Run, ...]
    metric: str
    method: str
    image_size: int
    factor: float = 1.0


@dataclass(frozen=True)
class Grid:
    """A table at one scale.

    Args:
        runs: by name, those that only others start from included.
        rows: labels.
        columns: label -> what selects it, for the filters of claims.
        cells: (row, column) -> cell.
        note: how this grid differs from the thesis' table.
    """

    runs: Mapping[str, Run]
    rows: tuple[str, ...]
    columns: Mapping[str, Mapping[str, Any]]
    cells: Mapping[tuple[str, str], FigureSource]
    note: str = ""

    def shown_runs(self) -> list[Run]:
        """Return the runs whose figures the table shows, each once."""
        return list(dict.fromkeys(run for cell in self.cells.values() for run in cell.runs))


@dataclass(frozen=True)
class Claim:
    """A statement of the text about the table.

    Args:
        text: the statement.
        section: of the thesis where it stands, or "ours" if it does not.
        contrasts: scale -> comparisons that are positive where it is right; no entry where it cannot be asked.
        across: how the comparisons combine: "every", "most" or "mean".
    """

    text: str
    section: str
    contrasts: Mapping[str, tuple[Contrast, ...]]
    across: str = "every"


@dataclass(frozen=True)
class ThesisTable:
    """One numbered table or figure of the thesis, or a section with numbers in its text.

    Args:
        name: file name without suffix, e.g. "table_8_1".
        method: folder, e.g. "lift".
        title: caption.
        section: of the thesis.
        unit: of the figures.
        digits: decimal places of measured figures.
        grids: scale -> grid.
        thesis: row -> the printed number of each column of the paper grid, None where there is none.
        claims: in the order of the text.
        pictures: path in the repository -> caption, of the embedded world.
    """

    name: str
    method: str
    title: str
    section: str
    unit: str
    digits: int
    grids: Mapping[str, Grid]
    thesis: Mapping[str, tuple[float | None, ...]]
    claims: tuple[Claim, ...]
    pictures: Mapping[str, str] = field(default_factory=dict)

    @property
    def number(self) -> str:
        """As the thesis counts it, e.g. "Table 8.1" or "Section 3.3.7"."""
        kind, *digits = self.name.split("_")
        return f"{kind.capitalize()} {'.'.join(digits)}"

    def thesis_figure(self, row: str, column: str) -> float | None:
        """Return the printed number of a cell of the paper grid, None if there is none."""
        if row not in self.thesis:
            return None
        return self.thesis[row][list(self.grids["paper"].columns).index(column)]
