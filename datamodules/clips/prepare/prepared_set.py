"""A whole set of clips prepared: what is there already stays, what cannot be used is left out and told."""

import os
import re
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

import torch

from datamodules.clips.clip_files import PreparedClip
from datamodules.clips.clip_format import SUFFIX
from datamodules.clips.prepare.offsets import OutOfSyncError
from datamodules.clips.prepare.preparing import PrepareOptions, prepare_clip
from datamodules.clips.prepare.records import (
    LEFT_OUT,
    MANIFEST,
    Row,
    Shard,
    digest_of,
    left_out_before,
    manifest_row,
    read_records,
    record_file,
    write_records,
)
from datamodules.clips.prepare.trees import ClipSource
from datamodules.clips.prepare.worker_processes import Died, in_processes
from visionscapes.errors import UserError, in_words
from visionscapes.files import NO_PERMISSION, NO_SPACE, make_folder, remedy
from visionscapes.media.errors import ClipError
from visionscapes.progress import track

_UNFINISHED = re.compile(rb"\.(.+)\.([0-9]+)\.partial", re.DOTALL)  # see ``visionscapes.files``
SAVED_EVERY = 10.0  # seconds, of the list of what was left out


class Job(NamedTuple):
    """A clip to prepare, and where it goes."""

    source: ClipSource
    folder: Path
    options: PrepareOptions

    @property
    def target(self) -> Path:
        """The file to write."""
        return target_of(self.folder, self.source.name)


def target_of(folder: Path, name: str) -> Path:
    """Return the file of a clip in a folder of prepared clips."""
    return folder / f"{name}{SUFFIX}"


def in_shard(clips: Sequence[ClipSource], shard: Shard | None) -> list[ClipSource]:
    """Return the clips of a shard: by their names alone, so that each stays where it is when others come or go."""
    if shard is None:
        return list(clips)
    return [clip for clip in clips if crc32(clip.name.encode()) % shard[1] == shard[0] - 1]


