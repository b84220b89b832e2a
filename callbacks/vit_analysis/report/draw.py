"""From the arrays of a run to its pictures, tables and page."""

import traceback
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from callbacks.results.csv_files import write_csv
from callbacks.results.figures import save_figure
from callbacks.results.table import Table
from callbacks.vit_analysis.report import attention_figures, downstream_figures, feature_figures
from callbacks.vit_analysis.report.arrays import AnalysedModel, read_arrays
from callbacks.vit_analysis.report.exhibits import DrawnPicture, Exhibit
from callbacks.vit_analysis.report.local_heads import offset_local_heads
from callbacks.vit_analysis.report.page import Content, SavedFigure, SavedPicture, SavedTable, Section, page
from callbacks.vit_analysis.report.tables import as_markdown, tables
from visionscapes.files import write_text

SECTIONS = {
    "how": ("How", "How do the models process information? Attention (thesis sections 2.3 and 2.7.4)."),
    "what": ("What", "What do the models learn to represent? Features (thesis sections 2.4 and 2.7.5)."),
    "why": ("Why", "Why use the models? Downstream tasks (thesis sections 2.5 and 2.7.6)."),
}
CATALOGUE = {
    "how": attention_figures.EXHIBITS,
    "what": feature_figures.EXHIBITS,
    "why": downstream_figures.EXHIBITS,
}
TABLES = ("2.1", "2.4", "2.5", "2.6")
DPI = 150
HEAD_COLUMNS = ("layer", "head", "x", "y", "distance", "spread", "strength")
CONFIG = "cli_config.yaml"  # the run's configuration, which command_line.run.run_folder saves


def draw_report(folder: Path, problems: list[str] | None = None) -> list[Path]:
    """Draw all that the arrays of a run allow: pictures/figure_2_*.png, results/table_2_*.{csv,md} and index.html.

    results/offset_local_heads.csv lists every such head with its offset and strength (2.3.2).

    A file that is damaged, and a figure that cannot be drawn, are told on the page and in a warning, and the rest is
    drawn. Pictures and tables that an earlier report alone had are removed last, so that the folder holds one report.

    Args:
        folder: of the run, with its ``arrays``.
        problems: takes what went wrong.

    Returns:
        the files that were written, the page last.

    Raises:
        UserError: the folder has no arrays, or models.json is damaged.
    """
    folder, problems = Path(folder), [] if problems is None else problems
    models = read_arrays(folder, problems)
    written: list[Path] = []
    absent: list[str] = []
    sections = []
    for key, exhibits in CATALOGUE.items():
        figures = []
        for exhibit in exhibits:
            pictures = _draw(exhibit, models, folder, written=written, problems=problems)
            if pictures:
                figures.append(SavedFigure(exhibit, pictures))
            else:
                absent.append(f"Figure {exhibit.number}")
        if figures:
            sections.append(Section(key, *SECTIONS[key], figures=figures))
    saved = []
    for number, table in _tables(models, problems).items():
        stem = f"results/table_{number.replace('.', '_')}"
        saved.append(SavedTable(number, table, csv=f"{stem}.csv", markdown=f"{stem}.md"))
        write_csv(folder / saved[-1].csv, table.header, table.texts()[1:])
        write_text(folder / saved[-1].markdown, as_markdown(number, table))
        written += [folder / saved[-1].csv, folder / saved[-1].markdown]
    write_csv(folder / "results" / "offset_local_heads.csv", ["model", *HEAD_COLUMNS], _offset_heads(models))
    absent += [f"Table {number}" for number in TABLES if number not in {table.number for table in saved}]
    data, embedded = describe_data(folder)
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    content = Content(models, data, embedded, sections=sections, tables=saved, absent=absent, problems=problems)
    write_text(folder / "index.html", page(content))
    for pattern in ("pictures/figure_2_*.png", "results/table_2_*.csv", "results/table_2_*.md"):
        for path in set(folder.glob(pattern)) - set(written):
            path.unlink()
    return [*written, folder / "index.html"]


def _offset_heads(models: Sequence[AnalysedModel]) -> list[list[str]]:
    """Return a line for each offset local head of each model."""
    return [
        [model.name, *(f"{head[name]:.3g}" for name in HEAD_COLUMNS)]
        for model in models
        for head in offset_local_heads(model)
    ]


def describe_data(folder: Path) -> tuple[str, list[str]]:
    """Return a sentence about the data of a run from its saved configuration, and which of them are embedded worlds.

    Both are empty where the configuration is missing or does not name the data.
    """
    import yaml

    try:
        config = yaml.safe_load((folder / CONFIG).read_text())
        names = list(dict.fromkeys(path.rpartition(".")[2] for path in _classes(config["data"])))
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return "", []
    names = [name for name in names if name != "Collection"]
    embedded = [name for name in names if name.endswith("World")]
    told = [f"embedded world {name}" if name in embedded else name for name in names]
    return (f"Data: {', '.join(told)}." if told else ""), embedded


def _classes(config: Any) -> list[str]:
    """Return every class path in a part of a configuration."""
    if isinstance(config, list):
        return [name for one in config for name in _classes(one)]
    if not isinstance(config, dict):
        return []
    own = config.get("class_path")
    inner = [name for key, value in config.items() if key != "views" for name in _classes(value)]
    return [*([own] if isinstance(own, str) else []), *inner]


def _draw(
    exhibit: Exhibit, models: Sequence[AnalysedModel], folder: Path, written: list[Path], problems: list[str]
) -> list[SavedPicture]:
    shown = []
    try:
        for drawn in exhibit.draw(models):
            if drawn.figure is not None:
                shown.append(_save(exhibit, drawn, folder))
                written.append(folder / shown[-1].path)
    except Exception as error:  # after hours of analysis one figure must not cost the others
        problems.append(f"Figure {exhibit.number} could not be drawn in full: {type(error).__name__}: {error}")
        warnings.warn(traceback.format_exc(), stacklevel=2)
    return shown


def _save(exhibit: Exhibit, drawn: DrawnPicture, folder: Path) -> SavedPicture:
    from PIL import Image

    path = f"pictures/figure_{exhibit.number.replace('.', '_')}_{drawn.suffix}.png"
    save_figure(drawn.figure, folder / path, DPI)
    with Image.open(folder / path) as picture:
        return SavedPicture(path, drawn.title, width=picture.width, height=picture.height)


def _tables(models: Sequence[AnalysedModel], problems: list[str]) -> dict[str, Table]:
    try:
        return tables(models)
    except Exception as error:  # as above
        problems.append(f"The tables could not be made: {type(error).__name__}: {error}")
        warnings.warn(traceback.format_exc(), stacklevel=2)
        return {}
