"""The embedded world of chapter 6: drawn people who talk, with sound that decides what their mouths do."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.clips.given import GivenClips
from datamodules.clips.rendering import render
from datamodules.clips.talking_clips import TalkingClip, talking_clip
from datamodules.clips.windows import SyncWindows, WholeClips
from datamodules.common.loading import check_global_batch
from datamodules.common.parts import DataInParts
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from datamodules.procedural.speech.espeak import check_installed
from datamodules.procedural.speech.speech import PAUSES, Speech, speak
from datamodules.procedural.speech.words import speak_words
from networks.audio import FRAME_RATE, WINDOW_FRAMES
from visionscapes.checks import (
    Bounds,
    NonNegativeInt,
    PositiveInt,
    ShareBelowOne,
    Workers,
    check_options,
)
from visionscapes.errors import UserError

LEAST_SIZE, LARGEST_SIZE = 16, 512  # of faces, pixels: below, a mouth has no pixels
SpeechName = Literal["formants", "espeak"]
SPEAKERS: dict[SpeechName, Callable[..., Speech]] = {"formants": speak, "espeak": speak_words}
PARTS = {"train": 0, "test": 1, "val": 2}  # each is a world of its own


class TalkingWorld(DataInParts):
    """Drawn people who talk: training windows of five frames with their sound, whole clips to evaluate.

    Training batches: {"task": "sync", "faces" (B, W, 5, 3, S, S) float32 RGB in [0, 1], "mel" (B, W, 80, 16) float32 in
    [-4, 4], "frame" (B, W) int64, at which windows start, "name" list of B str}, W windows of one clip a sample; see
    `SyncWindows`. Validation and test, one clip a batch: {"task": "clip", "faces" (1, T, 3, S, S) uint8 RGB, "mel"
    (1, 80, M), "landmarks" (1, T, 68, 2) and "boxes" (1, T, 4) float32 in pixels of the faces, "found" (1, T) bool,
    "audio" (1, N) float32, "opening" (1, T) in [0, 1] and "width" (1, T) in [-1, 1] of the mouth, the truth, "name"
    [str]}; ``predict`` gives the test clips as task "predict".

    Every clip is of another person with another voice, and those of validation and test are of other worlds. What is
    heard and how it shapes the mouth is said in ``datamodules.procedural.speech``, what is drawn in
    ``datamodules.procedural.faces``. Everything is a function of ``seed``. Clips are rendered when they are first
    needed, on all cores, and stay in memory, a byte a colour: a clip of 2.4 s and 64 pixels takes 0.3 s of one core
    (AMD EPYC, busy with other work, 2026-11-30) and 0.74 MB.

    Args:
        clips: to train on, each of another person.
        test_clips: of the test.
        val_clips: of the validation during training; 0 leaves it out.
        seconds: of a clip.
        face_size: S, side of the faces in pixels; they are cut from forehead to chin and made square.
        windows: W of a training sample, all of one clip.
        apart: frames between the starts of a sample's windows, at least; sounds that fit nearly as well are near.
        rounds: training samples of a clip in an epoch.
        pauses: share of the time in which nobody speaks.
        speech: "formants" of syllables without meaning, or real words by "espeak", which is the extra ``speech``.
        batch_size: training samples a batch and process.
        num_workers: processes that load.
        seed: of the worlds and of the order of training.

    Raises:
        UserError: an option out of its range, or clips that are too short for their windows; in ``setup``, espeak-ng is
            asked for and not installed.
    """

    train_task, eval_task, one_by_one = "sync", "clip", True
    train_windows: ClassVar[type[SyncWindows]] = SyncWindows
    least_frames: ClassVar[int] = WINDOW_FRAMES  # of a clip with one window

    def __init__(
        self,
        clips: PositiveInt = 96,
        test_clips: PositiveInt = 24,
        val_clips: NonNegativeInt = 12,
        seconds: Annotated[float, Bounds(least=0.2, most=600)] = 2.4,
        face_size: Annotated[int, Bounds(least=LEAST_SIZE, most=LARGEST_SIZE)] = 64,
        windows: Annotated[int, Bounds(least=2)] = 2,
        apart: PositiveInt = 1,
        rounds: PositiveInt = 1,
        pauses: ShareBelowOne = PAUSES,
        speech: SpeechName = "formants",
        batch_size: PositiveInt = 16,
        num_workers: Workers = 0,
        seed: NonNegativeInt = 0,
    ):
        check_options(TalkingWorld, locals())
        super().__init__(batch_size, num_workers, seed)
        self.counts = {"train": clips, "test": test_clips, "val": val_clips}
        self.seconds, self.face_size, self.windows, self.apart = seconds, face_size, windows, apart
        self.rounds, self.pauses, self.speech = rounds, pauses, speech
        self.rendered: dict[str, list[TalkingClip]] = {}
        least = self.least_frames + (windows - 1) * apart
        if round(seconds * FRAME_RATE) < least:
            raise UserError(
                f"{type(self).__name__}.seconds is {seconds}; {windows} windows whose starts are {apart} frame(s) apart"
                f" take at least {least / FRAME_RATE}"
            )

    @property
    def inputs(self) -> Any:
        """How videos are prepared that a user gives in Python: as those of `Clips`."""
        return GivenClips(self.face_size)

    def clips(self, part: str) -> list[TalkingClip]:
        """Return the clips of a part, "train", "val" or "test"; they are rendered once."""
        if part not in self.rendered:
            count = self.counts[part]
            if self.speech == "espeak":
                check_installed()
            digits = len(str(max(count - 1, 0)))
            make = partial(world_clip, self.world(part), speak=self.speaker(part), size=self.face_size, digits=digits)
            self.rendered[part] = render(make, count, frames=round(count * self.seconds * FRAME_RATE))
        return self.rendered[part]

    def world(self, part: str) -> int:
        """Return the seed of the people of a part."""
        return self.seed + PARTS[part] * HELD_OUT_WORLD

    def speaker(self, part: str) -> Callable[[int], Speech]:
        """Return what gives the speech of the clip of an index; it can be pickled."""
        return partial(SPEAKERS[self.speech], self.world(part), seconds=self.seconds, pauses=self.pauses)

    @override
    def setup(self, stage: str) -> None:
        if stage == "fit":
            check_global_batch(self.counts["train"] * self.rounds, self.batch_size)
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
        return WholeClips(self.clips(part), size=self.face_size, also=("opening", "width"))

    def predicted(self) -> Dataset:
        """Return what there is to predict."""
        return self.evaluated("test")


def world_clip(world: int, index: int, *, speak: Callable[[int], Speech], size: int, digits: int = 1) -> TalkingClip:
    """Render clip ``index`` of a world.

    Args:
        world: seed of its people.
        index: of the clip.
        speak: gives what is said in the clip of an index.
        size: S, side of the faces in pixels.
        digits: of the number in its name, with leading zeros, so that names sort as numbers do.
    """
    return talking_clip(f"clip-{index:0{digits}d}", speak(index), world=world, index=index, size=size)
