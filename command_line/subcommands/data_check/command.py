"""``python cli.py check-data``: what a data set holds, and what is wrong with it, before hours are spent on it."""

import json

from command_line.subcommands.data_check.figures import figures_of
from command_line.subcommands.data_check.numbers import as_numbers
from command_line.subcommands.data_check.page import page_of
from command_line.subcommands.data_check.summary import print_summary
from command_line.subcommands.table import Built
from datamodules.common.inspection.inspect_data import inspect_data
from visionscapes.checks import PositiveInt
from visionscapes.errors import UserError
from visionscapes.files import write_bytes, write_text

PAGE, NUMBERS, PICTURES = "data.html", "data.json", "pictures"


def check_data(built: Built, *, files: PositiveInt | None = 20_000, batches: PositiveInt = 3) -> None:
    """Look a data set over, and write a page, its figures and its pictures into the run folder.

    Args:
        built: the data module.
        files: samples of every part that are read whole, spread evenly over it; all if None.
        batches: of every loader that are looked at.

    Raises:
        UserError: a training on these data would fail.
    """
    assert built.datamodule is not None, "check-data needs data"
    report = inspect_data(built.datamodule, files=files, batches=batches)
    pictures = figures_of(report)
    for name, picture in pictures.items():
        write_bytes(built.folder / PICTURES / name, picture)
    write_text(built.folder / NUMBERS, json.dumps(as_numbers(report), indent=2, ensure_ascii=True) + "\n")
    write_text(built.folder / PAGE, page_of(report, pictures))
    print_summary(report)
    print(f"{len(report.errors)} errors, {len(report.warnings)} warnings; the page: {built.folder / PAGE}")
    if report.errors:
        count = len(report.errors)
        first = f", the first of {count} errors: " if count > 1 else ": "
        raise UserError(f"a training on these data would fail{first}{report.errors[0]}")
