"""In which frames of a video the mouth is replaced, and how much of it where faces come and go."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray

from datamodules.clips.clip import whole_pixels
from datamodules.clips.faces.smoothing import pieces, smoothed_angles, smoothed_boxes
from datamodules.clips.faces.tracks import FaceTrack
from networks.faces.landmarks import face_box, roll_of, turned_by
from networks.turning import turned

TURNED_BACK = 0.9  # times the limit: a head that is near it does not come and go


@dataclass(frozen=True)
class FacesToDub:
    """Faces of N frames.

    Attributes:
        dubbed: (N,) bool.
        fade: (N,) float32 in [0, 1], how much of the new mouth is shown; 0 where it is not dubbed.
        boxes: (N, 4) float32 xyxy, whole pixels of the frames: of the face seen upright, about whose middle it leans.
        rolls: (N,) float32 radians by which it leans, clockwise on the screen; 0 where it is not dubbed.
        landmarks: (N, 68, 2) float32 xy in pixels of the frames.
        turned_away: (N,) bool, where there is a face that is turned too far.
        shots: (N,) int64, number of the shot.
        at_once: faces that were seen in one frame.
    """

    dubbed: NDArray[np.bool_]
    fade: NDArray[np.float32]
    boxes: NDArray[np.float32]
    rolls: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    turned_away: NDArray[np.bool_]
    shots: NDArray[np.int64]
    at_once: int


def faces_to_dub(track: FaceTrack, most_turned: float, fade: int, *, window: int) -> FacesToDub:
    """Return the faces that are dubbed.

    Every roll is taken out, the smallest too: there is none at which a face begins to be turned upright.

    Args:
        track: the face in all frames.
        most_turned: degrees that a head may be turned to a side.
        fade: frames in which a mouth comes and goes where the face does within a shot; at a cut, and at the ends of the
            video, it is there at once.
        window: frames of the window in which the head's movement is smoothed, see `smoothed_boxes`.
    """
    turned = turned_away(turned_by(track.landmarks), track.found, most_turned)
    dubbed = track.found & ~turned
    rolls = smoothed_angles(roll_of(track.landmarks), track.found, track.shots, window)
    parts = [part for part, _ in pieces(slice(0, len(track)), 0)]
    upright = np.concatenate([upright_boxes(track.landmarks[part], rolls[part]) for part in parts])
    boxes = smoothed_boxes(upright, track.found, track.shots, window)
    return FacesToDub(
        dubbed=dubbed,
        fade=faded(dubbed, track.shots, fade),
        boxes=whole_pixels(boxes),
        rolls=np.where(dubbed, rolls, 0),
        landmarks=track.landmarks,
        turned_away=turned,
        shots=track.shots,
        at_once=track.most_faces,
    )


def upright_boxes(landmarks: NDArray[np.float32], rolls: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the boxes of faces seen upright, in place: turned by the roll about its middle each lies on its face.

    Args:
        landmarks: (N, 68, 2) xy in pixels of the frames.
        rolls: (N,) radians by which the faces lean, clockwise on the screen.

    Returns:
        (N, 4) float32 xyxy, see `face_box`.
    """
    angles, origin = torch.from_numpy(rolls).double(), torch.zeros(2)
    upright = turned(torch.from_numpy(landmarks).double(), origin, -angles)
    boxes = torch.from_numpy(face_box(upright.numpy())).double()
    half = (boxes[:, 2:] - boxes[:, :2]) / 2
    middle = turned((boxes[:, :2] + half)[:, None], origin, angles)[:, 0]
    return torch.cat([middle - half, middle + half], 1).float().numpy()


def turned_away(angles: NDArray[np.float32], found: NDArray[np.bool_], most: float) -> NDArray[np.bool_]:
    """Return where a head is turned too far (N,), until it is turned back to some less than the limit.

    Args:
        angles: (N,) degrees.
        found: (N,) where there is a face.
        most: limit in degrees.
    """
    away, now = np.zeros(len(angles), bool), False
    for frame, (angle, there) in enumerate(zip(angles.tolist(), found.tolist(), strict=True)):
        now = there and angle > (TURNED_BACK * most if now else most)
        away[frame] = now
    return away


def faded(dubbed: NDArray[np.bool_], shots: NDArray[np.int64], frames: int) -> NDArray[np.float32]:
    """Return weights (N,) that rise and fall evenly over some frames where, within a shot, dubbing begins and ends.

    Args:
        dubbed: (N,) which frames are.
        shots: (N,) number of the shot.
        frames: whose weight is between 0 and 1.
    """
    weights = np.zeros(len(dubbed), np.float32)
    edges = np.flatnonzero((np.diff(dubbed.astype(np.int8)) != 0) | (np.diff(shots) != 0)) + 1
    for first, end in pairwise([0, *edges.tolist(), len(dubbed)]):
        if first == end or not dubbed[first]:
            continue
        steps = np.arange(1, end - first + 1) / (frames + 1)
        comes = first > 0 and shots[first - 1] == shots[first]
        goes = end < len(dubbed) and shots[end] == shots[end - 1]
        one = np.ones(end - first)
        weights[first:end] = np.minimum(steps if comes else one, steps[::-1] if goes else one).clip(max=1)
    return weights
