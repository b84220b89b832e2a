"""``python cli.py runs list | show | compare | rm``: what was run, with what, how it ended, and what came of it."""

import shutil
import sys
from argparse import Namespace
from pathlib import Path
from string import ascii_uppercase
from typing import Any

from command_line.quick.arguments import Arguments
from command_line.quick.run_folders import MANIFEST, RunFolder, find_runs, named_run
from command_line.quick.texts import columns, duration, size
from visionscapes.errors import UserError
from visionscapes.folder_lock import FolderLock, InUseError

ALIKE = ("runs_dir", "name", "resume")  # options that two runs may differ in without being other runs
LONGEST = 60  # letters of a value in a table
RUN = "run folder, <method>/<name>, a name that only one run has, or last"


def runs(words: list[str]) -> str:
    """Return what a command about runs prints; ``rm`` removes them first.

    Args:
        words: of the command line, behind "runs".

    Raises:
        UserError: an option or a run that does not exist, or a run that is in use.
    """
    given = _parser().parse_args(words or ["list"])
    answer: str = given.answer(given)
    return answer


def _parser() -> Arguments:
    parser = Arguments(prog="cli.py runs", description="List, show, compare or remove runs.")
    commands = parser.add_subparsers(required=True, metavar="list | show | compare | rm")

    def command(name: str, answer: Any, meaning: str) -> Arguments:
        added: Arguments = commands.add_parser(name, help=meaning, description=meaning)
        added.add_argument("--runs_dir", type=Path, default=Path("runs"), help="folder of all runs [runs]")
        added.set_defaults(answer=answer)
        return added

    listing = command("list", _listed, "a line a run, the oldest first")
    listing.add_argument("method", nargs="?", default="", help="method, or the beginning of <method>/<name>")
    listing.add_argument("--status", default="", help="only such as finished, failed, killed, interrupted, running")
    showing = command("show", _shown, "what was run, with what, what it left and what it found")
    showing.add_argument("run", help=RUN)
    comparing = command("compare", _compared, "options and results in which runs differ, side by side")
    comparing.add_argument("run", nargs="+", help=RUN)
    removing = command("rm", _removed, "remove run folders for good")
    removing.add_argument("run", nargs="+", help=RUN)
    removing.add_argument("--yes", action="store_true", help="without asking")
    return parser


def _listed(given: Namespace) -> str:
    found = [run for run in find_runs(given.runs_dir) if run.name.startswith(given.method)]
    found = [run for run in found if run.outcome.startswith(given.status)]
    if not found:
        return f"no such runs in {given.runs_dir}"
    rows = [
        [run.name, run.subcommand, run.started, duration(run.seconds), size(run.size), _cut(run.outcome)]
        for run in found
    ]
    return columns(["run", "", "started", "took", "size", "ended"], rows, right=["took", "size"])


def _shown(given: Namespace) -> str:
    run = named_run(given.run, given.runs_dir)
    manifest, git = run.manifest, run.manifest.get("git", {})
    hardware = manifest.get("hardware", {})
    on = [hardware.get("cpu"), f"{hardware.get('cores')} cores", *(hardware.get("gpus") or [])] if hardware else []
    facts = {
        "folder": str(run.folder),
        "command": run.command,
        "ended": run.outcome,
        "started": run.started,
        "took": f"{duration(run.seconds)} in {len(manifest.get('earlier', [])) + 1} session(s)",
        "seed": manifest.get("seed"),
        "precision": manifest.get("precision"),
        "on": ", ".join(str(each) for each in on),
        "commit": f"{git.get('commit', '')}{', with changes' if git.get('dirty') else ''}" if git else "",
        "goes on from": manifest.get("resumed_from"),
        "size": size(run.size),
    }
    checkpoints = sorted(run.folder.glob("checkpoints/*.ckpt"))
    facts["checkpoints"] = ", ".join(f"{path.name} ({size(path.stat().st_size)})" for path in checkpoints)
    text = columns(["", ""], [[name, str(value)] for name, value in facts.items() if value not in (None, "")])
    results = [[*key, _number(value)] for key, value in run.results().items()]
    if results:
        text += "\n\n" + columns(["result", "of", "pixels", "value"], results, right=["pixels", "value"])
    return text


def _compared(given: Namespace) -> str:
    found = [named_run(word, given.runs_dir) for word in given.run]
    if len(found) < 2:
        raise UserError(f"{found[0].name} is one run: give two or more, to see in what they differ")
    if len(found) > len(ascii_uppercase):
        raise UserError(f"{len(found)} runs are too many to stand side by side: give {len(ascii_uppercase)} at most")
    names = list(ascii_uppercase[: len(found)])
    options, results = [run.options() for run in found], [run.results() for run in found]
    differing = [
        [name, *(_cut(_word(each, name)) for each in options)]
        for name in dict.fromkeys(name for each in options for name in each)
        if name not in ALIKE and len({_word(each, name) for each in options}) > 1
    ]
    rows = [
        [" ".join(part for part in key if part), *(_number(each.get(key, "")) for each in results)]
        for key in dict.fromkeys(key for each in results for key in each)
    ]
    told = [[name, run.name, duration(run.seconds), _cut(run.outcome)] for name, run in zip(names, found, strict=True)]
    parts = [columns(["", "run", "took", "ended"], told, right=["took"])]
    parts.append(columns(["option", *names], differing) if differing else "all options are alike")
    if rows:
        parts.append(columns(["result", *names], rows, right=names))
    return "\n\n".join(parts)


def _removed(given: Namespace) -> str:
    found = list(
        {run.folder.resolve(): run for run in (named_run(word, given.runs_dir) for word in given.run)}.values()
    )
    for run in found:
        _check_removable(run, {each.folder.resolve() for each in found})
    told = "\n".join(f"{run.name} ({size(run.size)}, {_cut(run.outcome)})" for run in found)
    if not given.yes:
        if not sys.stdin.isatty():
            raise UserError(f"nobody can be asked whether {found[0].name} is to be removed: add --yes")
        print(told)
        if input("remove for good? [y/N] ").strip().lower() not in ("y", "yes"):
            return "nothing was removed"
    locks = []
    try:
        for run in found:  # all of them or none
            locks.append(FolderLock(run.folder, remedy="leave it out"))
        for run in sorted(found, key=lambda run: -len(run.folder.resolve().parts)):  # inner ones first
            shutil.rmtree(run.folder)
    except InUseError:
        raise
    except OSError as error:
        raise UserError(f"{error.filename} cannot be removed ({error.strerror}): see whose it is") from error
    finally:
        for lock in locks:
            lock.release()
    return f"removed {told}"


def _check_removable(run: RunFolder, others: set[Path]) -> None:
    """Refuse what is no run, a link, and a run with another one inside that is not to be removed, too."""
    if not run.is_ours:
        raise UserError(f"{run.folder} does not look like a run of this program: remove it by hand if that is meant")
    if run.folder.is_symlink():
        raise UserError(
            f"{run.folder} is a link to {run.folder.resolve()}: name that folder, or remove the link by hand"
        )
    inner = [path.parent for path in run.folder.glob("*/**/" + MANIFEST) if path.parent.resolve() not in others]
    if inner:
        raise UserError(f"{run.folder} has another run inside, {inner[0]}: name that, too, or move it away")


def _word(options: dict[str, Any], name: str) -> str:
    return str(options[name]) if name in options else "-"


def _number(text: str) -> str:
    try:
        return f"{float(text):.4g}"
    except ValueError:
        return text or "-"


def _cut(text: str) -> str:
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 4]} ..."
