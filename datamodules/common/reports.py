"""What a data set tells about itself: published counts, what it left out, names of files."""

import logging
from collections.abc import Sequence
from pathlib import Path

from datamodules.common.file_names import refuse_escape
from visionscapes.errors import UserError

log = logging.getLogger(__name__)


def report(message: str, *values: object) -> None:
    """Say something about a data set that its user should know, once for all processes.

    Args:
        message: with a place for each of the values, as logging takes it.
        values: that belong there.
    """
    from visionscapes.processes import is_first  # which imports torch: `sparse_annotations` starts without

    if is_first():
        log.warning(message, *values)


def compare_count(name: str, things: str, found: int, published: int) -> None:
    """Warn, once for all processes, if there are more or fewer samples than the authors of the data set published."""
    if found != published:
        report("%s has %d %s here, %d as published", name, found, things, published)


def report_left_out(name: str, count: int, things: str, of: int, reason: str) -> None:
    """Say, once for all processes, how many things a data set leaves out and why; nothing if none."""
    if count:
        report("%s: left out %d of %d %s: %s", name, count, of, things, reason)


def first_names(paths: Sequence[Path], root: Path, shown: int = 3) -> str:
    """Return how many paths there are and the first of them, for messages."""
    names = [str(path.relative_to(root) if path.is_relative_to(root) else path) for path in paths[:shown]]
    return f"{len(paths)} files: {', '.join(names)}{', ...' if len(paths) > shown else ''}"


def listed(path: Path) -> list[str]:
    """Return the entries of a list file, one a line, whatever the line ends; blank lines do not count.

    Raises:
        UserError: the file is no text, or an entry leads out of the folder of the data set.
    """
    try:
        entries = [line.strip() for line in path.read_text().splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no list of text lines ({error}): copy it again from the data set") from error
    refuse_escape(entries, path)
    return entries
