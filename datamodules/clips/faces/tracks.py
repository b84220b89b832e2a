"""One face through a video: found, followed, and smoothed over time."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from datamodules.clips.faces.cuts import shots_of_face
from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.faces.following import Follower
from datamodules.clips.faces.smoothing import smoothed_boxes, smoothed_landmarks
from networks.faces.landmarks import face_box
from visionscapes.media.errors import ClipError

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class FaceTrack:
    """Where a face is in T frames.

    Attributes:
        boxes: (T, 4) float32 xyxy in pixels, from forehead to chin and from ear to ear; 0 where there is no face.
        landmarks: (T, 68, 2) float32 xy in pixels in the order of iBUG 300-W; 0 where there is no face.
        found: (T,) bool, where the face was seen, or bridged between two frames in which it was.
        seen: (T,) bool, where it was seen.
        shots: (T,) int64, number of the shot that a frame belongs to; that of an earlier one where its picture is back.
        most_faces: that were seen in one frame.
    """

    boxes: Float
    landmarks: Float
    found: Bool
    seen: Bool
    shots: NDArray[np.int64]
    most_faces: int = 1

    def __len__(self) -> int:
        return len(self.found)

    def __str__(self) -> str:
        words = [f"a face in {int(self.seen.sum())} of {len(self)} frames"]
        bridged, cuts = int((self.found & ~self.seen).sum()), len(np.unique(self.shots)) - 1 if len(self) else 0
        words += [f"{bridged} more interpolated"] if bridged else []
        words += [f"{cuts} {'cut' if cuts == 1 else 'cuts'}"] if cuts else []
        words += [f"up to {self.most_faces} faces at once"] if self.most_faces > 1 else []
        return ", ".join(words)


def track_faces(
    frames: Iterable[NDArray[np.uint8]], rate: float, options: FaceOptions, name: str = "the video"
) -> FaceTrack:
    """Find one face through a video.

    Frames pass by one after the other; of each are kept its landmarks, some 2.5 kB in all.

    Args:
        frames: each (H, W, 3) uint8 RGB.
        rate: frames a second.
        options: which face, and how it is found.
        name: of the video, for the messages.

    Raises:
        ClipError: no frame, or none with a face.
        UserError: a frame is no picture, or the networks are missing.
    """
    follower = Follower(options, rate)
    landmarks, seen, shots = [], [], []
    for frame in frames:
        face = follower.next(frame)
        seen.append(face is not None)
        landmarks.append(np.zeros((68, 2), np.float32) if face is None else face.landmarks)
        shots.append(follower.shot)
    if not seen:
        raise ClipError(f"{name} has no frames: leave it out", "no frames")
    if not any(seen):
        asked = "" if options.number is None else f" of the number {options.number} from the left"
        asked += "" if options.least_score <= 0.5 else f" that has a score of {options.least_score:g}"
        raise ClipError(
            f"{name} shows no face{asked} in any of its {len(seen)} frames: leave it out, or give the landmarks of "
            "another detector",
            "no face",
        )
    raw, was_seen = np.stack(landmarks), np.array(seen)
    shot = shots_of_face(raw, was_seen, np.array(shots, np.int64))
    points, found = bridged(raw, was_seen, shot, round(options.longest_gap * rate))
    shot = shots_of_gaps(shot, was_seen, found)
    window = round(options.smoothing * rate)
    points = smoothed_landmarks(points, found, shot, window)
    boxes = smoothed_boxes(face_box(points), found, shot, window)
    boxes[~found] = 0
    return FaceTrack(
        boxes=boxes, landmarks=points, found=found, seen=was_seen, shots=shot, most_faces=follower.most_faces
    )


def shots_of_gaps(shots: NDArray[np.int64], seen: Bool, found: Bool) -> NDArray[np.int64]:
    """Return the numbers of the shots (T,), of which frames that were bridged belong to that of the face before."""
    last_seen = np.maximum.accumulate(np.where(seen, np.arange(len(seen)), 0))
    return np.where(found, shots[last_seen], shots)


def bridged(points: Float, seen: Bool, shots: NDArray[np.int64], longest: int) -> tuple[Float, Bool]:
    """Interpolate over short gaps within a shot; what comes before the first and after the last face stays empty.

    Args:
        points: (T, ...) of the frames.
        seen: (T,) which of them mean something.
        shots: (T,) number of the shot.
        longest: gap in frames that is bridged.

    Returns:
        Points (T, ...), linear in the gaps, and which of them mean something.
    """
    points, found = points.copy(), seen.copy()
    places = np.flatnonzero(seen)
    for first, last in pairwise(places):
        gap = last - first - 1
        if 0 < gap <= longest and shots[first] == shots[last]:
            share = (np.arange(1, gap + 1, dtype=np.float32) / (gap + 1)).reshape(-1, *[1] * (points.ndim - 1))
            points[first + 1 : last] = points[first] * (1 - share) + points[last] * share
            found[first + 1 : last] = True
    return points, found
