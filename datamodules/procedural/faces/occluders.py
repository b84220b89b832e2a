"""Something in front of a face: a hand that comes into the picture from below, with its exact mask."""

import numpy as np
from numpy.typing import NDArray

from datamodules.procedural.faces.canvas import Canvas, Label
from datamodules.procedural.faces.geometry import Float, ellipse
from datamodules.procedural.faces.identities import Colour

ANYTHING = Label.CLOTH  # of the canvas of its own: what is painted is what is hidden
FINGERS = 4
BENEATH = (33, 57)  # landmarks between which the middle of the hand lies: base of the nose, lower lip


def with_hand(
    image: NDArray[np.uint8], landmarks: Float, skin: Colour, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Return a picture with a hand in front of the face, which hides about half of what is between brows and chin.

    Args:
        image: (S, S, 3) uint8 RGB.
        landmarks: (68, 2) xy pixels of the face.
        skin: colour of the face; the hand is lit otherwise.
        rng: random numbers.

    Returns:
        The picture (S, S, 3) uint8, and where the hand is (S, S) bool.
    """
    unit = float(np.linalg.norm(landmarks[0] - landmarks[16])) / 2  # half the width of the face
    middle = landmarks[list(BENEATH)].mean(0) + unit * rng.uniform((-0.45, -0.35), (0.45, 0.1))
    slant = rng.uniform(-0.6, 0.6)  # of the arm, radians; 0 comes straight from below
    turn = np.array([[np.cos(slant), -np.sin(slant)], [np.sin(slant), np.cos(slant)]])

    def placed(points: Float) -> Float:
        return points @ turn.T * unit + middle

    canvas = Canvas(image / np.float32(255))
    colour = np.clip(np.asarray(skin) * rng.uniform(0.75, 1.05), 0, 1)
    arm = np.array([[-0.3, 0.3], [0.3, 0.3], [0.45, 6.0], [-0.45, 6.0]])
    canvas.paint(placed(arm), colour=colour * 0.85, label=ANYTHING)
    for finger in range(FINGERS):
        x = (finger - (FINGERS - 1) / 2) * 0.26
        length = 0.52 - 0.06 * abs(finger - 1.3)
        canvas.paint(placed(ellipse(x, -0.5, 0.13, length)), colour=colour * (0.9 + 0.04 * finger), label=ANYTHING)
    canvas.paint(placed(ellipse(-0.52, 0.05, 0.14, 0.38)), colour=colour * 0.9, label=ANYTHING)  # the thumb
    canvas.paint(placed(ellipse(0, 0.1, 0.5, 0.48)), colour=colour, label=ANYTHING)
    return (canvas.image.clip(0, 1) * 255).round().astype(np.uint8), canvas.labels > 0
