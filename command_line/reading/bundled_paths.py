"""Bundled configurations name bundled weights, wherever a command is started."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from jsonargparse import get_loader, set_loader
from typing_extensions import override
from yaml import YAMLError

from command_line.reading.literals import PARSER_MODE, NoneIsNull
from visionscapes.bundled import ROOT, with_bundled_paths


class BundledPaths(NoneIsNull):
    """A loader of values by which bundled configurations name bundled files, not files of the working directory.

    Args:
        inner: the loader of everything else.
        texts: contents of the bundled configurations that a command reads.
    """

    def __init__(self, inner: NoneIsNull, texts: Iterable[str]):
        super().__init__(inner.load)
        self.inner, self.texts = inner, set(texts)

    @override
    def __call__(self, text: str) -> Any:
        """Return the value of ``text``."""
        value = self.inner(text)
        return with_bundled_paths(value) if text in self.texts else value


def read_bundled_paths(files: Iterable[str | Path]) -> None:
    """Have bundled files that configurations name found from any folder.

    Args:
        files: the bundled ones among the configurations of a command.
    """
    if Path.cwd().resolve() == ROOT:
        return  # paths stay as they are written, for whoever reads the saved configuration on another machine
    loader = get_loader(PARSER_MODE)
    assert isinstance(loader, NoneIsNull), "read_none_as_null comes first"
    set_loader(PARSER_MODE, BundledPaths(loader, [Path(file).read_text() for file in files]), (YAMLError,))
