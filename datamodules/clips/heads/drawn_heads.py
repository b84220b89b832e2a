"""People of the embedded world in many poses, with what a face parser and a user's photographs get wrong."""

from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from typing_extensions import override

from datamodules.clips.heads.drawing import draw_all
from datamodules.clips.heads.shots import Frames, HeadClip
from datamodules.procedural.faces.faces import face_identity
from datamodules.procedural.faces.heads import HeadFrames, render_head
from datamodules.procedural.faces.occluders import with_hand
from datamodules.procedural.faces.parsing_errors import misread
from networks.faces.finder import FaceFinder
from networks.faces.heads import landmarks_of_heads

LARGEST_REDUCED = 128  # pixels: larger heads are drawn as they are, for time
PARSER, OCCLUDER = 22, 23  # streams of random numbers, apart from those of the other worlds


@dataclass(eq=False)
class DrawnHead(HeadClip):
    """A person of the embedded world.

    Attributes:
        name: of the person.
        images: (F, S, S, 3) uint8 RGB.
        landmarks: (F, 68, 2) float32 xy pixels, exact or as a detector finds them.
        drawn: (F, 3, S, S) uint8, the landmarks, drawn.
        exact: (F, S, S) uint8, label maps.
        noisy: (F, S, S) uint8, those of a face parser that errs.
        hidden: (F, S, S) bool, where a hand is in front of the shots; None if there are no hands.
        covered: (F, S, S, 3) uint8 RGB, the frames with the hands.
    """

    video: ClassVar[bool] = False  # each frame has a pose of its own
    name: str
    images: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    drawn: NDArray[np.uint8]
    exact: NDArray[np.uint8]
    noisy: NDArray[np.uint8]
    hidden: NDArray[np.bool_] | None = None
    covered: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        self.size, self.found = self.images.shape[1], np.ones(len(self.images), bool)

    @override
    def pictures(self, frames: Frames) -> Tensor:
        return _channels_first(self.images[list(frames)])

    @override
    def shots(self, frames: Frames) -> Tensor:
        return _channels_first((self.images if self.covered is None else self.covered)[list(frames)])

    @override
    def drawings(self, frames: Frames) -> Tensor:
        return torch.from_numpy(self.drawn[list(frames)])

    @override
    def labels(self, frames: Frames) -> Tensor:
        return torch.from_numpy(self.noisy[list(frames)])

    @override
    def known(self, sources: Frames, targets: Frames) -> dict[str, Tensor]:
        """Return "true_labels" (T, S, S) uint8 and, with hands, "occluders" (N, S, S) bool, where they are."""
        exact = {"true_labels": torch.from_numpy(self.exact[list(targets)])}
        if self.hidden is None:
            return exact
        return exact | {"occluders": torch.from_numpy(self.hidden[list(sources)])}


def drawn_head(
    world: int,
    index: int,
    *,
    frames: int,
    size: int,
    most_turned: float = 25.0,
    label_noise: float = 0.0,
    occluded: float = 0.0,
    digits: int = 1,
    finder: FaceFinder | None = None,
) -> DrawnHead:
    """Render a person.

    Args:
        world: seed of the people.
        index: of the person.
        frames: F of them.
        size: S, their side in pixels.
        most_turned: degrees of yaw, at most, to either side.
        label_noise: strength of the face parser's errors, in [0, 1].
        occluded: share of the frames in which a hand is in front of the face, when they are shots; if it is not 0, the
            first frame is among them.
        digits: of the number in the name, with leading zeros, so that names sort as numbers do.
        finder: finds the landmarks, which are exact without one, and where it finds no face.
    """
    fine = render_head(world, index, range(frames), size * finer(size), most_turned)
    head = reduced(fine, size)
    landmarks = head.landmarks
    if finder is not None:
        seen, found = landmarks_of_heads(finder, _channels_first(fine.images))
        landmarks = np.where(found.numpy()[:, None, None], seen.numpy() / finer(size), landmarks)
    noisy = [
        misread(exact, pose, label_noise, np.random.default_rng([world, PARSER, index, frame]))
        for frame, (exact, pose) in enumerate(zip(head.labels, head.poses, strict=True))
    ]
    hidden, covered = None, None
    if occluded:
        hidden, covered = np.zeros(head.labels.shape, bool), head.images.copy()
        skin = face_identity(world, index).skin
        for frame in range(frames):
            rng = np.random.default_rng([world, OCCLUDER, index, frame])
            if rng.random() < occluded or frame == 0:
                covered[frame], hidden[frame] = with_hand(head.images[frame], head.landmarks[frame], skin, rng)
    return DrawnHead(
        f"person-{index:0{digits}d}",
        images=head.images,
        landmarks=landmarks,
        drawn=draw_all(landmarks, size).numpy(),
        exact=head.labels,
        noisy=np.stack(noisy),
        hidden=hidden,
        covered=covered,
    )


def finer(size: int) -> int:
    """Return how many times as large heads are drawn before they are reduced to ``size`` pixels."""
    return 2 if size <= LARGEST_REDUCED else 1


def reduced(head: HeadFrames, size: int) -> HeadFrames:
    """Return drawn frames at S = ``size`` pixels a side, as cameras see things and not as they are drawn.

    Colours are means over areas, so that strands of hair and the grain of the skin are no noise of single pixels, as in
    pictures of any size that ``predict`` reduces. A pixel's label is that of its middle.
    """
    factor = head.images.shape[1] // size
    if factor == 1:
        return head
    images = [cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA) for image in head.images]
    labels = np.ascontiguousarray(head.labels[:, factor // 2 :: factor, factor // 2 :: factor])
    landmarks = (head.landmarks / factor).astype(np.float32)
    return HeadFrames(np.stack(images).astype(np.uint8), landmarks, labels, poses=head.poses)


def _channels_first(images: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()