@dataclass
class PreparedSet:
    """Which clips of a set are prepared, and which are left out.

    Args:
        folder: of the prepared clips.
        options: what is made of each clip.
        shard: of the set, None for all of it.

    Attributes:
        there: how many clips were prepared before.
        replaced: how many were prepared before in another way, or out of another file.
        known: how many were left out before.
        rows: of the prepared clips, by name.
        left_out: of those that were not, by the path of their file.
    """

    folder: Path
    options: PrepareOptions
    shard: Shard | None = None
    there: int = 0
    replaced: int = 0
    known: int = 0
    rows: dict[str, Row] = field(default_factory=dict)
    left_out: dict[str, Row] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.settings = self.options.settings()
        self.digest = digest_of(self.settings)
        self._saved = time.monotonic()

    def waiting(self, clips: Sequence[ClipSource], retry: bool, shown: bool = True) -> list[Job]:
        """Return what is left to do, and note what is done.

        Args:
            clips: of this shard.
            retry: whether clips that were left out before are tried again.
            shown: whether this process shows progress.
        """
        before = left_out_before(self.folder)
        jobs = []
        for clip in track(clips, "clips looked at", len(clips), shown):
            row, earlier = self._prepared(clip), before.get(clip.name)
            if row is not None:
                self.rows[clip.name] = row
                self.there += 1
            elif not retry and earlier is not None and self._still_out(clip, earlier):
                self.left_out[earlier["file"]] = earlier
                self.known += 1
            else:
                jobs.append(Job(clip, self.folder, self.options))
        self._remove_unfinished(jobs)
        return jobs

    def _remove_unfinished(self, jobs: Sequence[Job]) -> None:
        """Remove what a process that was killed has left of the files that are to be written."""
        records = (record_file(self.folder, kind, self.shard) for kind in (MANIFEST, LEFT_OUT))
        mine = {os.fsencode(path) for path in (*(job.target for job in jobs), *records)}
        for path in self.folder.rglob(".*.partial"):
            whole = _UNFINISHED.fullmatch(os.fsencode(path.name))
            if whole and os.fsencode(path.parent / os.fsdecode(whole[1])) in mine and not _is_alive(int(whole[2])):
                path.unlink(missing_ok=True)

    def _prepared(self, clip: ClipSource) -> Row | None:
        target = target_of(self.folder, clip.name)
        if not target.is_file():
            return None
        try:
            about = PreparedClip(target).about
            if about.get("settings") == self.settings and about["bytes"] == clip.video.stat().st_size:
                return manifest_row(clip.name, about)
        except (UserError, OSError):
            pass
        self.replaced += 1
        return None

    def _still_out(self, clip: ClipSource, earlier: Row) -> bool:
        return earlier["settings"] == self.digest and earlier["file"] == str(clip.video)

    def run(self, jobs: Sequence[Job], workers: int, shown: bool = True) -> None:
        """Prepare clips and show progress; what was done is on record however this ends.

        Args:
            jobs: of `waiting`.
            workers: processes.
            shown: whether this process shows progress.

        Raises:
            UserError: nothing can be written.
        """
        try:
            with closing(in_processes(_one, jobs, workers)) as outcomes:
                for index, outcome in track(outcomes, "clips prepared", len(jobs), shown):
                    self._note(jobs[index], outcome)
        finally:
            self.record()

    def _note(self, job: Job, outcome: "Row | Died") -> None:
        if isinstance(outcome, Died):
            message = f"{job.source.video}: {outcome.how}; leave it out, or try it again with --retry"
            outcome = {"reason": "crashed", "message": message}
        if "reason" not in outcome:
            self.rows[job.source.name] = outcome
        else:
            self.leave_out(job.source, outcome)
            if time.monotonic() - self._saved > SAVED_EVERY:
                self._save(LEFT_OUT, self.left_out)

    def leave_out(self, source: ClipSource, row: Row) -> None:
        """Note that a clip is left out; ``row`` has the reason and the message."""
        named = {"file": str(source.video), "name": source.name, "settings": self.digest}
        self.left_out[str(source.video)] = dict.fromkeys(("offset", "confidence"), "") | row | named

    def record(self) -> None:
        """Write what there is and what was left out."""
        self._save(MANIFEST, self.rows)
        self._save(LEFT_OUT, self.left_out)

    def _save(self, kind: str, rows: dict[str, Row]) -> None:
        path = record_file(self.folder, kind, self.shard)
        # Of clips that came from elsewhere, or are not yet looked at again.
        mine = {row["name"] for row in (*self.rows.values(), *self.left_out.values())}
        others = [row for row in read_records(path) if row["name"] not in mine]
        if kind == MANIFEST:
            others = [row for row in others if target_of(self.folder, row["name"]).is_file()]
        write_records(path, [*rows.values(), *others])
        self._saved = time.monotonic()

    def offsets(self) -> Iterator[int]:
        """Yield the offsets that were measured, of clips that were left out too."""
        for row in (*self.rows.values(), *self.left_out.values()):
            if row["offset"]:
                yield int(row["offset"])

    def reasons(self) -> Counter[str]:
        """Return how many clips were left out for each reason."""
        return Counter(row["reason"] for row in self.left_out.values())


def _is_alive(process: int) -> bool:
    """Return whether a process of this number is on this machine, such as one of the same command, started twice."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def check_writable(folder: Path) -> None:
    """Make the folder of the prepared clips, and see that files can be written to it.

    Raises:
        UserError: they cannot.
    """
    probe = folder / f".probe.{time.time_ns()}"
    try:
        make_folder(folder)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise cannot_write(folder, error) from error


def cannot_write(path: Path, error: OSError) -> UserError:
    """Return the error of a file or folder that cannot be written, with a remedy."""
    hint = remedy(error) or "name another place"
    return UserError(f"{path} cannot be written: {error.strerror or error}; {hint}")


def _one(job: Job) -> Row:
    """Prepare a clip in a process of its own, and return its row, or the reason and the message why it is left out.

    Raises:
        UserError: nothing can be written, or an option is wrong.
    """
    torch.set_num_threads(1)
    try:
        return manifest_row(job.source.name, prepare_clip(job.source, job.target, job.options))
    except OutOfSyncError as error:
        score = (
            {"offset": str(error.score.offset), "confidence": f"{error.score.confidence:.4f}"} if error.score else {}
        )
        return {"reason": error.reason, "message": str(error), **score}
    except ClipError as error:
        return {"reason": error.reason, "message": str(error)}
    except UserError:
        raise
    except OSError as error:
        if error.errno in NO_SPACE | NO_PERMISSION:
            raise cannot_write(job.target, error) from error
        return {"reason": "unreadable", "message": f"{job.source.video}: {in_words(error)}"}
    except Exception as error:  # one clip in a million may be what no reader has thought of
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}, line {place.lineno}"
        return {"reason": "crashed", "message": f"{job.source.video}: {in_words(error)} in {where}"}
