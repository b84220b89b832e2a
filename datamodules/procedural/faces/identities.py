"""What a face is made of: who it is, what it wears, how it is turned, what it expresses and where it is shown.

Lengths are in units of half the width of an average head; colours are RGB in [0, 1]. Left and right are the viewer's.
"""

import colorsys
from dataclasses import dataclass

import numpy as np

Colour = tuple[float, float, float]

SKIN_TONES: tuple[Colour, ...] = ((0.95, 0.80, 0.70), (0.90, 0.71, 0.58), (0.80, 0.60, 0.46), (0.62, 0.44, 0.33))
HAIR_COLOURS: tuple[Colour, ...] = (
    (0.34, 0.30, 0.31),  # black
    (0.48, 0.34, 0.26),  # dark brown
    (0.60, 0.43, 0.30),  # brown
    (0.78, 0.62, 0.40),  # blond
    (0.72, 0.40, 0.27),  # red
    (0.66, 0.65, 0.66),  # grey
)


@dataclass(frozen=True)
class Hair:
    """Hair style and colour.

    Attributes:
        colour: of the hair and, darker, of the brows.
        length: y of its lower end; the ears are at 0.15, the chin is at 1.3.
        volume: by how much it stands off the skull.
        hairline: y of its lower edge on the forehead at x = -0.75, -0.4, 0, 0.4, 0.75.
        parting: x of the point from which the strands run.
        waves: by how many radians strands swing to and fro.
        contrast: standard deviation of the strands' brightness in [0, 1], where colours leave room for it.
        bald: there is none.
    """

    colour: Colour
    length: float
    volume: float
    hairline: tuple[float, float, float, float, float]
    parting: float
    waves: float
    contrast: float
    bald: bool = False


@dataclass(frozen=True)
class Outfit:
    """Clothes and accessories; a colour of None leaves the thing out.

    Attributes:
        cloth: colour of the clothes.
        neckline: how deep they are cut.
        glasses: colour of the frame.
        shades: the glasses are dark and hide the eyes.
        round_glasses: their lenses are round, not oblong.
        hat: colour of the hat.
        brim: the hat has one.
        earrings: colour of the earrings.
        necklace: colour of the necklace.
    """

    cloth: Colour
    neckline: float = 0.2
    glasses: Colour | None = None
    shades: bool = False
    round_glasses: bool = False
    hat: Colour | None = None
    brim: bool = False
    earrings: Colour | None = None
    necklace: Colour | None = None


@dataclass(frozen=True)
class Identity:
    """A person: proportions relative to the average (1), colours, hair and outfit.

    Attributes:
        width: of the head.
        chin: length of the lower half of the head.
        jaw: exponent of its outline, a superellipse: below 2 pointed, above 2 square.
        eye_size: of the eyes.
        eye_distance: between the eyes.
        eye_tilt: by how much the outer corners are above the inner ones, as a share of half an eye's width.
        brow_height: above the eyes.
        brow_thickness: of the brows.
        brow_arch: of the brows.
        nose_width: of the nose.
        nose_length: of the nose.
        mouth_width: of the mouth.
        lips: thickness of the lips.
        ears: size of the ears.
        freckles: how many, in [0, 1].
        skin: colour.
        iris: colour.
        lip_colour: colour.
        hair: style and colour.
        outfit: what the person wears.
    """

    width: float
    chin: float
    jaw: float
    eye_size: float
    eye_distance: float
    eye_tilt: float
    brow_height: float
    brow_thickness: float
    brow_arch: float
    nose_width: float
    nose_length: float
    mouth_width: float
    lips: float
    ears: float
    freckles: float
    skin: Colour
    iris: Colour
    lip_colour: Colour
    hair: Hair
    outfit: Outfit


