"""Where the parts of a face are: 68 landmarks and the outlines around them, turned with the head.

The head's own frame has its origin between the eyes and half the width of an average head as unit; x points to the
viewer's right, y down, z towards the viewer. A turn moves points sideways by their depth, which shortens the far side
and widens the near one as perspective on a ball does, and leaves the outline of the head as wide as it was.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from datamodules.procedural.faces.identities import Expression, FaceView, Identity, Pose

Float = NDArray[np.floating]

JAW, LEFT_BROW, RIGHT_BROW = slice(0, 17), slice(17, 22), slice(22, 27)
BRIDGE, NOSE_BASE = slice(27, 31), slice(31, 36)
LEFT_EYE, RIGHT_EYE, OUTER_LIP, INNER_LIP = slice(36, 42), slice(42, 48), slice(48, 60), slice(60, 68)
SKULL = 1.3  # height of the head above the eyes
CHIN = 1.3  # and below them
EYES = -0.05  # y of the eyes
# How far the lip moves with an open mouth, upwards and downwards, and how much of it the chin follows.
UPPER_OPEN, LOWER_OPEN, CHIN_OPEN = 0.06, 0.24, 0.14
# By which shares the mouth is wider where it is spread, narrower where it is rounded, and lips thicker where rounded.
SPREAD, ROUNDED, POUT = 0.2, 0.45, 0.3


class FramePlacement:
    """Maps the head's frame, or the body's, to pixels.

    Args:
        pose: of the head; the body stays upright.
        view: where the head is.
        size: side of the picture in pixels.
    """

    def __init__(self, pose: Pose, view: FaceView, size: int):
        yaw, pitch, roll = np.deg2rad([pose.yaw, pose.pitch, pose.roll])
        self.shift = np.array([np.sin(yaw), -np.sin(pitch)])
        self.turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        self.centre, self.scale = np.array(view.centre) * size, view.scale * size
        self.neck = np.array([0.0, 1.1])  # a roll turns the head about the neck

    def head(self, points: Float, depth: Float | float = 0.0) -> Float:
        """Return (N, 2) xy pixels of points (N, 2) in the head's frame with depth (N,)."""
        moved = points + np.multiply.outer(depth, self.shift)
        return ((moved - self.neck) @ self.turn.T + self.neck) * self.scale + self.centre

    def body(self, points: Float) -> Float:
        """Return (N, 2) xy pixels of points (N, 2) of neck and clothes, which do not turn."""
        return points * self.scale + self.centre

    def frame(self, size: int) -> tuple[Float, Float]:
        """Return x and y (size, size) of the pixels' middles in the head's frame, rolled but not turned."""
        middle = np.arange(size, dtype=np.float32) + 0.5
        origin = self.centre + self.neck * self.scale
        x, y = (
            (along - float(at)) / self.scale for along, at in zip((middle[None], middle[:, None]), origin, strict=True)
        )
        (a, b), (c, d) = self.turn.T.tolist()  # the inverse
        return a * x + b * y + float(self.neck[0]), c * x + d * y + float(self.neck[1])

    def spot(self, middle: Float, radius: float, size: int) -> Float:
        """Return a soft round spot (size, size) float32, 1 in its middle (2,) in pixels; the radius is in the frame."""
        pixels = np.arange(size, dtype=np.float32) + 0.5
        across, along = (np.exp(-(((pixels - place) / (radius * self.scale)) ** 2)) for place in middle)
        return np.outer(along, across).astype(np.float32)


def face_depth(points: Float) -> Float:
    """Return the depth (N,) of points (N, 2) on the front of the head: 0.85 in the middle, 0 at the outline."""
    x, y = points[:, 0], points[:, 1]
    return 0.85 * np.maximum(1 - x**2, 0) * np.maximum(1 - (y / 1.9) ** 2, 0)


def landmarks(identity: Identity, expression: Expression) -> tuple[Float, Float]:
    """Return the landmarks in the head's frame in the order of iBUG 300-W, (68, 2), and their depth (68,).

    Jaw 0-16 from the viewer's left to the right, brows 17-26, bridge of the nose 27-30 and its base 31-35, eyes 36-47,
    outer outline of the lips 48-59 and inner one 60-67, both clockwise from the viewer's left corner.
    """
    points = np.zeros((68, 2))
    points[JAW] = jaw_line(identity, expression, 17)
    depth = np.zeros(68)
    # The chin is in front of the ears, so it moves with a turn.
    depth[JAW] = 0.3 * np.clip(1 - points[JAW, 0] ** 2, 0, None)
    for side, brow, eye in ((-1, LEFT_BROW, LEFT_EYE), (1, RIGHT_BROW, RIGHT_EYE)):
        points[brow] = _brow(identity, expression, side)
        points[eye] = _eye(identity, expression, side)
    points[BRIDGE], points[NOSE_BASE] = _nose(identity)
    points[OUTER_LIP], points[INNER_LIP] = _lips(identity, expression)
    depth[17:] = face_depth(points[17:])
    depth[BRIDGE] += np.array([0.06, 0.14, 0.22, 0.3])
    depth[NOSE_BASE] += np.array([0.08, 0.14, 0.18, 0.14, 0.08])
    return points, depth


