"""The twelve part-based object classes of the procedural scenes.

Every class lives in its own frame: x to the right, y down, the object fills about [-1, 1] x [-1, 1]. Parts are painted
in the order they are listed. Keypoints carry a meaning (left wheel, tip of the tail) and so match across instances.
"""

from dataclasses import dataclass
from typing import Literal

Shape = Literal["ellipse", "box", "triangle"]
Texture = Literal["plain", "stripes", "checks", "dots", "rings"]


@dataclass(frozen=True)
class ObjectPart:
    """One part of an object.

    Attributes:
        name: unique within its class.
        shape: an isosceles triangle points up before it is turned.
        centre: (x, y) in the object's frame.
        radii: half the width and half the height.
        turn: degrees, clockwise on screen.
        hue: in [0, 1).
        texture: painted in the part's own frame, so that it moves with the part.
    """

    name: str
    shape: Shape
    centre: tuple[float, float]
    radii: tuple[float, float]
    turn: float
    hue: float
    texture: Texture = "plain"


@dataclass(frozen=True)
class ObjectClass:
    """A named arrangement of parts with keypoints {name: (x, y)} in the object's frame."""

    name: str
    parts: tuple[ObjectPart, ...]
    keypoints: dict[str, tuple[float, float]]


CLASSES: tuple[ObjectClass, ...] = (
    ObjectClass(
        "fish",
        (
            ObjectPart("tail", "triangle", (0.72, 0.0), radii=(0.38, 0.3), turn=270, hue=0.05, texture="stripes"),
            ObjectPart("fin", "triangle", (0.0, -0.5), radii=(0.25, 0.25), turn=10, hue=0.12),
            ObjectPart("body", "ellipse", (-0.15, 0.0), radii=(0.75, 0.45), turn=0, hue=0.08, texture="checks"),
            ObjectPart("eye", "ellipse", (-0.6, -0.1), radii=(0.11, 0.11), turn=0, hue=0.6, texture="rings"),
        ),
        {
            "mouth": (-0.88, 0.0),
            "eye": (-0.6, -0.1),
            "fin tip": (0.04, -0.66),
            "belly": (-0.15, 0.4),
            "tail": (0.9, 0.0),
        },
    ),
    ObjectClass(
        "car",
        (
            ObjectPart("cabin", "box", (0.0, -0.35), radii=(0.45, 0.3), turn=0, hue=0.55, texture="plain"),
            ObjectPart("body", "box", (0.0, 0.1), radii=(0.95, 0.28), turn=0, hue=0.0, texture="stripes"),
            ObjectPart("rear wheel", "ellipse", (-0.55, 0.42), radii=(0.24, 0.24), turn=0, hue=0.7, texture="rings"),
            ObjectPart("front wheel", "ellipse", (0.55, 0.42), radii=(0.24, 0.24), turn=0, hue=0.7, texture="rings"),
            ObjectPart("lamp", "ellipse", (0.85, 0.05), radii=(0.1, 0.1), turn=0, hue=0.16),
        ),
        {
            "rear wheel": (-0.55, 0.42),
            "front wheel": (0.55, 0.42),
            "roof": (0.0, -0.6),
            "lamp": (0.85, 0.05),
            "rear end": (-0.9, 0.1),
        },
    ),
    ObjectClass(
        "house",
        (
            ObjectPart("wall", "box", (0.0, 0.35), radii=(0.65, 0.5), turn=0, hue=0.1, texture="checks"),
            ObjectPart("roof", "triangle", (0.0, -0.45), radii=(0.85, 0.4), turn=0, hue=0.98, texture="stripes"),
            ObjectPart("door", "box", (-0.25, 0.55), radii=(0.16, 0.3), turn=0, hue=0.65),
            ObjectPart("window", "box", (0.3, 0.25), radii=(0.17, 0.17), turn=0, hue=0.5, texture="checks"),
        ),
        {
            "ridge": (0.0, -0.8),
            "door": (-0.25, 0.55),
            "window": (0.3, 0.25),
            "left eave": (-0.7, -0.1),
            "right eave": (0.7, -0.1),
        },
    ),
    ObjectClass(
        "tree",
        (
            ObjectPart("trunk", "box", (0.0, 0.6), radii=(0.14, 0.4), turn=0, hue=0.07, texture="stripes"),
            ObjectPart("left crown", "ellipse", (-0.35, 0.0), radii=(0.42, 0.38), turn=0, hue=0.3, texture="dots"),
            ObjectPart("right crown", "ellipse", (0.35, 0.0), radii=(0.42, 0.38), turn=0, hue=0.36, texture="dots"),
            ObjectPart("top crown", "ellipse", (0.0, -0.45), radii=(0.45, 0.45), turn=0, hue=0.33, texture="dots"),
        ),
        {"root": (0.0, 0.95), "left": (-0.6, 0.0), "right": (0.6, 0.0), "top": (0.0, -0.8), "fork": (0.0, 0.3)},
    ),
    ObjectClass(
        "boat",
        (
            ObjectPart("mast", "box", (0.0, -0.2), radii=(0.05, 0.7), turn=0, hue=0.08),
            ObjectPart("sail", "triangle", (0.33, -0.25), radii=(0.36, 0.5), turn=0, hue=0.14, texture="stripes"),
            ObjectPart("jib", "triangle", (-0.25, -0.15), radii=(0.22, 0.38), turn=0, hue=0.95, texture="plain"),
            ObjectPart("hull", "triangle", (0.0, 0.6), radii=(0.9, 0.3), turn=180, hue=0.62, texture="checks"),
        ),
        {
            "mast head": (0.0, -0.85),
            "bow": (-0.75, 0.36),
            "stern": (0.75, 0.36),
            "keel": (0.0, 0.8),
            "boom": (0.6, 0.18),
        },
    ),
    ObjectClass(
        "cat",
        (
            ObjectPart("tail", "box", (0.75, -0.05), radii=(0.08, 0.5), turn=20, hue=0.1, texture="stripes"),
            ObjectPart("body", "ellipse", (0.25, 0.35), radii=(0.6, 0.42), turn=0, hue=0.09, texture="stripes"),
            ObjectPart("left ear", "triangle", (-0.75, -0.72), radii=(0.17, 0.22), turn=345, hue=0.92),
            ObjectPart("right ear", "triangle", (-0.2, -0.72), radii=(0.17, 0.22), turn=15, hue=0.92),
            ObjectPart("head", "ellipse", (-0.48, -0.3), radii=(0.44, 0.4), turn=0, hue=0.11),
            ObjectPart("nose", "ellipse", (-0.5, -0.15), radii=(0.09, 0.07), turn=0, hue=0.95),
        ),
        {
            "left ear": (-0.77, -0.78),
            "right ear": (-0.18, -0.78),
            "nose": (-0.5, -0.15),
            "tail tip": (0.9, -0.45),
            "rump": (0.72, 0.35),
        },
    ),
    ObjectClass(
        "mug",
        (
            ObjectPart("handle", "ellipse", (0.55, 0.05), radii=(0.35, 0.4), turn=0, hue=0.78, texture="rings"),
            ObjectPart("body", "box", (-0.1, 0.1), radii=(0.52, 0.65), turn=0, hue=0.75, texture="dots"),
            ObjectPart("rim", "ellipse", (-0.1, -0.55), radii=(0.52, 0.18), turn=0, hue=0.72),
        ),
        {
            "handle": (0.75, 0.05),
            "rim": (-0.1, -0.55),
            "base left": (-0.52, 0.68),
            "base right": (0.32, 0.68),
            "middle": (-0.1, 0.1),
        },
    ),
    ObjectClass(
        "flower",
        (
            ObjectPart("stem", "box", (0.0, 0.5), radii=(0.06, 0.5), turn=0, hue=0.32),
            ObjectPart("leaf", "ellipse", (0.3, 0.6), radii=(0.3, 0.12), turn=330, hue=0.28, texture="stripes"),
            ObjectPart("left petal", "ellipse", (-0.38, -0.35), radii=(0.34, 0.22), turn=0, hue=0.88),
            ObjectPart("right petal", "ellipse", (0.38, -0.35), radii=(0.34, 0.22), turn=0, hue=0.84),
            ObjectPart("top petal", "ellipse", (0.0, -0.7), radii=(0.22, 0.32), turn=0, hue=0.8, texture="stripes"),
            ObjectPart("heart", "ellipse", (0.0, -0.35), radii=(0.24, 0.24), turn=0, hue=0.15, texture="dots"),
        ),
        {
            "heart": (0.0, -0.35),
            "left": (-0.6, -0.35),
            "right": (0.6, -0.35),
            "top": (0.0, -0.9),
            "leaf": (0.42, 0.53),
            "root": (0.0, 0.95),
        },
    ),
    ObjectClass(
        "rocket",
        (
            ObjectPart("flame", "triangle", (0.0, 0.82), radii=(0.2, 0.2), turn=180, hue=0.1),
            ObjectPart("left fin", "triangle", (-0.4, 0.42), radii=(0.2, 0.3), turn=330, hue=0.0),
            ObjectPart("right fin", "triangle", (0.4, 0.42), radii=(0.2, 0.3), turn=30, hue=0.0),
            ObjectPart("body", "box", (0.0, 0.05), radii=(0.3, 0.58), turn=0, hue=0.58, texture="stripes"),
            ObjectPart("nose", "triangle", (0.0, -0.75), radii=(0.34, 0.25), turn=0, hue=0.02),
            ObjectPart("window", "ellipse", (0.0, -0.15), radii=(0.17, 0.17), turn=0, hue=0.5, texture="rings"),
        ),
        {
            "nose": (0.0, -0.95),
            "window": (0.0, -0.15),
            "left fin": (-0.45, 0.55),
            "right fin": (0.45, 0.55),
            "nozzle": (0.0, 0.65),
        },
    ),
    ObjectClass(
        "mushroom",
        (
            ObjectPart("stem", "box", (0.0, 0.5), radii=(0.22, 0.45), turn=0, hue=0.13, texture="plain"),
            ObjectPart("cap", "triangle", (0.0, -0.25), radii=(0.9, 0.5), turn=0, hue=0.97, texture="dots"),
            ObjectPart("gills", "ellipse", (0.0, 0.22), radii=(0.8, 0.13), turn=0, hue=0.09, texture="stripes"),
        ),
        {
            "tip": (0.0, -0.7),
            "left brim": (-0.75, 0.2),
            "right brim": (0.75, 0.2),
            "foot": (0.0, 0.9),
            "collar": (0.0, 0.38),
        },
    ),
    ObjectClass(
        "butterfly",
        (
            ObjectPart(
                "upper left wing", "ellipse", (-0.5, -0.35), radii=(0.45, 0.38), turn=30, hue=0.55, texture="rings"
            ),
            ObjectPart(
                "upper right wing", "ellipse", (0.5, -0.35), radii=(0.45, 0.38), turn=330, hue=0.55, texture="rings"
            ),
            ObjectPart(
                "lower left wing", "ellipse", (-0.4, 0.4), radii=(0.34, 0.3), turn=330, hue=0.48, texture="dots"
            ),
            ObjectPart("lower right wing", "ellipse", (0.4, 0.4), radii=(0.34, 0.3), turn=30, hue=0.48, texture="dots"),
            ObjectPart("body", "ellipse", (0.0, 0.0), radii=(0.12, 0.7), turn=0, hue=0.08, texture="stripes"),
        ),
        {
            "head": (0.0, -0.62),
            "abdomen": (0.0, 0.6),
            "upper left": (-0.6, -0.42),
            "upper right": (0.6, -0.42),
            "lower left": (-0.45, 0.45),
            "lower right": (0.45, 0.45),
        },
    ),
    ObjectClass(
        "snail",
        (
            ObjectPart("foot", "ellipse", (0.0, 0.6), radii=(0.9, 0.22), turn=0, hue=0.2),
            ObjectPart("neck", "box", (-0.7, 0.2), radii=(0.13, 0.42), turn=345, hue=0.2),
            ObjectPart("shell", "ellipse", (0.2, 0.05), radii=(0.6, 0.55), turn=0, hue=0.06, texture="rings"),
            ObjectPart("head", "ellipse", (-0.78, -0.25), radii=(0.2, 0.18), turn=0, hue=0.22),
        ),
        {
            "head": (-0.78, -0.25),
            "shell": (0.2, 0.05),
            "shell top": (0.2, -0.42),
            "tail": (0.82, 0.62),
            "chin": (-0.6, 0.6),
        },
    ),
)
