"""Where a video is cut: by its pictures, and by a face that jumps."""

from collections import deque
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from networks.faces.detector import box_iou
from networks.faces.landmarks import face_box

THUMBNAIL, PIXELS = (18, 32), 4  # rows and columns by which pictures are compared, and pixels of each
LEAST_CHANGE = 12.0  # grey values by which the pictures before and after a cut differ on average
TIMES_USUAL = 2.5  # and by how much more than those before, of which there are
USUAL = 12
# A camera that is turned quickly keeps its colours: the share of them that a cut exchanges, and the grey values by
# which pictures differ that have nothing in common.
OTHER_COLOURS, LARGE_CHANGE = 0.15, 35.0
BACK = 0.35  # times the difference to what was between that a picture differs from the one before that, if it is back
# Of the size of a face: a step that is no movement if the steps before and after it are as much smaller.
JUMP, TIMES_NEIGHBOURS = 0.15, 4.0
AROUND, LEAST_REST = (
    0.25,
    0.25,
)  # of a face: how far around it pictures are not compared; of the picture: what has to be left
SAME_PLACE = 0.1  # intersection over union of the boxes of a face before and after a gap


class CutFinder:
    """Tells where a picture has little to do with the one before, and where one comes back that was just gone.

    Args:
        memory: frames after which a picture that comes back is that of a new shot; a flash or a black frame is no cut.

    Attributes:
        shot: number of the shot of the last picture.
    """

    def __init__(self, memory: int = 0) -> None:
        self.memory, self.shot = memory, 0
        self._shots = 1
        self._gone: NDArray[np.float32] | None = None  # the last picture of the shot before
        self._gone_shot = self._since = 0
        self._before: NDArray[np.float32] | None = None
        self._changes = deque([LEAST_CHANGE / TIMES_USUAL] * 3, maxlen=USUAL)

    def follow(self, image: NDArray[np.uint8], face: NDArray[np.float32] | None = None) -> int:
        """Return the number of the shot of the next picture: that of an earlier one if it is back.

        Args:
            image: (H, W, 3) uint8.
            face: box (4,) xyxy in pixels of the face that was there, in front of which a hand is no cut.
        """
        before = self._before
        self._since += 1
        if self.is_cut(image, face) and self._before is not None:
            back = self._since <= self.memory and self._is_back(self._before, before)
            number = self._gone_shot if back else self._shots
            self._shots += not back
            self._gone, self._gone_shot, self._since = before, self.shot, 0
            self.shot = number
        return self.shot

    def _is_back(self, now: NDArray[np.float32], between: NDArray[np.float32] | None) -> bool:
        """Return whether a picture is of the shot that was left, as seen some frames later, and not of a third one."""
        if self._gone is None or between is None:
            return False
        return bool(np.abs(now - self._gone).mean() < max(LEAST_CHANGE, BACK * np.abs(now - between).mean()))

    def is_cut(self, image: NDArray[np.uint8], face: NDArray[np.float32] | None = None) -> bool:
        """Return whether there is a cut between the picture before and this one; arguments as `follow`."""
        now = thumbnail(image)
        before, self._before = self._before, now
        if before is None:
            return False
        rest = beside(face, image.shape[:2])
        now, before = now[rest], before[rest]
        change = float(np.abs(now - before).mean())
        usual = float(np.median(self._changes))
        self._changes.append(change)
        if change < max(LEAST_CHANGE, TIMES_USUAL * usual):
            return False
        return change > LARGE_CHANGE or float(np.abs(colours(now) - colours(before)).sum() / 2) > OTHER_COLOURS


def beside(face: NDArray[np.float32] | None, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which parts of a thumbnail (18, 32) lie beside a face; all, if it fills the picture.

    Args:
        face: box (4,) xyxy in pixels; None without.
        size: height and width of the picture.
    """
    everywhere = np.ones(THUMBNAIL, bool)
    if face is None:
        return everywhere
    x0, y0, x1, y1 = face
    margin = AROUND * max(x1 - x0, y1 - y0)
    y, x = ((np.arange(count) + 0.5) * length / count for count, length in zip(THUMBNAIL, size, strict=True))
    rows, columns = (y > y0 - margin) & (y < y1 + margin), (x > x0 - margin) & (x < x1 + margin)
    rest = ~np.outer(rows, columns)
    return rest if rest.mean() >= LEAST_REST else everywhere


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a picture (H, W, 3) as 18 x 32 colours float32, each the mean of 16 pixels of its part."""
    rows, columns = (
        ((np.arange(count * PIXELS) + 0.5) * length / (count * PIXELS)).astype(int)
        for count, length in zip(THUMBNAIL, image.shape, strict=False)
    )
    some = image[rows[:, None], columns].astype(np.float32)
    return some.reshape(THUMBNAIL[0], PIXELS, THUMBNAIL[1], PIXELS, 3).mean((1, 3))


def colours(picture: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return how often each sixteenth of the range occurs in each channel, (48,), with the sum 1."""
    bins = picture.astype(np.int64) // 16 + np.array([0, 16, 32])
    return np.bincount(bins.ravel(), minlength=48) / bins.size


def shots_of_face(
    landmarks: NDArray[np.float32], seen: NDArray[np.bool_], shots: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Divide shots where the face jumps: another one was chosen, or a piece of the shot is missing.

    Args:
        landmarks: (T, 68, 2) in pixels.
        seen: (T,) which of them mean something.
        shots: (T,) number of the shot by its pictures.

    Returns:
        (T,) number of the shot.
    """
    places = np.flatnonzero(seen)
    boxes = face_box(landmarks[places])
    middles, sides = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]).max(1)
    gaps = np.diff(places)
    sides = np.maximum(sides, 1e-6)
    steps = np.linalg.norm(np.diff(middles, axis=0), axis=1) / sides[1:]
    steps = np.maximum(steps, np.abs(np.diff(np.log(sides))))  # nor does it grow or shrink as much
    beside = np.maximum(np.r_[0, steps[:-1]], np.r_[steps[1:], 0])[: len(steps)]
    apart = np.array([box_iou(box, after[None])[0] for box, after in pairwise(boxes)])
    jumps = (apart < SAME_PLACE) | ((gaps == 1) & (steps > np.maximum(JUMP, TIMES_NEIGHBOURS * beside)))
    divided = np.zeros(len(seen), np.int64)
    divided[places[1:][jumps]] = 1
    return shots + np.cumsum(divided)
