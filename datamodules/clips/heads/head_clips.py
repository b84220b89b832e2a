"""Clips of heads: K shots and a target of real people to train on, people of other clips to evaluate."""

from collections import Counter
from collections.abc import Callable
from multiprocessing.pool import ThreadPool
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

import numpy as np
from typing_extensions import override

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.heads.head_data import HeadData
from datamodules.clips.heads.label_files import LabelFiles, labels_not_found
from datamodules.clips.heads.prepared_heads import HeadFiles, PreparedHead, halves, strided
from datamodules.clips.heads.shots import FewShots, Subjects, check_frames
from datamodules.clips.heads.subject_lists import listed_subjects
from datamodules.clips.prepared_clips import MOST_THREADS, ClipFolder
from datamodules.common.reports import report_left_out
from visionscapes.checks import (
    LARGEST_IMAGE,
    Bounds,
    NonNegativeInt,
    PositiveInt,
    ShareBelowOne,
    Workers,
    check_options,
)
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError
from visionscapes.options import group_of

Chosen = TypeVar("Chosen")
UNUSED = "they show no face, or their landmarks lie outside the picture"


class HeadClips(HeadData, ClipFolder):
    """Clips of heads: K shots and a target to train on, people with N shots and T targets to evaluate.

    Batches are those of `HeadWorld`, without what only a drawn world can tell. Training, task "heads", as in the
    authors' code: of a clip 10 frames at a constant stride, of which a random order's first K are the shots and the
    last is the target; "labels" only with a folder of label maps. Validation and test, task "subject", one clip a
    batch: sources of its earlier part and targets of its later part, or those of a list.

    Pictures of prepared clips are taken as a whole, with their landmarks. Frames without a face are not used and
    counted, where the authors' code takes another frame for them; so are frames whose landmarks lie outside the picture
    for the most part, and clips with too few frames. Targets of a list stay, and "found" says which have landmarks.

    Args:
        root: folder of prepared clips, in which train, val and test are folders or the shares below divide; to test
            also a video, a folder of videos or a pattern such as "videos/*.mp4".
        image_size: S in pixels.
        shots: K of a training sample, 4 in the authors' code.
        frames: of a clip to train on, 10 in the authors' code.
        sources: N, frames of a clip of validation and test that shots are taken from.
        targets: T, other frames of it, to be drawn.
        rounds: training samples of a clip in an epoch.
        labels: folder of label maps, see `LabelFiles`: <labels>/<clip>/<frame>.png, or masks of the parts,
            <frame>_<part>.png; below folders 256 and 512 those of two passes, which are merged. Training takes only
            frames that have one.
        label_order: of the classes in label maps: "celebamask-hq", "face-parsing" or a file, see `order_table`.
        test_list: file with the frames to test on, "<clip> <source|target> <frame>" a line, see `subject_lists`.
        val_share: of the people who train, if there is no folder val, are for validation; people are the folders below
            train, or below ``root``, and clips that lie in none are each of another.
        test_share: of the people, if none of these folders is there, are for the test; with 0 it is about all clips.
        batch_size: training samples a batch and process.
        num_workers: processes that load, and that prepare videos.
        seed: of order, shots, and who is for validation and test.
        faces: which faces are found in videos and pictures, and how; prepared clips have theirs.
        source: to predict: pictures of the person, of which more than one may be named: a file, a folder, a pattern
            such as "me/*.jpg"; or a video.
        driving: to predict: who moves that person: a video, a folder, a pattern, or a file of landmarks (.npz).
        finetune: to predict: whether the network is trained on the pictures of the person first (thesis 6.1.1.5).
        landmarks: to predict: "absolute" are the driver's (thesis 6.1); "relative" keeps the shape of the source's face
            and moves it as the driver's moves.
        sound: to predict: whether the result gets the driver's.
        save_landmarks: to predict: file for the driver's landmarks, .npz, to be named as ``driving`` later.
        most_shots: to predict: pictures of the person that are used.
        crop: to predict: side of the square around a head in multiples of its face; that of
            `datamodules.clips.prepare` if None.

    Attributes:
        drawn_faces: that there are none.

    Raises:
        UserError: an option is out of its bounds, or not more frames than shots; in ``setup``, no clip is left, or the
            list is none.
        DatasetNotFoundError: in ``setup``, if there is no clip, or no label map.
    """

    drawn_faces: ClassVar[bool] = False
    needs_sound: ClassVar[bool] = False

    def __init__(
        self,
        root: str,
        image_size: Annotated[int, Bounds(least=32, most=LARGEST_IMAGE)] = 224,
        shots: PositiveInt = 4,
        frames: PositiveInt = 10,
        sources: PositiveInt = 32,
        targets: PositiveInt = 32,
        rounds: PositiveInt = 1,
        labels: str | None = None,
        label_order: str = "celebamask-hq",
        test_list: str | None = None,
        val_share: ShareBelowOne = 0.05,
        test_share: ShareBelowOne = 0.0,
        batch_size: PositiveInt = 4,
        num_workers: Workers = 2,
        seed: NonNegativeInt = 0,
        faces: FaceOptions = FaceOptions(),
        **kwargs: Any,
    ):
        check_options(HeadClips, locals())
        super().__init__(
            root=root,
            val_share=val_share,
            test_share=test_share,
            faces=group_of(HeadClips, "faces", faces),
            batch_size=batch_size,
            num_workers=num_workers,
            seed=seed,
            **kwargs,
        )
        check_frames(type(self).__name__, frames, shots)
        self.image_size, self.shots, self.frames = image_size, shots, frames
        self.sources, self.targets, self.rounds = sources, targets, rounds
        self.test_list = None if test_list is None else Path(test_list).expanduser()
        self.labels, self.label_order = labels, label_order

    @override
    def trained(self) -> FewShots:
        heads, frames = self._chosen("train", self._to_train)
        return FewShots(heads, frames, shots=self.shots, rounds=self.rounds)

    @override
    def evaluated(self, part: str) -> Subjects:
        if part == "test" and self.test_list is not None:
            return self._listed(self.test_list)
        heads, frames = self._chosen(part, lambda head: halves(np.flatnonzero(head.found), self.sources, self.targets))
        return Subjects(heads, [sources for sources, _ in frames], [targets for _, targets in frames])

    def heads(self, part: str) -> HeadFiles:
        """Return the heads of a part, "train", "val", "test" or "all", those that cannot be used among them."""
        maps = None if self.labels is None else LabelFiles(self.labels, self.label_order)
        return HeadFiles(self.clips(part), self.image_size, maps)

    def _to_train(self, head: PreparedHead) -> list[int]:
        frames = strided(np.flatnonzero(head.found), self.frames)
        if head.maps is None:
            return frames
        mapped = [frame for frame in frames if frame in head.maps.frames(head.name)]
        if len(mapped) <= self.shots:
            raise ClipError(
                f"{len(mapped)} of its {len(frames)} frames to train on have a label map, {self.shots + 1} are needed",
                "too few label maps" if mapped else "no label maps",
            )
        return mapped

    def _chosen(self, part: str, choose: Callable[[PreparedHead], Chosen]) -> tuple[HeadFiles, list[Chosen]]:
        """Return the heads of a part that can be used, and what is chosen of the frames of each; others are counted."""
        heads = self.heads(part)
        if not len(heads):
            return heads, []
        chosen: dict[int, Chosen] = {}
        wrong: dict[int, ClipError] = {}
        unused, there = 0, 0

        def looked_at(position: int) -> tuple[int, int, Chosen | ClipError]:
            try:
                head = heads[position]
                return int((~head.found).sum()), len(head), choose(head)
            except ClipError as error:
                return 0, 0, error

        with ThreadPool(MOST_THREADS) as threads:
            for position, (without, frames, what) in enumerate(
                threads.imap(looked_at, range(len(heads)), chunksize=16)
            ):
                unused, there = unused + without, there + frames
                if isinstance(what, ClipError):
                    wrong[position] = what
                else:
                    chosen[position] = what
        told = {reason: self._first(heads, wrong, reason) for reason in Counter(each.reason for each in wrong.values())}
        if not chosen:
            if set(told) == {"no label maps"}:
                raise labels_not_found(Path(str(self.labels)), f"a map of any of {len(heads)} clips")
            raise UserError(
                f"No clip of the {part} part of {self.root} can be used ({len(heads)} looked at). The first:"
                f" {next(iter(told.values()))}. Use longer clips, or fewer frames, shots, sources and targets"
            )
        report_left_out(str(self.root), unused, "frames", there, UNUSED)
        for reason, first in told.items():
            count = sum(each.reason == reason for each in wrong.values())
            report_left_out(str(self.root), count, "clips", len(heads), f"{reason}, the first: {first}")
        return heads.chosen(list(chosen)), list(chosen.values())

    @staticmethod
    def _first(heads: HeadFiles, wrong: dict[int, ClipError], reason: str) -> str:
        position, error = next((place, each) for place, each in wrong.items() if each.reason == reason)
        name = heads.clips.names[position]
        return str(error) if str(error).startswith(name) else f"{name}: {error}"

    def _listed(self, path: Path) -> Subjects:
        """Return the subjects of the list; sources without a face are left out."""
        heads = self.heads("all")
        positions, sources, targets = [], [], []
        without, there = 0, 0
        for position, subject in listed_subjects(path, heads.clips.names):
            head = heads[position]
            last = max(*subject.sources, *subject.targets)
            if last >= len(head):
                raise UserError(
                    f"{path} names frame {last} of {subject.clip}, which has {len(head)}, from 0 to {len(head) - 1}:"
                    " frames are counted at 25 a second, from the first of the prepared clip"
                )
            usable = [frame for frame in subject.sources if head.found[frame]]
            if not usable:
                raise UserError(
                    f"None of the {len(subject.sources)} sources that {path} names of {subject.clip} shows a face: name"
                    " others"
                )
            without, there = without + len(subject.sources) - len(usable), there + len(subject.sources)
            positions.append(position)
            sources.append(usable)
            targets.append(subject.targets)
        report_left_out(str(path), without, "sources", there, UNUSED)
        return Subjects(heads.chosen(positions), sources, targets)