def jaw_line(identity: Identity, expression: Expression, count: int) -> Float:
    """Return (count, 2) points of the lower outline of the head, from the viewer's left to the right."""
    angle = np.linspace(-np.pi / 2, np.pi / 2, count)
    across, along = np.sin(angle), np.clip(np.cos(angle), 0, None)
    power = 2 / identity.jaw
    length = CHIN * identity.chin + CHIN_OPEN * expression.mouth
    return np.stack([identity.width * np.sign(across) * np.abs(across) ** power, length * along**power], 1)


def arc(width: float, height: float, low: float = 0.0, count: int = 33) -> Float:
    """Return (count, 2) points of the upper half of an ellipse about (0, low), from the right to the left."""
    return _circle(2 * count - 2)[:count] * [width, -height] + [0, low]


def ellipse(x: float, y: float, width: float, height: float, count: int = 24) -> Float:
    """Return (count, 2) points of an ellipse by its middle and half its axes."""
    return _circle(count) * [width, height] + [x, y]


def curve(points: Float, steps: int = 5) -> Float:
    """Return ((N - 1) * steps + 1, 2) points of the Catmull-Rom spline through (N, 2) points."""
    return _spline(len(points), steps) @ points


@cache
def _circle(count: int) -> Float:
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([np.cos(angle), np.sin(angle)], 1)


@cache
def _spline(count: int, steps: int) -> Float:
    """Return the matrix ((count - 1) * steps + 1, count) that interpolates; end points count twice."""
    matrix = np.zeros(((count - 1) * steps + 1, count))
    for row in range(len(matrix)):
        first = min(row // steps, count - 2)
        t = row / steps - first
        weights = 0.5 * np.array([-t + 2 * t**2 - t**3, 2 - 5 * t**2 + 3 * t**3, t + 4 * t**2 - 3 * t**3, t**3 - t**2])
        for offset, weight in zip(range(-1, 3), weights, strict=True):
            matrix[row, np.clip(first + offset, 0, count - 1)] += weight
    return matrix


def _brow(identity: Identity, expression: Expression, side: int) -> Float:
    x = np.linspace(-0.28, 0.28, 5) * identity.eye_size**0.5
    arch = np.array([0.0, 0.75, 1.0, 0.7, 0.15]) if side < 0 else np.array([0.15, 0.7, 1.0, 0.75, 0.0])
    y = EYES - 0.32 * identity.brow_height - 0.09 * expression.brows - 0.09 * identity.brow_arch * arch
    return np.stack([side * 0.43 * identity.eye_distance + x, y], 1)


def _eye(identity: Identity, expression: Expression, side: int) -> Float:
    width, height = 0.235 * identity.eye_size, 0.135 * identity.eye_size * (1 - 0.85 * expression.blink)
    # The upper lid closes down to the lower one.
    closed = 0.05 * expression.blink
    x = np.array([-1.0, -0.42, 0.42, 1.0, 0.42, -0.42])
    y = np.array([0.0, -1.0, -1.0, 0.0, 0.75, 0.75])
    y = height * y + closed - side * x * identity.eye_tilt * width
    return np.stack([side * 0.43 * identity.eye_distance + width * x, EYES + y], 1)


def _nose(identity: Identity) -> tuple[Float, Float]:
    tip = 0.38 * identity.nose_length
    bridge = np.stack([np.zeros(4), np.linspace(EYES - 0.02, tip, 4)], 1)
    x = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    base = np.stack([0.17 * identity.nose_width * x, tip + 0.1 + 0.05 * (1 - x**2)], 1)
    return bridge, base


def _lips(identity: Identity, expression: Expression) -> tuple[Float, Float]:
    width = 0.36 * identity.mouth_width * (1 + 0.15 * expression.smile - 0.15 * expression.mouth)
    width *= 1 + (SPREAD if expression.spread > 0 else ROUNDED) * expression.spread
    pout = 1 - POUT * min(expression.spread, 0.0)
    upper, lower = 0.1 * identity.lips * pout, 0.13 * identity.lips * pout

    def middle(x: Float) -> Float:
        return 0.06 + identity.chin * 0.74 - 0.14 * expression.smile * (x**2 - 0.4)

    def part(x: Float, opened: float) -> Float:
        return middle(x) + opened * expression.mouth * (1 - x**2)

    x_upper = np.array([-1.0, -0.62, -0.25, 0.0, 0.25, 0.62, 1.0])
    above = part(x_upper, -UPPER_OPEN) - upper * np.array([0.0, 0.7, 1.05, 0.85, 1.05, 0.7, 0.0])
    x_lower = np.array([0.62, 0.25, 0.0, -0.25, -0.62])
    below = part(x_lower, LOWER_OPEN) + lower * np.array([0.72, 1.0, 1.05, 1.0, 0.72])
    outer = np.stack([width * np.concatenate([x_upper, x_lower]), np.concatenate([above, below])], 1)
    x_inner = np.array([-0.82, -0.42, 0.0, 0.42, 0.82, 0.42, 0.0, -0.42])
    opened = np.repeat([-UPPER_OPEN, LOWER_OPEN], [5, 3])
    # The corners stay together; between them the lips part.
    opened[[0, 4]] = (LOWER_OPEN - UPPER_OPEN) / 2
    inner = np.stack([width * x_inner, middle(x_inner) + opened * expression.mouth * (1 - (x_inner / 0.95) ** 2)], 1)
    return outer, inner
