"""Bundled configurations, and those that runs have saved, name bundled weights, wherever a command is started."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader
from typing_extensions import override
from yaml import YAMLError

from command_line.reading.configurations import is_bundled
from command_line.reading.literals import PARSER_MODE, NoneIsNull
from visionscapes.bundled import ROOT, with_bundled_paths

# Every configuration that a run saves has all of these, whatever its file is called by now.
SAVED_KEYS = {"seed_everything", "trainer", "checkpoint", "name", "runs_dir", "resume", "test_after_fit"}


class BundledPaths(NoneIsNull):
    """A loader of values by which bundled configurations name bundled files, not files of the working directory.

    In configurations of runs, which may be of users' own files, those of the working directory come first.

    Args:
        inner: the loader of everything else.
        texts: contents of the bundled configurations that a command reads.
        saved: contents of the configurations of runs that it reads.
    """

    def __init__(self, inner: NoneIsNull, texts: Iterable[str], saved: Iterable[str] = ()):
        super().__init__(inner.load)
        self.inner, self.texts, self.saved = inner, set(texts), set(saved)

    @override
    def __call__(self, text: str) -> Any:
        """Return the value of ``text``."""
        value = self.inner(text)
        if text not in self.texts | self.saved:
            return value
        return with_bundled_paths(value, own_first=text not in self.texts)


def read_bundled_paths(files: Iterable[str | Path]) -> None:
    """Have bundled files that configurations name found from any folder.

    Args:
        files: the configurations of a command; those that are neither bundled nor of a run are passed over.
    """
    if Path.cwd().resolve() == ROOT:
        return  # paths stay as they are written, for whoever reads the saved configuration on another machine
    loader = get_loader(PARSER_MODE)
    assert isinstance(loader, NoneIsNull), "read_none_as_null comes first"
    texts, saved = list[str](), list[str]()
    for file in map(Path, files):
        text = _text_of(file)
        if is_bundled(file):
            texts.append(text)
        elif _is_of_a_run(text):
            saved.append(text)
    set_loader(PARSER_MODE, BundledPaths(loader, texts, saved), (YAMLError,))


def _text_of(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, ValueError):
        return ""  # the parser says what is wrong


def _is_of_a_run(text: str) -> bool:
    try:
        content = yaml.safe_load(text)
    except (YAMLError, ValueError, RecursionError):
        return False  # it says this, too
    return isinstance(content, Mapping) and content.keys() >= SAVED_KEYS
