"""``python -m callbacks.vit_analysis.report <run folder>``: draw a report again, without the models."""

import argparse
import sys
import warnings
from pathlib import Path

from visionscapes.errors import UserError, tell


def main(words: list[str] | None = None) -> int:
    """Draw the report of a run, or one comparison of two of its models.

    Args:
        words: of the command line; those of this process if None.

    Returns:
        the exit status: 0, 1 if part of the report could not be drawn, 2 if the command cannot be followed.
    """
    parser = argparse.ArgumentParser(
        prog="python -m callbacks.vit_analysis.report",
        description="Draw the figures, tables and index.html of an analysis again from the arrays in its run folder.",
    )
    parser.add_argument("folder", type=Path, help="of the run, such as runs/vit_analysis/<name>")
    parser.add_argument(
        "--pair",
        nargs=2,
        metavar=("MODEL", "MODEL"),
        help="draw only the similarity (CKA) between all layers of these two models",
    )
    options = parser.parse_args(words)
    try:
        if options.pair:
            print(draw_pair(options.folder, *options.pair))
            return 0
        return draw_all(options.folder)
    except UserError as error:
        return tell(error)


def draw_all(folder: Path) -> int:
    """Draw the report; return 1 if part of it could not be drawn."""
    from callbacks.vit_analysis.report.draw import draw_report

    problems: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        written = draw_report(folder, problems)
    for problem in problems:
        print(f"warning: {problem}", file=sys.stderr)
    print(f"{len(written)} files written; open {written[-1]}")
    return 1 if problems else 0


def draw_pair(folder: Path, first: str, second: str) -> Path:
    """Write the picture of CKA between all layers of two models, and return its path.

    Raises:
        UserError: no such model, or the two cannot be compared.
    """
    from callbacks.results.figures import save_figure
    from callbacks.vit_analysis.report.arrays import read_arrays
    from callbacks.vit_analysis.report.similarity import two_models
    from callbacks.vit_analysis.report.style import file_names

    models = {model.name: model for model in read_arrays(folder, [])}
    for name in (first, second):
        if name not in models:
            raise UserError(f"there is no model {name!r} in {folder}; it has {', '.join(models)}")
    parts = file_names(list(models))
    path = folder / "pictures" / f"cka_{parts[first]}_and_{parts[second]}.png"
    save_figure(two_models(models[first], models[second]), path, 150)
    return path


if __name__ == "__main__":
    sys.exit(main())
