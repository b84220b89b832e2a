"""The shots of one person, which the last stage of chapter 6.1 is fine-tuned on."""

import tempfile
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.heads.drawn_files import write_drawn
from datamodules.clips.heads.drawn_heads import DrawnHead, drawn_head
from datamodules.clips.heads.head_data import HeadData
from datamodules.clips.heads.head_world import LARGEST_SIZE, LEAST_SIZE, HeadWorld, world_of
from datamodules.clips.heads.shots import Frames, HeadClip, Subjects, sample_of
from datamodules.clips.heads.source import shots_of
from datamodules.procedural.faces.heads import MOST
from networks.faces.finder import FaceFinder
from networks.faces.heads import DETECTOR
from networks.reenacted import shot_numbers
from visionscapes.checks import Bounds, NonNegativeInt, PositiveInt, Share, Workers, check_options
from visionscapes.errors import UserError
from visionscapes.options import group_of
from visionscapes.processes import is_first
from visionscapes.progress import say


class OnePerson(HeadClip):
    """Shots of one person, who has nothing else.

    Args:
        name: of the person.
        images: (K, 3, S, S) uint8 RGB.
        landmarks: (K, 68, 2) float32 xy pixels.
    """

    def __init__(self, name: str, images: Tensor, landmarks: NDArray[np.float32]):
        self.name, self.size = name, images.shape[-1]
        self.images, self.landmarks, self.found = images, landmarks, np.ones(len(images), bool)

    @override
    def pictures(self, frames: Frames) -> Tensor:
        return self.images[list(frames)]


class OwnTargets(Dataset):
    """All K shots of a person and one of them as the target; a sample is one of `FewShots`.

    Args:
        person: of the shots.
        rounds: how often an epoch goes over them.
    """

    def __init__(self, person: HeadClip, rounds: int = 1):
        self.person, self.rounds = person, rounds

    def __len__(self) -> int:
        return len(self.person) * self.rounds

    def __getitem__(self, index: int) -> dict[str, Any]:
        return sample_of(self.person, range(len(self.person)), index % len(self.person))


