"""The embedded world of chapter 6.1: drawn people in many poses, known from a few shots."""

import tempfile
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

from typing_extensions import override

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.heads.drawn_files import write_drawn
from datamodules.clips.heads.drawn_heads import DrawnHead, drawn_head
from datamodules.clips.heads.head_data import HeadData
from datamodules.clips.heads.shots import FewShots, Subjects, check_frames
from datamodules.clips.rendering import render
from datamodules.clips.talking_world import PARTS
from datamodules.common.loading import check_global_batch
from datamodules.procedural.faces.heads import MOST
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from networks.faces.finder import FaceFinder
from networks.faces.heads import DETECTOR
from visionscapes.checks import Bounds, NonNegativeInt, PositiveInt, Share, Workers, check_options
from visionscapes.options import group_of

LEAST_SIZE, LARGEST_SIZE = 32, 512  # pixels: below, eyes and lips have none
# Where the detector finds the faces of 1000 frames: the mean side of a frame in multiples of its face, 1.63 to 1.95 for
# nine in ten, and how far its middle lies above that of the face. So are those cropped that are to look like them.
WORLD_CROP, WORLD_RAISED = 1.79, 0.06
SHOWN = 4  # pictures of who is reenacted if nobody is named


class HeadWorld(HeadData):
    """Drawn people in many poses: K shots and a target to train on, people with N shots and T targets to evaluate.

    Training batches: {"task": "heads", "shots" and "shot_drawings" (B, K, 3, S, S), "image" and "drawing" (B, 3, S, S)
    float32 RGB in [0, 1], "landmarks" (B, 68, 2) float32 in pixels, "labels" (B, S, S) uint8, the 19 labels of
    CelebAMask-HQ as a face parser that errs gives them for the target, "name" list of B str}. A person has 10 frames,
    of which a random order's first K are the shots and the last is the target, as in the authors' code. Validation and
    test, one person a batch: {"task": "subject", "name" [str], "shots" and "shot_drawings" (1, N, 3, S, S) uint8,
    "shot_landmarks" (1, N, 68, 2) float32, "image" and "drawing" (1, T, 3, S, S) uint8, "landmarks" (1, T, 68, 2),
    "found" (1, T) bool, all true, "labels" (1, T, S, S) uint8, "true_labels" (1, T, S, S) uint8, which are exact, and
    with ``occluded`` "occluders" (1, N, S, S) bool, where hands are}. ``predict`` gives chunks of the frames of
    a driver for pictures of anybody, see `PredictsHeads`.

    People of validation and test are of other worlds. What is drawn is said in ``datamodules.procedural.faces.heads``,
    what a parser gets wrong in ``datamodules.procedural.faces.parsing_errors``. Everything is a function of ``seed``.
    Frames are rendered when they are first needed, on all cores, and stay in memory with their drawings, a byte a
    colour: a frame of 64 pixels, which is drawn twice as large, takes 9 ms of one core (Intel Xeon, 2026-11-30) and
    33 kB.

    Args:
        people: to train on.
        test_people: of the test.
        val_people: of the validation during training; 0 leaves it out.
        frames: of each to train on, 10 in the authors' code.
        image_size: S in pixels.
        shots: K of a training sample, 4 in the authors' code.
        sources: N, frames of a person of validation and test that shots are taken from.
        targets: T, other frames of the person, to be drawn.
        rounds: training samples of a person in an epoch.
        most_turned: degrees of yaw, at most, to either side; pitch and roll are at most 0.6 as large.
        label_noise: strength of the face parser's errors; of 64 pixels a side it labels 98 % right with 0.25,
            93 % with 0.5 and 86 % with 1, fewer on turned heads.
        occluded: share of the shots in which a hand is in front of the face; if it is not 0, the first of a person's
            frames is among them. Targets have none.
        detected: whether landmarks are those that MediaPipe finds, as in anybody's pictures, and not the exact ones; a
            network that is trained with the ones is not used to the others.
        batch_size: training samples a batch and process.
        num_workers: processes that load.
        seed: of the worlds and of the order of training.
        faces: to predict: which faces are found in pictures and videos, and how.
        source: to predict: pictures of the person, of which more than one may be named: a file, a folder, a pattern
            such as "me/*.jpg"; or a video. None, with no ``driving`` either, draws somebody of the test, and another
            one who talks.
        driving: to predict: who moves that person: a video, a folder, a pattern, or a file of landmarks (.npz).
        finetune: to predict: whether the network is trained on the pictures of the person first (thesis 6.1.1.5).
        landmarks: to predict: "absolute" are the driver's (thesis 6.1); "relative" keeps the shape of the source's face
            and moves it as the driver's moves.
        sound: to predict: whether the result gets the driver's.
        save_landmarks: to predict: file for the driver's landmarks, .npz, to be named as ``driving`` later.
        most_shots: to predict: pictures of the person that are used.
        crop: to predict: side of the square around the middle of a face in multiples of that face; if None, faces lie
            in it as they do in the frames of this world.

    Attributes:
        drawn_faces: that there are no real ones.

    Raises:
        UserError: an option out of its range, or not more frames than shots.
    """

    drawn_faces: ClassVar[bool] = True
    usual_crop: ClassVar[float] = WORLD_CROP
    usual_raised: ClassVar[float] = WORLD_RAISED

    def __init__(
        self,
        people: PositiveInt = 200,
        test_people: PositiveInt = 20,
        val_people: NonNegativeInt = 8,
        frames: PositiveInt = 10,
        image_size: Annotated[int, Bounds(least=LEAST_SIZE, most=LARGEST_SIZE)] = 64,
        shots: PositiveInt = 4,
        sources: PositiveInt = 32,
        targets: PositiveInt = 32,
        rounds: PositiveInt = 1,
        most_turned: Annotated[float, Bounds(least=0, most=MOST[0])] = MOST[0],
        label_noise: Share = 0.5,
        occluded: Share = 0.0,
        detected: bool = False,
        batch_size: PositiveInt = 8,
        num_workers: Workers = 0,
        seed: NonNegativeInt = 0,
        faces: FaceOptions = FaceOptions(),
        **kwargs: Any,
    ):
        check_options(HeadWorld, locals())
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed, **kwargs)
        self.faces: FaceOptions = group_of(HeadWorld, "faces", faces)
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        check_frames(type(self).__name__, frames, shots)
        self.counts = {"train": people, "test": test_people, "val": val_people}
        self.frames, self.image_size, self.shots = frames, image_size, shots
        self.sources, self.targets, self.rounds = sources, targets, rounds
        self.most_turned, self.label_noise, self.occluded = most_turned, label_noise, occluded
        self.detected = detected
        self.rendered: dict[str, list[DrawnHead]] = {}

    def heads(self, part: str) -> list[DrawnHead]:
        """Return the people of a part, "train", "val" or "test"; they are rendered once."""
        if part not in self.rendered:
            count = self.counts[part]
            frames = self.frames if part == "train" else self.sources + self.targets
            make = partial(
                drawn_head,
                self.world(part),
                frames=frames,
                size=self.image_size,
                most_turned=self.most_turned,
                label_noise=self.label_noise,
                occluded=self.occluded,
                finder=FaceFinder(DETECTOR) if self.detected else None,
                digits=len(str(max(count - 1, 0))),
            )
            self.rendered[part] = render(make, count, frames=count * frames, what="heads")
        return self.rendered[part]

    def world(self, part: str) -> int:
        """Return the seed of the people of a part."""
        return world_of(self.seed, part)

    @override
    def trained(self) -> FewShots:
        check_global_batch(self.counts["train"] * self.rounds, self.batch_size)
        heads = self.heads("train")
        return FewShots(heads, [range(self.frames)] * len(heads), shots=self.shots, rounds=self.rounds)

    @override
    def evaluated(self, part: str) -> Subjects:
        heads, last = self.heads(part), self.sources + self.targets
        return Subjects(heads, [range(self.sources)] * len(heads), [range(self.sources, last)] * len(heads))

    @override
    def drawn(self) -> tuple[str, str]:
        """Return pictures of somebody of the test, and a video of another one who talks."""
        self._temporary = tempfile.TemporaryDirectory(prefix="heads-")
        folder = Path(self._temporary.name)
        files = write_drawn(folder, self.world("test"), 0, frames=range(SHOWN), most_turned=self.most_turned)
        return str(files.source), str(files.driver)

    @override
    def teardown(self, stage: str) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None


def world_of(seed: int, part: str) -> int:
    """Return the seed of the people of a part, "train", "val" or "test", of the world of a seed."""
    return seed + PARTS[part] * HELD_OUT_WORLD
