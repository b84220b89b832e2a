"""``python -m datamodules.sparse_annotations``: make a sparsely annotated copy of a file in COCO's format."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from datamodules.detection.sparse.splits import COUNTS, DEFAULTS, LEVELS, ROUNDINGS, RULES, SplitOptions
from datamodules.detection.sparse.writing import make_sparse
from visionscapes.errors import UserError, tell

DESCRIPTION = """\
Take annotations away from a file in COCO's format, so that it is sparsely annotated, and print how many went.
Crowds and difficult objects ("iscrowd", "difficult", "ignore") stay and are not counted. Beside OUTPUT, <name>.json,
<name>.removed.json lists the ids of what is gone, with everything it takes to do it again.

  split 1     --percent P  of the annotations of every class of the data set; images may lose all of theirs
  split 2     --percent P  of the classes of every image, with all their annotations in it
  split 3     --percent P  of the annotations of every image, but never the last one
  split 4     --level L    of every image one annotation (easy), half (hard), all but one (extreme); never the last one
  split 5     --percent P  of the images that hold a class lose it altogether, for every class; never the last one
  split siod               all but one annotation of every class in every image"""


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        "python -m datamodules.sparse_annotations",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", type=Path, metavar="INPUT.json", help="file in COCO's format; it stays as it is")
    parser.add_argument("output", type=Path, metavar="OUTPUT.json", help="the sparsely annotated copy")
    parser.add_argument("--split", required=True, metavar="|".join(RULES), help="which annotations go, see above")
    parser.add_argument("--percent", type=float, metavar="P", help="0 to 100; splits 1, 2, 3, 5")
    parser.add_argument("--level", metavar="|".join(LEVELS), help="split 4")
    parser.add_argument("--seed", type=int, default=0, help="of the choice (default: %(default)s)")
    parser.add_argument(
        "--rounding",
        default=DEFAULTS.rounding,
        metavar="|".join(ROUNDINGS),
        help="of P%% of a number (default: %(default)s); random: up or down so that it is P%% on average",
    )
    parser.add_argument("--ensure-one", action="store_true", help="split 2: every image keeps a class")
    parser.add_argument(
        "--count",
        default=DEFAULTS.count,
        metavar="|".join(COUNTS),
        help="split 5: what P%% of a class refers to (default: %(default)s)",
    )
    parser.add_argument(
        "--refill", action="store_true", help="split 5: take another image in place of one that would lose all"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a result that exists")
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: of the command line; those of this process if None.

    Returns:
        The exit status: 0, 2 after an error that the user can mend, 130 after Ctrl-C.
    """
    given = parser().parse_args(words)
    options = SplitOptions(given.rounding, given.ensure_one, given.count, refill=given.refill)
    try:
        lines = make_sparse(
            given.source, given.output, given.split, given.percent, given.level, given.seed, options, given.overwrite
        )
    except UserError as error:
        return tell(error)
    except KeyboardInterrupt:
        print("stopped; nothing was written", file=sys.stderr)
        return 130
    if given.percent is not None and 0 < given.percent < 1:
        print(f"warning: --percent {given.percent:g} is less than one in a hundred", file=sys.stderr)
    try:
        print("\n".join(lines), flush=True)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0
