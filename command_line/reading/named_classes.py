"""The classes that a command line names, itself or in its configurations."""

import re
from importlib import import_module
from pathlib import Path

from command_line.errors.messages import PACKAGES, exported
from command_line.reading.configurations import config_files, is_bundled


def import_named_classes(args: list[str]) -> None:
    """Import the classes of this repository that are named without their package, so that the parser knows them."""
    words = {part for word in args for part in word.split("=")}
    for path in config_files(args):
        words |= set(re.findall(r":\s*([A-Z]\w*)\s*$", Path(path).read_text(errors="replace"), re.MULTILINE))
    for package in PACKAGES[:3]:
        for name in words & set(exported(package)):
            getattr(import_module(package), name)


def class_paths_in(args: list[str]) -> list[str]:
    """Return the class paths that a command line names, itself or in configurations that are not bundled."""
    texts = [*args, *(Path(path).read_text() for path in config_files(args) if not is_bundled(path))]
    return sorted({path for text in texts for path in re.findall(r"(?<![\w./])[a-z_]\w*(?:\.\w+)*\.[A-Z]\w*", text)})
