"""Clips of talking heads as a data set: prepared ones to train on, any videos to evaluate and to predict."""

import os
import tempfile
from collections import Counter
from importlib import import_module
from itertools import chain
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Annotated, Any, ClassVar

from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.clips.clip_files import ClipFiles
from datamodules.clips.clip_format import SUFFIX
from datamodules.clips.contents import clip_contents
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.parts import divided
from datamodules.clips.prepare.prepared_set import PreparedSet, target_of
from datamodules.clips.prepare.preparing import PrepareOptions
from datamodules.clips.prepare.trees import compare_with_published, find_clips, layout_of_names, with_names_of_their_own
from datamodules.clips.windows import SyncWindows, WholeClips
from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import find_images
from datamodules.common.inspection.contents import PartContents
from datamodules.common.parts import DataInParts
from datamodules.common.reports import report_left_out
from networks.audio import whole_windows
from visionscapes.checks import Bounds, NonNegativeInt, PositiveInt, ShareBelowOne, Workers, check_options
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError
from visionscapes.options import group_of
from visionscapes.processes import gather_objects, is_first, rank_and_world_size

MOST_THREADS = 32  # that wait for a disk
EXPECTED = """\
<root>/train/<person>/<clip>.safetensors ...     (written by python -m datamodules.clips.prepare)
<root>/val/<person>/<clip>.safetensors ...
<root>/test/<person>/<clip>.safetensors ...
or <root>/<person>/<clip>.safetensors ...        (divided by val_share and test_share)
or videos, to test and to predict"""
PREPARE = "Prepare your videos: python -m datamodules.clips.prepare <folder of the videos> --out <root>"