class HeadSubject(HeadData):
    """The K shots of one person to fine-tune on: pictures as a user has them, or somebody of the test of `HeadWorld`.

    Training batches are those of `HeadWorld` without "labels": {"task": "heads", "shots" and "shot_drawings"
    (B, K, 3, S, S), all of them, "image" and "drawing" (B, 3, S, S) float32 RGB in [0, 1], one of the shots again,
    "landmarks" (B, 68, 2) float32 in pixels, "name" list of B str}. So nothing but the shots is looked at, as in thesis
    6.1.1.5, where the authors' code takes every picture of the person. There is no validation: which shot is kept back
    is the method's business. A test, task "subject", is about frames of the drawn person that are no shots; its sources
    are the K shots.

    Args:
        subject: number of the drawn person, who is shown if ``source`` is None.
        shots: K. Of pictures at least as many have to show a face; all of them, ``most_shots`` at most, if None.
        image_size: S in pixels.
        sources: N, frames of the drawn person that the shots are spread over, as in the test of `HeadWorld`.
        targets: T, other frames, of the test.
        rounds: how often an epoch goes over the shots.
        most_turned: degrees of yaw, at most, as in `HeadWorld`.
        label_noise: strength of the face parser's errors in a test, as in `HeadWorld`.
        occluded: share of the shots with a hand in front of the face, as in `HeadWorld`.
        detected: whether landmarks are those that MediaPipe finds, as in anybody's pictures, and not the exact ones, of
            the drawn person, as in `HeadWorld`.
        batch_size: training samples a batch and process.
        num_workers: processes that load.
        seed: of the world, as in `HeadWorld`, and of the order of training.
        faces: which faces are found in pictures and videos, and how.
        source: pictures of the person, of which more than one may be named: a file, a folder, a pattern such as
            "me/*.jpg"; or a video.
        driving: to predict: who moves that person: a video, a folder, a pattern, or a file of landmarks (.npz).
        finetune: to predict: whether the network is trained on the pictures of the person first (thesis 6.1.1.5).
        landmarks: to predict: "absolute" are the driver's (thesis 6.1); "relative" keeps the shape of the source's face
            and moves it as the driver's moves.
        sound: to predict: whether the result gets the driver's.
        save_landmarks: to predict: file for the driver's landmarks, .npz, to be named as ``driving`` later.
        most_shots: pictures of the person that are used, at most.
        crop: side of the square around the middle of a face in multiples of that face; that of
            `datamodules.clips.prepare` if None, and for people of `HeadWorld` as in its frames.

    Raises:
        UserError: an option is out of its bounds, or more shots than sources; in ``setup``, no picture shows a face,
            fewer do than ``shots``, or there is nothing to test on.
        DatasetNotFoundError: in ``setup``, if there is no such file.
    """

    def __init__(
        self,
        subject: NonNegativeInt = 0,
        shots: PositiveInt | None = None,
        image_size: Annotated[int, Bounds(least=LEAST_SIZE, most=LARGEST_SIZE)] = 64,
        sources: PositiveInt = 32,
        targets: PositiveInt = 32,
        rounds: PositiveInt = 1,
        most_turned: Annotated[float, Bounds(least=0, most=MOST[0])] = MOST[0],
        label_noise: Share = 0.5,
        occluded: Share = 0.0,
        detected: bool = False,
        batch_size: PositiveInt = 1,
        num_workers: Workers = 0,
        seed: NonNegativeInt = 0,
        faces: FaceOptions = FaceOptions(),
        **kwargs: Any,
    ):
        check_options(HeadSubject, locals())
        super().__init__(batch_size=batch_size, num_workers=num_workers, seed=seed, **kwargs)
        if self.source is None and shots is not None and shots > sources:
            raise UserError(
                f"{type(self).__name__}.shots is {shots} and sources is {sources}: shots are frames of the sources, so"
                " lower shots or raise sources"
            )
        self.subject, self.asked, self.image_size, self.rounds = subject, shots, image_size, rounds
        self.sources, self.targets = sources, targets
        self.most_turned, self.label_noise, self.occluded = most_turned, label_noise, occluded
        self.detected = detected
        self.faces: FaceOptions = group_of(HeadSubject, "faces", faces)
        self.world = world_of(seed, "test")
        self._person: OnePerson | None = None
        self._drawn: DrawnHead | None = None
        self._temporary: tempfile.TemporaryDirectory[str] | None = None

    @property
    @override
    def framing(self) -> tuple[float, float]:
        drawn = self.source is None and self.crop is None
        return (HeadWorld.usual_crop, HeadWorld.usual_raised) if drawn else super().framing

    @property
    def shots(self) -> int:
        """K; pictures are looked at to know it.

        Raises:
            UserError: no picture shows a face, or fewer do than are asked for.
            DatasetNotFoundError: there is no such file.
        """
        return len(self.person)

    @property
    def person(self) -> OnePerson:
        """The person with its K shots; pictures are looked at once.

        Raises:
            UserError: no picture shows a face, or fewer do than are asked for.
            DatasetNotFoundError: there is no such file.
        """
        if self._person is None:
            self._person = self._drawn_person() if self.source is None else self._person_of(self.source)
        return self._person

    @override
    def trained(self) -> OwnTargets:
        return OwnTargets(self.person, self.rounds)

    @override
    def evaluated(self, part: str) -> Subjects:
        return self._tested() if part == "test" else Subjects([], [], [])

    @override
    def drawn(self) -> tuple[str, str]:
        """Return the shots of the drawn person as pictures, and a video of another one who talks."""
        self._temporary = tempfile.TemporaryDirectory(prefix="heads-")
        files = write_drawn(
            Path(self._temporary.name), self.world, self.subject, frames=self._numbers(), most_turned=self.most_turned
        )
        return str(files.source), str(files.driver)

    @override
    def teardown(self, stage: str) -> None:
        if self._temporary is not None:
            self._temporary.cleanup()
            self._temporary = None

    def _numbers(self) -> list[int]:
        """Return which frames of the drawn person are its shots."""
        count = min(self.sources, self.most_shots) if self.asked is None else self.asked
        return shot_numbers(self.sources, count)

    def _head(self) -> DrawnHead:
        if self._drawn is None:
            self._drawn = drawn_head(
                self.world,
                self.subject,
                frames=self.sources + self.targets,
                size=self.image_size,
                most_turned=self.most_turned,
                label_noise=self.label_noise,
                occluded=self.occluded,
                finder=FaceFinder(DETECTOR) if self.detected else None,
            )
        return self._drawn

    def _drawn_person(self) -> OnePerson:
        head, numbers = self._head(), self._numbers()
        return OnePerson(head.name, head.shots(numbers), head.landmarks[numbers])

    def _person_of(self, source: list[str] | str) -> OnePerson:
        margin, raised = self.framing
        most = self.most_shots if self.asked is None else max(self.asked, self.most_shots)
        found = shots_of(source, self.image_size, most=most, margin=margin, raised=raised, faces=self.faces)
        for line in (*found.notes, *found.warnings) if is_first() else ():
            say(line)
        if self.asked is not None and len(found) < self.asked:
            raise UserError(
                f"{type(self).__name__}.shots is {self.asked}, and {len(found)} pictures of {source} show a face: give"
                " more of them, or leave shots out to take as many as there are"
            )
        numbers = shot_numbers(len(found), self.asked or len(found))
        return OnePerson(found.name, found.images[numbers], found.landmarks[numbers])

    def _tested(self) -> Subjects:
        if self.source is not None:
            raise UserError(
                "A test needs pictures of the person that are no shots, with landmarks: leave --data.source out to test"
                " on a drawn person, give --test_after_fit=false to fit alone, or evaluate HeadClips with"
                " --model.evaluation.finetune=true"
            )
        return Subjects([self._head()], [self._numbers()], [range(self.sources, self.sources + self.targets)])
