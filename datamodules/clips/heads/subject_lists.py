"""Lists of the frames that a method is tested on: of each person some are given, and others are to be drawn.

Zakharov et al. (2019) publish such a test set of VoxCeleb2, which thesis 6.1 uses: 50 videos with 32 source and 32
hold-out frames each. Here a list is a text file with a line "<clip> <source|target> <frame>" for each frame: the name
of the prepared clip, which may leave out the folder test, and the number of the frame in it, from 0 at 25 a second.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from datamodules.common.file_names import refuse_escape
from datamodules.common.reports import listed, report_left_out
from visionscapes.errors import UserError

SOURCE, TARGET = "source", "target"
PART = "test/"


class Subject(NamedTuple):
    """Frames of a clip.

    Attributes:
        clip: its name in the list.
        sources: frames that shots are taken from, in order.
        targets: frames to be drawn, in order.
    """

    clip: str
    sources: list[int]
    targets: list[int]


def read_subjects(path: Path) -> list[Subject]:
    """Return the subjects of a list, in the order in which it first names them.

    Raises:
        UserError: the list cannot be read, a line is something else, a frame is named twice, or a subject has no source
            or no target.
    """
    if not path.is_file():
        raise UserError(f"There is no list {path}: name a file with lines {_line()}")
    subjects: dict[str, Subject] = {}
    lines = listed(path)
    if not lines:
        raise UserError(f"{path} lists no frame: write a line {_line()} for each")
    for place, line in enumerate(lines, 1):
        words = line.split()
        if len(words) != 3 or words[1] not in (SOURCE, TARGET) or not words[2].isdecimal():
            raise UserError(f"{path}, entry {place}: {line[:80]!r} is not {_line()}")
        clip, role, frame = words[0], words[1], int(words[2])
        refuse_escape([clip], path)
        subject = subjects.setdefault(clip, Subject(clip, [], []))
        if frame in (*subject.sources, *subject.targets):
            raise UserError(
                f"{path}, entry {place}: frame {frame} of {clip} is in the list already, and a target is never a shot:"
                " name a frame once"
            )
        (subject.sources if role == SOURCE else subject.targets).append(frame)
    for clip, sources, targets in subjects.values():
        sources.sort()
        targets.sort()
        if not sources or not targets:
            raise UserError(f"{path} has no {TARGET if sources else SOURCE} of {clip}: a subject needs both")
    return list(subjects.values())


def listed_subjects(path: Path, names: Sequence[str]) -> list[tuple[int, Subject]]:
    """Return the subjects of a list whose clips are there, each with the position of its clip; others are counted.

    Args:
        path: of the list.
        names: of the clips that are there, with "/" between folders.

    Raises:
        UserError: as `read_subjects`, or no clip is there.
    """
    subjects = read_subjects(path)
    position = {name: place for place, name in enumerate(names)}
    found = [(position.get(each.clip, position.get(PART + each.clip)), each) for each in subjects]
    kept = [(place, each) for place, each in found if place is not None]
    missing = next((each.clip for place, each in found if place is None), "")
    if not kept:
        raise UserError(
            f"None of the {len(subjects)} clips of {path} is among the {len(names)} that are there (the first missing"
            f" one is {missing}): point --data.init_args.root at prepared clips of the list's data set, whose names"
            f" begin as {names[0]} does here"
        )
    left_out = len(subjects) - len(kept)
    report_left_out(
        str(path), left_out, "subjects", len(subjects), f"their clips are not there, the first is {missing}"
    )
    return kept


def _line() -> str:
    return f'"<clip> <{SOURCE}|{TARGET}> <frame>"'