class ClipFolder(DataInParts):
    """Base of data modules of prepared clips in a folder, or of videos that are prepared for a test.

    Videos are prepared in a temporary folder first, by every process for itself, so that many of them are better
    prepared once by the command. Clips that cannot be read, or have no window with sound where it is needed, are left
    out and counted.

    Args:
        root: folder of prepared clips, in which train, val and test are folders or the shares below divide; or a video,
            a folder of videos or a pattern such as "videos/*.mp4".
        val_share: of the people who train, if there is no folder val, are for validation; people are the folders below
            train, or below ``root``, and clips that lie in none are each of another.
        test_share: of the people, if none of these folders is there, are for the test; with 0 it is about all clips.
        faces: which faces are found in videos, and how; prepared clips have theirs.
        batch_size: training samples a batch and process.
        num_workers: processes that load, and that prepare videos.
        seed: of order, and who is for validation and test.

    Attributes:
        needs_sound: whether clips without are left out.

    Raises:
        UserError: an option is out of its bounds.
    """

    needs_sound: ClassVar[bool] = True

    def __init__(
        self,
        root: str,
        val_share: ShareBelowOne,
        test_share: ShareBelowOne,
        faces: FaceOptions,
        batch_size: PositiveInt,
        num_workers: Workers,
        seed: NonNegativeInt,
    ):
        check_options(ClipFolder, locals())
        super().__init__(batch_size, num_workers, seed)
        self.root = Path(root).expanduser()
        self.val_share, self.test_share = val_share, test_share
        self.faces = faces
        self._files: ClipFiles | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @override
    def teardown(self, stage: str) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = self._files = None

    def clips(self, part: str) -> ClipFiles:
        """Return the clips of a part, "train", "val", "test" or "all", sorted by name. Collective the first time.

        Raises:
            DatasetNotFoundError: there is no clip.
            UserError: none is left, or there are videos to train on, which have to be prepared first.
        """
        if self._files is None:
            prepared = self.root.suffix == SUFFIX if not self.root.is_dir() else holds_clips(self.root)
            self._files = self._prepared() if prepared else self._tracked(part)
        if part == "all" or self._temporary is not None:
            return self._files
        shares = {"val": self.val_share, "test": self.test_share}
        chosen = divided(self._files.names, shares, self.seed)[part]
        if not chosen and part != "val":
            raise DatasetNotFoundError(
                name=f"The {part} part of the clips",
                looked_in=self.root,
                expected=EXPECTED,
                remedies=[PREPARE, "Use other shares, --data.init_args.val_share and --data.init_args.test_share"],
                missing=f"a clip for it among {len(self._files)}",
            )
        return self._files.chosen(chosen)

    def contents(self) -> dict[str, PartContents]:
        """Return the clips of training and validation, as `datamodules.common.inspection` asks for them."""
        parts = {name: self.clips(name) for name in ("train", "val")}
        return {name: clip_contents(clips) for name, clips in parts.items() if len(clips)}

    def _prepared(self) -> ClipFiles:
        """Return the prepared clips that can be read and have a window with sound, if it is needed."""
        if self.root.is_file():
            paths, names = [self.root], [self.root.stem]
        else:
            paths = find_images(self.root, (SUFFIX,), name="A prepared clip", expected=EXPECTED, remedies=[PREPARE])
            names = [path.relative_to(self.root).as_posix().removesuffix(SUFFIX) for path in paths]
        layout, first_utterance = layout_of_names(names)
        compare_with_published(layout, names, first_utterance)
        files = ClipFiles(paths, names)
        wrong = unusable(files, with_sound=self.needs_sound)
        kept = [position for position in range(len(files)) if position not in wrong]
        if not kept:
            raise UserError(
                f"No clip of {self.root} can be used ({len(files)} looked at). The first: {next(iter(wrong.values()))}"
            )
        for reason, count in Counter(error.reason for error in wrong.values()).items():
            first = next(error for error in wrong.values() if error.reason == reason)
            report_left_out(str(self.root), count, "clips", len(files), f"{reason}, the first: {first}")
        return files.chosen(kept)

    def _tracked(self, part: str) -> ClipFiles:
        """Prepare videos in a temporary folder, and return their clips."""
        _, sources = find_clips(self.root)
        if part in ("train", "val"):
            raise UserError(
                f"{self.root} holds videos ({len(sources)}), which have to be prepared before a training: run"
                f" `python -m datamodules.clips.prepare {self.root} --out <folder>`, and give this folder as"
                " --data.init_args.root"
            )
        clips, clashing = with_names_of_their_own(sources)
        self._temporary = tempfile.TemporaryDirectory(prefix="clips-")
        options = PrepareOptions(sound="require" if self.needs_sound else "if-there", faces=self.faces)
        made = PreparedSet(Path(self._temporary.name), options)
        for source, error in clashing:
            made.leave_out(source, {"reason": error.reason, "message": str(error)})
        jobs = made.waiting(clips, retry=False, shown=False)
        made.run(jobs, max(1, self.num_workers), shown=is_first())
        messages = [row["message"] for row in made.left_out.values()]
        if not made.rows:
            raise UserError(f"No video of {self.root} can be used ({len(sources)} looked at). The first: {messages[0]}")
        for reason, count in made.reasons().items():
            first = next(row["message"] for row in made.left_out.values() if row["reason"] == reason)
            report_left_out(str(self.root), count, "videos", len(sources), f"{reason}, the first: {first}")
        names = sorted(made.rows)
        return ClipFiles([target_of(made.folder, name) for name in names], names)


