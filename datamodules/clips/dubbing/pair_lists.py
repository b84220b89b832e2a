"""Lists of pairs as the authors publish theirs: "<audio> <video>" a line, names of clips without suffix.

Names are relative to the folder of the part, as id05459/18XmQEiGLnQ/00001 of VoxCeleb2 and ABOUT/test/ABOUT_00001 of
LRW. Prepared clips lie below their part, test/id05459/18XmQEiGLnQ/00001 and test/ABOUT/ABOUT_00001; names may say so.
"""

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path

from datamodules.clips.dubbing.pairs import Pair, Setting
from datamodules.common.file_names import refuse_escape
from datamodules.common.reports import report_left_out
from visionscapes.errors import UserError

PARTS = ("test", "val", "train")  # where a name without a part is looked for first
SUFFIX = ".mp4"


def listed_pairs(path: Path, setting: Setting, names: Sequence[str], most: int | None = None) -> list[Pair]:
    """Return the pairs of a list whose clips are there; of others it is told how many there are.

    Args:
        path: of the list.
        setting: which the list is for.
        names: of the clips that are there, with "/" between folders.
        most: how many pairs to take from the beginning of the list; all if None.

    Raises:
        UserError: the list cannot be read, a line is no pair, a pair of the setting "reconstruction" is of two clips,
            or no clip is there.
    """
    pairs = list(read_pairs(path))[:most]
    if setting == "reconstruction":
        for number, (audio, video) in enumerate(pairs, 1):
            if audio != video:
                raise UserError(
                    f"Pair {number} of {path} is of two clips, {audio} and {video}, and a video is reconstructed by its"
                    " own sound: give this list as --data.init_args.cross_list"
                )
    position = {name: place for place, name in enumerate(names)}
    found = [(_position(audio, position), _position(video, position)) for audio, video in pairs]
    kept = [Pair(setting, video, audio) for audio, video in found if audio is not None and video is not None]
    names_and_places = zip(chain(*pairs), chain(*found), strict=True)
    missing = next((name for name, place in names_and_places if place is None), "")
    if not kept:
        raise UserError(
            f"None of the {len(pairs)} pairs of {path} is among the {len(names)} clips (the first missing clip is"
            f" {missing}): point --data.init_args.root at the prepared clips of this list's data set, whose names"
            f" begin as {names[0]} does here"
        )
    left_out = len(pairs) - len(kept)
    report_left_out(str(path), left_out, "pairs", len(pairs), f"their clips are not there, the first is {missing}")
    return kept


def read_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the pairs of a list, (audio, video); blank lines do not count.

    Raises:
        UserError: the list cannot be read, a line is no pair, a name leads out of the folder, or there is no pair.
    """
    try:
        lines = path.read_text().splitlines()
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is no list of text lines ({error}): give a list of pairs") from error
    except OSError as error:
        raise UserError(f"The list of pairs {path} cannot be read ({error.strerror}): name a file") from error
    if not any(line.strip() for line in lines):
        raise UserError(f'{path} lists no pair: give a file with a line "<audio> <video>" for each')
    for number, line in enumerate(lines, 1):
        pair = line.split()
        if pair and len(pair) != 2:
            raise UserError(
                f"Line {number} of {path} has {len(pair)} words, {line.strip()[:80]!r}; write two names of clips,"
                ' "<audio> <video>"'
            )
        refuse_escape(pair, path)
        if pair:
            audio, video = (name.removesuffix(SUFFIX) for name in pair)
            yield audio, video


def _position(name: str, positions: dict[str, int]) -> int | None:
    """Return the position of a clip by its name in a list; None if it is not there."""
    return next((positions[each] for each in _names(name) if each in positions), None)


def _names(name: str) -> Iterator[str]:
    """Yield how a clip of a list may be called here."""
    yield name
    folders = name.split("/")
    if len(folders) == 3 and folders[1] in PARTS:  # LRW's <word>/<part>/<clip>
        yield "/".join([folders[1], folders[0], folders[2]])
    yield from (f"{part}/{name}" for part in PARTS)
