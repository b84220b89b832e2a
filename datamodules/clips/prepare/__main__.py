"""``python -m datamodules.clips.prepare``: make clips of talking heads ready for training.

One clip is made in ``datamodules.clips.prepare.preparing``, all of them in ``datamodules.clips.prepare.prepared_set``.
"""

import argparse
import os
import re
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, get_args, get_type_hints

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.prepare.cropping import Crop
from datamodules.clips.prepare.offsets import SURE, SyncOptions, as_text, histogram
from datamodules.clips.prepare.prepared_set import PreparedSet, cannot_write, check_writable, in_shard
from datamodules.clips.prepare.preparing import PrepareOptions
from datamodules.clips.prepare.records import LEFT_OUT, Shard, record_file
from datamodules.clips.prepare.trees import (
    Layout,
    compare_with_published,
    find_clips,
    passed_over,
    with_names_of_their_own,
)
from networks.audio import FRAME_RATE
from visionscapes.errors import UserError, tell
from visionscapes.files import write_text
from visionscapes.progress import restart_clock

DESCRIPTION = """\
Prepare clips of talking heads: frames at 25 a second, cut out around the head; sound at 16 kHz and its mel
spectrogram; 68 landmarks and a box of the face for each frame. A clip becomes one file, OUT/<name>.safetensors.

  VoxCeleb2   FOLDER/{dev,test}/mp4/<person>/<video>/<number>.mp4   becomes OUT/{train,test}/<person>/<video>/<number>
  LRW         FOLDER/<WORD>/{train,val,test}/<WORD>_<number>.mp4    becomes OUT/{train,val,test}/<WORD>/<WORD>_<number>
  any other   FOLDER/any/sub/folder/<clip>.mp4 (.mov, .mkv, ...)    becomes OUT/any/sub/folder/<clip>

Clips that are prepared already with the same settings are kept: run the same command again to go on where it was
stopped, in whatever way. Those that cannot be used are left out, counted by reason, and listed in OUT/left_out.csv.
Memory does not depend on the length of a clip but for its sound and landmarks, about 300 kB a second."""
EPILOG = """\
exit status: 0 if there are prepared clips, 2 if there are none or after an error, 130 after Ctrl-C."""
SHOWN = 3  # messages of a reason
OF_FACES = {
    "detector": "MediaPipe's file; or short_range, full_range, back",
    "mesh": "MediaPipe's file",
    "least_score": "of a face",
    "choose": "largest, nearest to where it was, or 0, 1, ... from the left",
    "longest_gap": "seconds without a face that are bridged",
    "smoothing": "seconds of the window of the head's movement; 0: none",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        "python -m datamodules.clips.prepare",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    default = PrepareOptions()
    parser.add_argument("folder", metavar="FOLDER", help="of the videos; a file or a pattern in quotes will do")
    parser.add_argument("--out", required=True, metavar="OUT", help="folder of the prepared clips")
    layouts = ("auto", *get_args(Layout))
    parser.add_argument("--layout", choices=layouts, default="auto", help="of FOLDER (default: by what is there)")
    parser.add_argument(
        "--first-utterance", action="store_true", help="of each video of VoxCeleb2 only the clip of the lowest number"
    )
    parser.add_argument("--size", type=int, default=default.size, help="pixels of a side (default: %(default)s)")
    parser.add_argument(
        "--crop",
        choices=get_args(Crop),
        default=default.crop,
        help="moving: a square that follows the head; fixed: one square for the whole clip; none: the whole frame;"
        " voxceleb2: the fixed part of VoxCeleb2's frames that Diff2Lip takes (default: %(default)s)",
    )
    parser.add_argument(
        "--margin", type=float, default=default.margin, help="side of the square, in faces (default: %(default)s)"
    )
    parser.add_argument(
        "--sound", choices=("require", "if-there"), default=default.sound, help="default: %(default)s; lips need it"
    )
    parser.add_argument("--landmarks", metavar="FOLDER", help="of another detector: <name>.npz or .safetensors a clip")
    _add_options(parser.add_argument_group("faces"), "faces", FaceOptions)
    sync = parser.add_argument_group("offsets of picture and sound")
    sync.add_argument("--sync", metavar="FILE", help="weights of a SyncNet; without it offsets are not measured")
    sync.add_argument("--offsets", choices=("keep", "shift", "drop"), default="keep", help="default: %(default)s")
    sync.add_argument(
        "--least-confidence", type=float, metavar="X", help=f"shift and drop leave out clips below (default: {SURE})"
    )
    sync.add_argument(
        "--largest-offset", type=int, metavar="FRAMES", help="leave out clips above (default: drop 1, shift 6)"
    )
    run = parser.add_argument_group("run")
    run.add_argument("--workers", type=int, default=_cores(), metavar="N", help="processes (default: %(default)s)")
    run.add_argument("--shard", metavar="K/N", help="prepare the K-th of N parts, which need not know each other")
    run.add_argument("--retry", action="store_true", help="try clips again that were left out before")
    return parser


def main(words: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        words: of the command line; those of this process if None.

    Returns:
        The exit status: 0 if clips are prepared, 2 if none is or after an error that the user can mend, 130 after
        Ctrl-C.
    """
    given = parser().parse_args(words)
    try:
        with _stoppable():
            return prepare(given)
    except UserError as error:
        return tell(in_options(str(error)))
    except OSError as error:
        return tell(cannot_write(Path(error.filename or given.out), error))
    except KeyboardInterrupt:
        print("stopped; what is done is kept: run the same command to go on", file=sys.stderr)
        return 130


def in_options(message: str) -> str:
    """Return a message with the options of the command line in place of those of classes."""

    def option(found: re.Match[str]) -> str:
        group, name = found.groups()
        words = {"Face": f"faces.{name}", "Sync": "sync" if name == "weights" else name.replace("_", "-")}
        return "--" + words.get(group, name.replace("_", "-"))

    return re.sub(r"\b(Face|Sync|Prepare)Options\.(\w+)", option, message)


def prepare(given: argparse.Namespace) -> int:
    """Prepare the clips that the command line names.

    Args:
        given: what `parser` has read.

    Returns:
        The exit status.

    Raises:
        UserError: there are no clips, an option is wrong, or nothing can be written.
    """
    restart_clock()
    for name, value in (("FOLDER", given.folder), ("--out", given.out)):
        if not value:  # as a variable of the shell that is not set
            raise UserError(f"{name} is empty: name a folder; . is the one that you are in")
    options, shard, folder = _options(given), _shard(given.shard), Path(given.out).expanduser()
    if given.landmarks is not None and not Path(given.landmarks).expanduser().is_dir():
        raise UserError(
            f"--landmarks is {given.landmarks}, which is no folder: name the one with the files of landmarks"
        )
    if given.workers < 1:
        raise UserError(f"--workers is {given.workers}; it has to be at least 1")
    layout, found = find_clips(given.folder, given.layout, first_utterance=given.first_utterance)
    compare_with_published(layout, [clip.name for clip in found], given.first_utterance)
    clips, clashing = with_names_of_their_own(found)
    result = PreparedSet(folder, options, shard)
    check_writable(folder)
    mine = in_shard(clips, shard)
    for source, error in clashing:
        if in_shard([source], shard):
            result.leave_out(source, {"reason": error.reason, "message": str(error)})
    jobs = result.waiting(mine, given.retry)
    part = f", {len(mine)} of them in shard {given.shard}" if shard else ""
    print(f"{_clips(len(found))}{part}; {result.there} are prepared, {len(jobs)} to do", flush=True)
    if layout == "folder" and (others := passed_over(given.folder)):
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in others.most_common(SHOWN))
        more = ", ..." if len(others) > SHOWN else ""
        one = others.total() == 1
        what = (
            "1 file that is no video by its name"
            if one
            else f"{others.total()} files that are no videos by their names"
        )
        print(f"passed over {what}: {kinds}{more}", flush=True)
    if result.replaced:
        print(f"{result.replaced} were prepared with other settings or are damaged, and are made anew", flush=True)
    result.run(jobs, given.workers)
    print("\n".join(_summary(result)), flush=True)
    if options.sync is not None:
        print("\n".join(_offsets(result)), flush=True)
    return 0 if result.rows or not mine else 2


def _summary(result: PreparedSet) -> list[str]:
    rows, left = list(result.rows.values()), result.left_out
    frames = {key: sum(int(row[key]) for row in rows) for key in ("frames", "seen", "interpolated", "without_face")}
    hours = frames["frames"] / FRAME_RATE / 3600
    length = f"{hours:.1f} hours" if hours >= 1 else f"{60 * hours:.1f} minutes"
    lines = [f"{result.folder}: {_clips(len(rows))}, {length}; {len(left)} left out"]
    for reason, count in result.reasons().most_common():
        lines.append(f"  {reason:12s} {count:7d}")
        messages = sorted(row["message"] for row in left.values() if row["reason"] == reason)
        lines += [f"    {_one_line(message)}" for message in messages[:SHOWN]]
        lines += [f"    ... and {count - SHOWN} more" for _ in range(count > SHOWN)]
    if left:
        path = record_file(result.folder, LEFT_OUT, result.shard)
        tried = f" ({result.known} of them not tried again: --retry)" if result.known else ""
        lines.append(f"  all are listed in {path}{tried}")
    if rows:
        share = {key: 100 * value / max(1, frames["frames"]) for key, value in frames.items()}
        lines.append(
            f"faces: seen in {share['seen']:.1f} % of the frames, interpolated in {share['interpolated']:.1f} %,"
            f" none in {share['without_face']:.1f} %"
        )
    counted = {
        "without sound": sum(row["sound"] == "none" for row in rows),
        "that are silent": sum(row["sound"] == "silence" for row in rows),
        "with damaged packets, which were passed over": sum(row["damaged_packets"] != "0" for row in rows),
    }
    return lines + [f"clips {what}: {count}" for what, count in counted.items() if count]


def _offsets(result: PreparedSet) -> list[str]:
    """Return the histogram as text, and write it beside the clips, as a table as well."""
    counts = histogram(result.offsets())
    lines = as_text(counts)
    moved = sum(row["moved"] not in ("", "0") for row in result.rows.values())
    lines += [f"the sound of {moved} clips was shifted"] if moved else []
    table = record_file(result.folder, "offsets", result.shard)
    write_text(table, "".join(f"{a},{b}\n" for a, b in [("offset", "clips"), *counts]))
    write_text(table.with_suffix(".txt"), "\n".join(lines) + "\n")
    return lines


def _clips(count: int) -> str:
    return f"{count} clip{'s' * (count != 1)}"


def _one_line(message: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in message)


def _options(given: argparse.Namespace) -> PrepareOptions:
    values = vars(given)
    faces = {key.split(".")[1]: value for key, value in values.items() if key.startswith("faces.")}
    sync = None
    if given.sync is not None:
        sync = SyncOptions(given.sync, given.offsets, given.least_confidence, largest_offset=given.largest_offset)
    elif given.offsets != "keep" or given.least_confidence is not None or given.largest_offset is not None:
        raise UserError(
            "--offsets, --least-confidence and --largest-offset act on offsets, which are measured with a SyncNet only:"
            " give its weights with --sync"
        )
    kept = {name: values[name] for name in ("size", "crop", "margin", "sound", "landmarks")}
    return PrepareOptions(**kept, faces=FaceOptions(**faces), sync=sync)


def _add_options(group: Any, name: str, options: type) -> None:
    """Add the options of a dataclass as --<name>.<option>, with their defaults; the dataclass checks them."""
    hints = get_type_hints(options)
    for each in fields(options):
        kind = next((one for one in (int, float) if hints[each.name] is one), str)
        default = None if each.default is MISSING else each.default
        shown = [OF_FACES[each.name], "" if default is None else "(default: %(default)s)"]
        group.add_argument(
            f"--{name}.{each.name}", type=kind, default=default, metavar="X", help=" ".join(filter(None, shown))
        )


def _shard(text: str | None) -> Shard | None:
    if text is None:
        return None
    first, slash, second = text.partition("/")
    if slash and all(re.fullmatch("[0-9]{1,9}", each) for each in (first, second)):
        number, count = int(first), int(second)
        if 1 <= number <= count:
            return number, count
    raise UserError(f"--shard is {text[:40]!r}; it has to be such as 3/16, from 1/16 to 16/16")


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def _stoppable() -> Iterator[None]:
    """Within the block SIGTERM, which a scheduler sends before it kills, does what Ctrl-C does."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


if __name__ == "__main__":
    sys.exit(main())
