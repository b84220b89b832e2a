"""The configurations that a command line names."""

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from visionscapes.bundled import CONFIGS, ROOT, bundled, find_configuration
from visionscapes.errors import UserError

OPTIONS = ("--config", "-c")
LONGEST_FILE_NAME = 255  # of common file systems


def config_files(args: Sequence[str]) -> list[str]:
    """Return what is given with --config, in order; "" for the last word of a command, which nothing follows."""
    following = [value for option, value in pairwise([*args, ""]) if option in OPTIONS]
    return following + [word.removeprefix("--config=") for word in args if word.startswith("--config=")]


def located(args: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of a command line with the files that its configurations stand for, and what is to be told.

    Args:
        args: the words; a configuration may be given by its name, such as "lift".

    Raises:
        UserError: nothing is given with --config, or what no file system takes for a name.
    """
    if "" in (named := config_files(args)):
        raise UserError("--config needs the name of a configuration or a file, as in --config lift")
    if long := next((each for each in named if max(map(len, each.split("/"))) > LONGEST_FILE_NAME), ""):
        raise UserError(f"there is no file {long[:80]} ...: its name has more than {LONGEST_FILE_NAME} characters")
    words, told = list(args), list[str]()
    for place, (before, word) in enumerate(zip(["", *args], args, strict=False)):
        option, given = ("", word) if before in OPTIONS else ("--config=", word.removeprefix("--config="))
        if before not in OPTIONS and not word.startswith("--config="):
            continue
        file = find_configuration(given)
        if file is None:
            continue
        words[place] = f"{option}{file}"
        other = bundled(given, CONFIGS)
        if str(file) != str(Path(given)):
            told.append(f"note: --config {given} is {'the bundled ' * is_bundled(file)}{_shown(file)}")
        elif other is not None and not is_bundled(file):
            told.append(f"note: --config {given} is your own file, not the bundled {other}")
    return words, told


def is_bundled(file: str | Path) -> bool:
    """Return whether a configuration comes with the code."""
    return Path(file).resolve().is_relative_to(ROOT / CONFIGS)


def _shown(file: Path) -> str:
    relative = os.path.relpath(file)
    return str(file) if relative.startswith("..") else relative
