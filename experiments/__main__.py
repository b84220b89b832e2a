"""``python -m experiments``: list the thesis' tables, run what they need, write what came out."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from visionscapes.missing_packages import told_if_missing

with told_if_missing():
    from callbacks.results.table import Table
    from callbacks.results.terminal import print_tables
    from experiments.loading import load_tables, suggest
    from experiments.pictures import small_copy
    from experiments.records import ROOT, Records
    from experiments.report import METHOD_HEAD, document, list_text, method_rows, tables_to_print
    from experiments.runs import Runner
    from experiments.state import summary
    from experiments.tables import FOLDER, SCALES, SEEDS, ThesisTable
    from visionscapes.checks import NumpySeed, check_value
    from visionscapes.errors import UserError, tell
    from visionscapes.files import write_text

LIST_MORE = "python -m experiments list <method> or <table> has the claims and what they come to; --all has them all."


def records_of(table: ThesisTable) -> Records:
    """Return the records of the table's method."""
    return Records(FOLDER / table.method / "results")


def wanted_tables(names: Sequence[str]) -> list[ThesisTable]:
    """Return the tables of these names, in the order of the thesis; a method's name stands for all of its tables.

    Raises:
        UserError: a name that is neither.
    """
    tables = load_tables()
    names = [name.rpartition("/")[2] for name in names]  # ``list`` prints them as lift/table_8_1
    methods = sorted({table.method for table in tables.values()})
    for name in names:
        if name not in tables and name not in methods:
            raise UserError(f"no table or method is called {name!r}{suggest(name, [*methods, *tables])}")
    return [table for table in tables.values() if not names or {table.name, table.method} & set(names)]


def list_tables(names: Sequence[str], as_json: bool, everything: bool) -> None:
    """Print the state and the claims of tables; a line a method where no table is named."""
    summaries = [summary(table, records_of(table)) for table in wanted_tables(names)]
    if as_json:
        print(json.dumps({"tables": summaries}, indent=1))
    elif names or everything:
        print("\n".join(list_text(summaries)))
    else:
        print_tables([Table.of_texts("At embedded scale", METHOD_HEAD, method_rows(summaries))], LIST_MORE)


def run_tables(names: Sequence[str], scale: str, seeds: Sequence[int], force: bool) -> None:
    """Run what tables need at a scale and print them; a run that fails does not keep the others from running.

    Raises:
        UserError: a seed is none; at the end, if runs failed.
    """
    for seed in seeds:
        check_value("--seeds", seed, NumpySeed)
    tables = [table for table in wanted_tables(names) if scale in table.grids]
    if not tables:
        raise UserError(f"{', '.join(names)}: no runs are defined at {scale} scale")
    failures: dict[str, str] = {}
    runners = {table.method: Runner(records_of(table), scale, force) for table in tables}
    for table in tables:
        for run in table.grids[scale].shown_runs():
            for seed in seeds:
                try:
                    runners[table.method].ensure(run, seed)
                except UserError as error:
                    failures[str(error)] = table.name
        tables_of_results = tables_to_print(table, runners[table.method].records, scale)
        print()
        print_tables(tables_of_results, "" if len(tables_of_results) > 1 else "No claim is asked at this scale.")
    if failures:
        raise UserError("\n".join(f"{name}: {message}" for message, name in failures.items()))


def report(method: str) -> None:
    """Write ``docs/results/<method>.md``.

    Raises:
        UserError: a table is named instead of a method.
    """
    tables = wanted_tables([method])
    if tables[0].method != method:
        raise UserError(f"report takes a method, not a table: python -m experiments report {tables[0].method}")
    path = ROOT / "docs" / "results" / f"{method}.md"
    write_text(path, document(method, tables, records_of(tables[0])))
    print(path.relative_to(ROOT))


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser("python -m experiments", description=__doc__, allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    lister = commands.add_parser(
        "list", allow_abbrev=False, help="every table, its state and the verdict of each claim"
    )
    lister.add_argument("tables", nargs="*", metavar="table|method", help="only these")
    lister.add_argument("--all", action="store_true", help="every table and claim, not a line a method")
    lister.add_argument("--json", action="store_true", help="for programs")
    runner = commands.add_parser("run", allow_abbrev=False, help="run what tables need and print what came out")
    runner.add_argument("tables", nargs="+", metavar="table|method")
    runner.add_argument("--scale", choices=SCALES, default="embedded")
    runner.add_argument("--seeds", nargs="+", type=int, help=f"default: {SEEDS}")
    runner.add_argument("--force", action="store_true", help="repeat runs that are recorded already")
    reporter = commands.add_parser("report", allow_abbrev=False, help="write docs/results/<method>.md")
    reporter.add_argument("method")
    copier = commands.add_parser("picture", allow_abbrev=False, help="copy a picture of a run for the documents")
    copier.add_argument("source", type=Path, help="a .png or .gif that a run has written")
    copier.add_argument("target", type=Path, help="docs/images/<name>, of at most 300 kB")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 2 after an error that the user can mend."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "list":
            list_tables(options.tables, options.json, options.all)
        elif options.command == "run":
            run_tables(options.tables, options.scale, options.seeds or SEEDS[options.scale], options.force)
        elif options.command == "picture":
            small_copy(options.source, options.target)
        else:
            report(options.method)
    except UserError as error:
        return tell(error)
    except BrokenPipeError:  # the reader, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print("stopped; what has finished is recorded, and the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