class Clips(ClipFolder):
    """Clips of talking heads: training windows of five frames with their sound, whole clips to evaluate and to predict.

    Batches are those of `TalkingWorld`. Training, W windows of one clip a sample: {"task": "sync", "faces"
    (B, W, 5, 3, S, S) float32 RGB in [0, 1], "mel" (B, W, 80, 16) float32 in [-4, 4], "frame" (B, W) int64, at which
    windows start, "name" list of B str}. Validation and test, one clip a batch: {"task": "clip", "faces"
    (1, T, 3, S, S) uint8 RGB, "mel" (1, 80, M), "landmarks" (1, T, 68, 2) and "boxes" (1, T, 4) float32 in pixels of
    the prepared pictures, "found" (1, T) bool, where there is a face, "audio" (1, N) float32 at 16 kHz, "name" [str]};
    ``predict`` gives task "predict".

    Videos as they are can be tested and predicted: they are prepared in a temporary folder first, by every process for
    itself, so that many of them are better prepared once by the command. Clips that cannot be read or have no window
    with sound are left out and counted.

    Args:
        root: folder of prepared clips, in which train, val and test are folders or the shares below divide; or a video,
            a folder of videos or a pattern such as "videos/*.mp4".
        face_size: S in pixels; the box of the face, from forehead to chin, is stretched to a square.
        windows: W of a training sample.
        apart: frames between the starts of a sample's windows, at least.
        rounds: training samples of a clip in an epoch.
        val_share: of the people who train, if there is no folder val, are for validation; people are the folders below
            train, or below ``root``, and clips that lie in none are each of another.
        test_share: of the people, if none of these folders is there, are for the test; with 0 it is about all clips.
        faces: which faces are found in videos, and how; prepared clips have theirs.
        batch_size: training samples a batch and process.
        num_workers: processes that load, and that prepare videos.
        seed: of order, windows, and who is for validation and test.

    Raises:
        UserError: an option is out of its bounds; in ``setup``, no clip is left.
        DatasetNotFoundError: in ``setup``, if there is no clip.
    """

    train_task, eval_task, one_by_one = "sync", "clip", True
    train_windows: ClassVar[type[SyncWindows]] = SyncWindows

    def __init__(
        self,
        root: str,
        face_size: Annotated[int, Bounds(least=16, most=1024)] = 96,
        windows: Annotated[int, Bounds(least=2)] = 2,
        apart: PositiveInt = 1,
        rounds: PositiveInt = 1,
        val_share: ShareBelowOne = 0.05,
        test_share: ShareBelowOne = 0.0,
        faces: FaceOptions = FaceOptions(),
        batch_size: PositiveInt = 16,
        num_workers: Workers = 2,
        seed: NonNegativeInt = 0,
    ):
        check_options(Clips, locals())
        super().__init__(
            root,
            val_share=val_share,
            test_share=test_share,
            faces=group_of(Clips, "faces", faces),
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
        )
        self.face_size, self.windows, self.apart, self.rounds = face_size, windows, apart, rounds

    @property
    def inputs(self) -> Any:
        """How videos are prepared that a user gives in Python, as `predict` does it; by this very class."""
        return import_module("datamodules.clips.given").GivenClips(self.face_size, self.faces)

    @override
    def setup(self, stage: str) -> None:
        if stage == "fit":
            self.train_set = self.train_windows(
                self.clips("train"), size=self.face_size, windows=self.windows, apart=self.apart, rounds=self.rounds
            )
        if stage in ("fit", "validate"):
            self.val_set = self.evaluated("val")
        if stage == "test":
            self.test_set = self.evaluated("test")
        if stage == "predict":
            self.predict_set = self.predicted()

    def evaluated(self, part: str) -> Dataset:
        """Return what there is to evaluate of a part, "val" or "test"."""
        return WholeClips(self.clips(part), size=self.face_size)

    def predicted(self) -> Dataset:
        """Return what there is to predict."""
        return WholeClips(self.clips("all"), size=self.face_size)


def holds_clips(root: Path) -> bool:
    """Return whether there is a prepared clip in a folder or below it."""
    files = (name for _, _, names in os.walk(root, followlinks=True) for name in names)
    return any(name.endswith(SUFFIX) and not name.startswith(".") for name in files)


def unusable(clips: ClipFiles, with_sound: bool = True) -> dict[int, ClipError]:
    """Return position -> error of the clips that cannot be read, or have no window with sound if they need one.

    Each header is read once, in threads, and under DDP every process takes its share and learns of the others'
    findings, so that all of them leave out the same clips. Collective.
    """
    rank, world_size = rank_and_world_size()

    def error_of(position: int) -> ClipError | None:
        try:
            clip = clips[position]
        except ClipError as error:
            return error
        if with_sound and not whole_windows(len(clip), clip.mel_steps):
            return ClipError(f"{clips.paths[position]} has no window with sound", "no sound")
        return None

    mine = range(rank, len(clips), world_size)
    with ThreadPool(min(MOST_THREADS, os.cpu_count() or 1)) as threads:
        errors = list(zip(mine, threads.imap(error_of, mine, chunksize=16), strict=True))
    found = [(position, error) for position, error in errors if error is not None]
    return dict(sorted(chain.from_iterable(gather_objects(found)), key=lambda each: each[0]))