@dataclass(frozen=True)
class Pose:
    """How the head is turned, in degrees.

    Attributes:
        yaw: positive looks to the viewer's right; up to 25 either way.
        pitch: positive looks up; up to 20 either way.
        roll: clockwise on screen; up to 30 either way.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0


@dataclass(frozen=True)
class Expression:
    """What the face does; zeros are a neutral face with open eyes.

    Attributes:
        mouth: how far it is open, in [0, 1].
        smile: in [-1, 1], negative turns the corners of the mouth down.
        blink: how far the eyes are closed, in [0, 1].
        gaze: (x, y) in [-1, 1], where the eyes look; positive is to the viewer's right and down.
        brows: how far they are raised, in [-1, 1].
        spread: how wide the mouth is, in [-1, 1]; negative rounds the lips as for "u", positive draws the corners apart
            as for "i".
    """

    mouth: float = 0.0
    smile: float = 0.0
    blink: float = 0.0
    gaze: tuple[float, float] = (0.0, 0.0)
    brows: float = 0.0
    spread: float = 0.0


@dataclass(frozen=True)
class FaceView:
    """Where and how a face is shown.

    Attributes:
        centre: (x, y) of the head as a share of the picture's side.
        scale: half the width of an average head as a share of the picture's side.
        background: colours of the two ends of the background's gradient.
        direction: of the gradient, radians.
        light: direction that the light comes from, radians; 0 is from the viewer's right, pi / 2 from below.
        contrast: strength of the light's gradient.
    """

    centre: tuple[float, float]
    scale: float
    background: tuple[Colour, Colour]
    direction: float
    light: float
    contrast: float


def sample_identity(rng: np.random.Generator) -> Identity:
    """Draw a person."""
    tone = rng.uniform(0, len(SKIN_TONES) - 1)
    skin = np.array([np.interp(tone, range(len(SKIN_TONES)), channel) for channel in zip(*SKIN_TONES, strict=True)])
    skin = np.clip(skin * rng.uniform(0.95, 1.04) + rng.normal(0, 0.012, 3), 0.1, 0.96)
    lips = skin * np.array([0.92, 0.62, 0.64]) * rng.uniform(0.9, 1.05) + np.array([rng.uniform(-0.02, 0.12), 0, 0.03])
    return Identity(
        width=rng.uniform(0.92, 1.06),
        chin=rng.uniform(0.94, 1.06),
        jaw=rng.uniform(1.8, 2.35),
        eye_size=rng.uniform(0.85, 1.2),
        eye_distance=rng.uniform(0.92, 1.08),
        eye_tilt=rng.uniform(-0.12, 0.2),
        brow_height=rng.uniform(0.85, 1.2),
        brow_thickness=rng.uniform(0.7, 1.2),
        brow_arch=rng.uniform(0.3, 1.4),
        nose_width=rng.uniform(0.75, 1.25),
        nose_length=rng.uniform(0.88, 1.12),
        mouth_width=rng.uniform(0.85, 1.15),
        lips=rng.uniform(0.75, 1.4),
        ears=rng.uniform(0.85, 1.2),
        freckles=max(0.0, rng.uniform(-1.5, 1.0)),
        skin=_colour(skin),
        iris=_hsv(rng.choice([0.07, 0.1, 0.3, 0.56, 0.6]), rng.uniform(0.35, 0.75), rng.uniform(0.3, 0.65)),
        lip_colour=_colour(np.clip(lips, 0.05, 0.95)),
        hair=sample_hair(rng),
        outfit=sample_outfit(rng),
    )


def sample_hair(rng: np.random.Generator) -> Hair:
    """Draw a hair style: a fringe, a parting, swept to a side, or receding; short, to the chin, or long."""
    x = np.array([-0.75, -0.4, 0.0, 0.4, 0.75])
    parting = rng.uniform(-0.5, 0.5)
    lines = (
        np.full(5, rng.uniform(-0.66, -0.54)) + rng.normal(0, 0.025, 5),
        -0.98 + 0.42 * np.clip(np.abs(x - parting), 0, 1),
        -0.8 + rng.choice([-0.25, 0.25]) * x,
        np.full(5, rng.uniform(-1.08, -0.92)) + 0.25 * x**2,
    )
    hairline = lines[rng.integers(len(lines))]
    low, high = ((-0.1, 0.15), (0.7, 1.2), (1.6, 2.4))[rng.choice(3, p=[0.45, 0.25, 0.3])]
    colour = np.array(HAIR_COLOURS[rng.choice(6, p=[0.2, 0.22, 0.22, 0.18, 0.1, 0.08])])
    return Hair(
        colour=_colour(np.clip(colour * rng.uniform(0.9, 1.1) + rng.normal(0, 0.015, 3), 0.1, 0.9)),
        length=rng.uniform(low, high),
        volume=rng.uniform(0.05, 0.2),
        hairline=tuple(float(y) for y in hairline),  # type: ignore[arg-type]  # five of them
        parting=float(parting),
        waves=rng.uniform(0.0, 0.7),
        contrast=rng.uniform(0.12, 0.18),
        bald=rng.random() < 0.04,
    )


def sample_outfit(rng: np.random.Generator) -> Outfit:
    """Draw clothes and accessories: glasses for one face in four, a hat for one in eight, jewels for one in four."""
    wears = rng.random(4) < (0.25, 0.12, 0.25, 0.25)
    metal = _colour(
        np.array([[0.95, 0.82, 0.35], [0.85, 0.87, 0.9], [0.85, 0.3, 0.4], [0.3, 0.75, 0.7]])[rng.integers(4)]
    )
    cloth, glasses, hat = (
        _hsv(rng.random(), rng.uniform(*saturation), rng.uniform(*value))
        for saturation, value in (((0.15, 0.75), (0.3, 0.9)), ((0.0, 0.6), (0.1, 0.4)), ((0.2, 0.8), (0.3, 0.8)))
    )
    return Outfit(
        cloth=cloth,
        neckline=rng.uniform(0.1, 0.3) + 0.25 * wears[3],
        glasses=glasses if wears[0] else None,
        shades=bool(rng.random() < 0.25),
        round_glasses=bool(rng.random() < 0.5),
        hat=hat if wears[1] else None,
        brim=bool(rng.random() < 0.5),
        earrings=metal if wears[2] else None,
        necklace=metal if wears[3] else None,
    )


def sample_pose(rng: np.random.Generator) -> Pose:
    """Draw a pose, mostly near frontal."""
    yaw, pitch, roll = np.clip(rng.normal(0, (10, 5, 5)), -2 * np.array((10, 5, 5)), 2 * np.array((10, 5, 5)))
    return Pose(float(yaw), float(pitch), float(roll))


def sample_expression(rng: np.random.Generator) -> Expression:
    """Draw an expression; the mouth is open for half of the faces, the eyes are half closed or closed for some."""
    return Expression(
        mouth=max(0.0, rng.uniform(-0.8, 0.8)),
        smile=rng.uniform(-0.3, 1.0),
        blink=max(0.0, rng.uniform(-4.0, 1.0)),
        gaze=(rng.uniform(-0.8, 0.8), rng.uniform(-0.4, 0.4)),
        brows=rng.uniform(-0.5, 1.0),
    )


def sample_view(rng: np.random.Generator) -> FaceView:
    """Draw where the face is and how it is lit."""
    first, second = (_hsv(rng.random(), rng.uniform(0.1, 0.5), rng.uniform(0.35, 0.95)) for _ in range(2))
    return FaceView(
        centre=(rng.uniform(0.46, 0.54), rng.uniform(0.45, 0.49)),
        scale=rng.uniform(0.235, 0.262),
        background=(first, second),
        direction=rng.uniform(0, 2 * np.pi),
        light=rng.uniform(0, 2 * np.pi),
        contrast=rng.uniform(0.08, 0.22),
    )


def _hsv(hue: float, saturation: float, value: float) -> Colour:
    return colorsys.hsv_to_rgb(float(hue), float(saturation), float(value))


def _colour(values: np.ndarray) -> Colour:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
