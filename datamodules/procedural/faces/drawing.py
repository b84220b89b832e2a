"""Draws what is smooth about a face, its label map, and how strong strands and grain are where.

Parts are painted one over the other, as they hide one another, by how much of a pixel their outline covers.
"""

import math
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from datamodules.procedural.faces import geometry as geometry
from datamodules.procedural.faces.canvas import Canvas, Label, Surface
from datamodules.procedural.faces.geometry import Float, FramePlacement, arc, curve, ellipse, face_depth
from datamodules.procedural.faces.identities import Expression, FaceView, Identity, Pose
from datamodules.procedural.faces.textures import BOUND

GRAIN, FRECKLES = 0.03, 0.12  # strength of pores and of freckles where they are many
BROW_CONTRAST = 0.75  # of brows, as a share of the hair's
HAIRY = (Label.HAIR, Label.L_BROW, Label.R_BROW)
BARE = (Label.SKIN, Label.NOSE, Label.L_EAR, Label.R_EAR, Label.NECK)


@dataclass(frozen=True)
class Drawing:
    """A face without its stochastic detail; S = size.

    Attributes:
        smooth: (S, S, 3) float32 RGB in [0, 1], the mean of the picture over all textures.
        labels: (S, S) uint8 label map.
        landmarks: (68, 2) float32 xy pixels, (0, 0) is the upper left corner of the picture.
        strands: (S, S, 3) float32 standard deviation of strands, 0 outside hair and brows.
        pores: (S, S, 3) float32 standard deviation of grain, 0 outside the skin.
        freckles: (S, S, 3) float32 strength of freckles, 0 outside the skin.
        angle: (S, S) float32 direction of strands, radians.
    """

    smooth: Float
    labels: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    strands: Float
    pores: Float
    freckles: Float
    angle: Float


def draw_face(identity: Identity, pose: Pose, expression: Expression, view: FaceView, size: int) -> Drawing:
    """Draw a face.

    Args:
        identity: who it is and what it wears.
        pose: how the head is turned.
        expression: what the face does.
        view: where it is and how it is lit.
        size: S, side of the picture in pixels.
    """
    place = FramePlacement(pose, view, size)
    canvas = Canvas(background(view, size))
    x, y = place.frame(size)
    landmarks = paint_face(canvas, identity, expression, place=place, shades=Shades.of(view, x, y), light=view.light)
    smooth = canvas.image.clip(0, 1)
    strands, pores, spots = _contrasts(smooth, canvas.labels, identity, x, y)
    angle = _directions(canvas.labels, identity, x, y)
    return Drawing(
        smooth, canvas.labels, landmarks.astype(np.float32), strands=strands, pores=pores, freckles=spots, angle=angle
    )


@dataclass(frozen=True)
class Shades:
    """By how much light changes colours, (S, S) each.

    Attributes:
        plain: of what is flat.
        skin: of the head, which is round.
        hair: which has a soft gloss on the side of the light.
    """

    plain: Float
    skin: Float
    hair: Float

    @classmethod
    def of(cls, view: FaceView, x: Float, y: Float) -> Self:
        """Return the shades of a lit view at x and y (S, S) in the head's frame."""
        light = math.cos(view.light) * x + math.sin(view.light) * y
        plain = 1 + view.contrast * np.clip(light, -1.6, 1.6)
        skin = plain * (1.03 - 0.1 * np.clip(x**2 + (0.75 * y) ** 2, 0, 1.5))
        gloss = np.exp(-(((np.hypot(x, y + 0.1) - 1.08) / 0.16) ** 2)) * np.clip(0.6 + 0.4 * light, 0, 1)
        return cls(plain, skin, plain * (0.92 + 0.2 * gloss))


def paint_face(
    canvas: Surface,
    identity: Identity,
    expression: Expression,
    place: FramePlacement,
    shades: Shades,
    light: float,
) -> Float:
    """Paint a person over a background, without strands and grain.

    Args:
        canvas: to paint on.
        identity: who it is and what it wears.
        expression: what the face does.
        place: where the head is and how it is turned.
        shades: by which it is lit.
        light: direction that the light comes from, radians.

    Returns:
        (68, 2) landmarks, xy pixels.
    """
    points, depth = geometry.landmarks(identity, expression)
    landmarks = place.head(points, depth)
    _paint_hair_behind(canvas, identity, place, shades.hair)
    _paint_body(canvas, identity, place, shades.plain)
    _paint_head(canvas, identity, place, expression, shades.skin)
    _paint_nose(canvas, identity, place, points, depth, shades.skin, light)
    _paint_mouth(canvas, identity, landmarks, expression, shades.plain)
    _paint_eyes(canvas, identity, place, landmarks, expression, shades.plain)
    _paint_hair_in_front(canvas, identity, place, shades.hair)
    _paint_glasses_and_hat(canvas, identity, place, shades.plain)
    return landmarks


def _band(line: Float, thickness: float) -> Float:
    """Return the outline of a band below a line (N, 2); above it if ``thickness`` is negative."""
    return np.concatenate([line, line[::-1] + np.array([0, thickness])])


def background(view: FaceView, size: int) -> Float:
    """Return what is behind the person, (size, size, 3) RGB in [0, 1]."""
    ramp = (np.arange(size) + 0.5) / size * 2 - 1
    along = np.cos(view.direction) * ramp[None] + np.sin(view.direction) * ramp[:, None]
    share = (along / math.sqrt(8) + 0.5)[..., None]
    first, second = np.array(view.background)
    return first * (1 - share) + second * share


def _paint_hair_behind(canvas: Surface, identity: Identity, place: FramePlacement, shade: Float) -> None:
    hair = identity.hair
    if hair.bald:
        return
    width, end = identity.width + hair.volume, max(hair.length, 0.2)
    flare = 0.1 + 0.12 * end if hair.length > 0.5 else 0.0
    side = [[width, 0.0], [width + flare, 0.55 * end], [width + flare, 0.85 * end], [0.75 * width, end], [0.0, end]]
    right = curve(np.array(side))
    left = right[::-1] * [-1, 1]
    outline = np.concatenate([left, arc(width, geometry.SKULL + hair.volume)[::-1], right])
    canvas.paint(place.head(outline, -0.2), colour=hair.colour, label=Label.HAIR, shade=shade * 0.86)


def _paint_body(canvas: Surface, identity: Identity, place: FramePlacement, shade: Float) -> None:
    outfit = identity.outfit
    half = curve(np.array([[0.5, 0.6], [0.48, 1.3], [0.6, 1.65], [1.2, 2.0], [1.2, 3.0]]))
    neck = np.concatenate([half, half[::-1] * [-1, 1]])
    canvas.paint(place.body(neck), colour=identity.skin, label=Label.NECK, shade=shade * 0.9)
    # The shadow of the chin.
    canvas.paint(place.body(ellipse(0, 1.05, 0.7, 0.5)), colour=identity.skin, shade=shade * 0.72, within=Label.NECK)
    side = [[0.56, 1.5], [0.75, 1.56], [1.35, 1.75], [1.9, 2.1], [2.2, 3.0]]
    right = curve(np.array(side))
    collar = curve(np.array([[-0.56, 1.5], [-0.4, 1.62 + 0.6 * outfit.neckline], [0, 1.66 + outfit.neckline]]))
    collar = np.concatenate([collar, collar[-2::-1] * [-1, 1]])
    outline = np.concatenate([right[::-1] * [-1, 1], collar, right])
    canvas.paint(place.body(outline), colour=outfit.cloth, label=Label.CLOTH, shade=shade)
    canvas.paint(place.body(_band(collar[::-1], 0.13)), colour=outfit.cloth, shade=shade * 0.8)
    if outfit.necklace is not None:
        chain = curve(np.array([[-0.5, 1.42], [-0.34, 1.58], [0.0, 1.66], [0.34, 1.58], [0.5, 1.42]]))
        outline = _band(chain, 0.13)
        canvas.paint(place.body(outline), colour=outfit.necklace, label=Label.NECK_L)


def _paint_head(
    canvas: Surface, identity: Identity, place: FramePlacement, expression: Expression, shade: Float
) -> None:
    for side, label in ((-1, Label.L_EAR), (1, Label.R_EAR)):
        x, size = side * 1.03 * identity.width, identity.ears
        canvas.paint(
            place.head(ellipse(x, 0.14, 0.17 * size, 0.29 * size), -0.35),
            colour=identity.skin,
            label=label,
            shade=shade,
        )
        inner = place.head(ellipse(x, 0.14, 0.09 * size, 0.18 * size), -0.35)
        canvas.paint(inner, colour=identity.skin, shade=shade * 0.82)
        if identity.outfit.earrings is not None:
            drop = place.head(ellipse(x * 1.03, 0.14 + 0.38 * size, 0.11, 0.13), -0.35)
            canvas.paint(drop, colour=identity.outfit.earrings, label=Label.EAR_R)
    jaw = geometry.jaw_line(identity, expression, 49)
    # The landmarks of the jaw have the same depth.
    depth = np.concatenate([0.3 * np.clip(1 - jaw[:, 0] ** 2, 0, None), np.zeros(33)])
    outline = np.concatenate([jaw, arc(identity.width, geometry.SKULL)])
    canvas.paint(place.head(outline, depth), colour=identity.skin, label=Label.SKIN, shade=shade)
    for side in (-1, 1):
        cheek = np.array([[side * 0.55, 0.45]])
        middle = place.head(cheek, face_depth(cheek))[0]
        canvas.tint((1.0, 0.84, 0.84), place.spot(middle, 0.22, canvas.size), Label.SKIN)


def _paint_nose(
    canvas: Surface, identity: Identity, place: FramePlacement, points: Float, depth: Float, shade: Float, light: float
) -> None:
    width = 0.17 * identity.nose_width
    top, base = points[geometry.BRIDGE][0], points[geometry.NOSE_BASE]
    tip = base[0, 1]
    side = curve(np.array([[0.07, top[1]], [0.08, tip - 0.26], [width * 1.12, tip - 0.1], [width * 1.2, tip], base[4]]))
    bottom = curve(base[::-1])[1:-1]
    outline = np.concatenate([side, bottom, side[::-1] * [-1, 1]])
    raised = face_depth(outline) + np.interp(outline[:, 1], [top[1], tip - 0.1], [0.06, 0.14])
    canvas.paint(place.head(outline, raised), colour=identity.skin, label=Label.NOSE, shade=shade * 1.03)
    # The side away from the light is darker.
    away = -1.0 if np.cos(light) > 0 else 1.0
    edge = np.concatenate([side * [away, 1], side[::-1] * [away * 0.55, 1]])
    raised = face_depth(edge) + np.interp(edge[:, 1], [top[1], tip - 0.1], [0.06, 0.16])
    canvas.paint(place.head(edge, raised), colour=identity.skin, shade=shade * 0.86, within=Label.NOSE)
    for x in (-0.5, 0.5):
        nostril = ellipse(x * width, tip + 0.025, 0.05, 0.03)
        canvas.paint(place.head(nostril, face_depth(nostril) + 0.14), colour=identity.skin, shade=shade * 0.5)
    tip_light = ellipse(0, tip - 0.1, 0.07, 0.06)
    canvas.paint(place.head(tip_light, face_depth(tip_light) + 0.3), colour=(1, 1, 1), opacity=0.22)


def _paint_mouth(canvas: Surface, identity: Identity, marks: Float, expression: Expression, shade: Float) -> None:
    outer, inner = marks[geometry.OUTER_LIP], marks[geometry.INNER_LIP]
    upper_outer, lower_outer = curve(outer[:7]), curve(np.concatenate([outer[6:], outer[:1]]))
    upper_inner, lower_inner = curve(inner[:5]), curve(np.concatenate([inner[4:], inner[:1]]))
    if expression.mouth > 0:
        hole = np.concatenate([upper_inner, lower_inner])
        canvas.paint(hole, colour=(0.35, 0.1, 0.1), label=Label.MOUTH)
        teeth = np.concatenate([upper_inner, upper_inner[::-1] + 0.35 * (lower_inner - upper_inner[::-1])])
        canvas.paint(teeth, colour=(0.95, 0.94, 0.9), shade=shade, within=Label.MOUTH)
    upper = np.concatenate([upper_outer, upper_inner[::-1]])
    lower = np.concatenate([lower_outer, lower_inner[::-1]])
    canvas.paint(upper, colour=identity.lip_colour, label=Label.U_LIP, shade=shade * 0.9)
    canvas.paint(lower, colour=identity.lip_colour, label=Label.L_LIP, shade=shade * 1.04)
    if expression.mouth == 0:
        line = _band(upper_inner, 0.012 * canvas.size)
        canvas.paint(line, colour=identity.lip_colour, shade=shade * 0.6)


def _paint_eyes(
    canvas: Surface, identity: Identity, place: FramePlacement, marks: Float, expression: Expression, shade: Float
) -> None:
    outfit = identity.outfit
    if outfit.glasses is not None:
        lens, tint = ((0.12, 0.12, 0.16), 0.9) if outfit.shades else ((0.85, 0.92, 1.0), 0.2)
        for _, inner in _lenses(identity, place):
            canvas.paint(inner, colour=lens, label=Label.EYE_G, opacity=tint)
    gaze = np.array(expression.gaze) * [0.09, 0.05]
    for side, eye, brow, labels in (
        (-1, geometry.LEFT_EYE, geometry.LEFT_BROW, (Label.L_EYE, Label.L_BROW)),
        (1, geometry.RIGHT_EYE, geometry.RIGHT_BROW, (Label.R_EYE, Label.R_BROW)),
    ):
        if not (outfit.glasses and outfit.shades):
            lid = curve(marks[eye][:4])
            outline = np.concatenate([lid, curve(np.concatenate([marks[eye][3:], marks[eye][:1]]))])
            canvas.paint(outline, colour=(0.95, 0.95, 0.94), label=labels[0], shade=shade)
            middle = np.array([[side * 0.43 * identity.eye_distance, geometry.EYES - 0.01]]) + gaze
            pupil = place.head(middle, face_depth(middle))[0] / place.scale
            for radius, colour in ((0.125, identity.iris), (0.06, (0.06, 0.05, 0.06))):
                disc = ellipse(pupil[0], pupil[1], radius * identity.eye_size, radius * identity.eye_size) * place.scale
                canvas.paint(disc, colour=colour, within=labels[0])
            spark = ellipse(pupil[0] + 0.045, pupil[1] - 0.05, 0.035, 0.035) * place.scale
            canvas.paint(spark, colour=(1, 1, 1), opacity=0.9, within=labels[0])
            lashes = _band(lid, -0.05 * place.scale)
            canvas.paint(lashes, colour=np.array(identity.hair.colour) * 0.4, opacity=0.85)
        ridge = curve(marks[brow])
        taper = np.interp(np.linspace(0, 1, len(ridge)), [0, 0.3, 0.7, 1], [0.5, 1, 1, 0.5])
        half = np.outer(taper, [0, 0.065 * identity.brow_thickness * place.scale])
        outline = np.concatenate([ridge - half, (ridge + half)[::-1]])
        canvas.paint(outline, colour=np.array(identity.hair.colour) * 0.75, label=labels[1], shade=shade)


def _lenses(identity: Identity, place: FramePlacement) -> list[tuple[Float, Float]]:
    """Return the outer and inner outline of the frames of both glasses, xy pixels."""
    width, height = (0.34, 0.34) if identity.outfit.round_glasses else (0.37, 0.26)
    frames = []
    for side in (-1, 1):
        x, power = side * 0.44 * identity.eye_distance, 1.0 if identity.outfit.round_glasses else 0.6
        unit = ellipse(0, 0, 1, 1, 40)
        unit = np.sign(unit) * np.abs(unit) ** power
        pair = [unit * [width - rim, height - rim] + [x, geometry.EYES + 0.03] for rim in (0.0, 0.075)]
        frames.append((place.head(pair[0], face_depth(pair[0]) + 0.1), place.head(pair[1], face_depth(pair[1]) + 0.1)))
    return frames


def _paint_hair_in_front(canvas: Surface, identity: Identity, place: FramePlacement, shade: Float) -> None:
    hair = identity.hair
    if hair.bald:
        return
    width = identity.width + hair.volume
    top = arc(width, geometry.SKULL + hair.volume)
    heights = hair.hairline
    line = [[-identity.width * 0.97, 0.08], [-identity.width * 0.9, -0.3]]
    line += [[x, height] for x, height in zip((-0.75, -0.4, 0.0, 0.4, 0.75), heights, strict=True)]
    line += [[identity.width * 0.9, -0.3], [identity.width * 0.97, 0.08]]
    hairline = curve(np.array(line))
    outline = np.concatenate([top, hairline])
    depth = np.concatenate([np.zeros(len(top)), 0.7 * face_depth(hairline)])
    canvas.paint(place.head(outline, depth), colour=hair.colour, label=Label.HAIR, shade=shade)
    if hair.length < 0.5:
        return
    end, flare = hair.length, 0.1 + 0.12 * hair.length
    for side in (-1, 1):
        outer = curve(
            np.array(
                [[width, -0.3], [width + 0.3 * flare, 0.2], [width + flare, 0.6 * end], [width + 0.5 * flare, end]]
            )
        )
        inner = curve(
            np.array(
                [
                    [width - 0.05, end],
                    [width - 0.12, 0.6 * end],
                    [identity.width * 0.86, 0.1],
                    [identity.width * 0.86, -0.3],
                ]
            )
        )
        lock = np.concatenate([outer, inner]) * [side, 1]
        canvas.paint(place.head(lock, 0.0), colour=hair.colour, label=Label.HAIR, shade=shade)


def _paint_glasses_and_hat(canvas: Surface, identity: Identity, place: FramePlacement, shade: Float) -> None:
    outfit = identity.outfit
    if outfit.glasses is not None:
        for outer, inner in _lenses(identity, place):
            canvas.paint(outer, inner, colour=outfit.glasses, label=Label.EYE_G)
        bar = _band(np.array([[-0.12, geometry.EYES - 0.09], [0.12, geometry.EYES - 0.09]]), 0.08)
        canvas.paint(place.head(bar, 0.95), colour=outfit.glasses, label=Label.EYE_G)
    if outfit.hat is not None:
        width = identity.width + identity.hair.volume + 0.06
        rim = curve(np.array([[-width, -0.5], [-0.5, -0.68], [0.0, -0.72], [0.5, -0.68], [width, -0.5]]))
        dome = arc(width, geometry.SKULL + identity.hair.volume - 0.36, -0.5)
        depth = np.concatenate([np.zeros(len(dome)), 0.5 * face_depth(rim)])
        canvas.paint(place.head(np.concatenate([dome, rim]), depth), colour=outfit.hat, label=Label.HAT, shade=shade)
        band = _band(rim, -0.22)
        depth = 0.5 * np.concatenate([face_depth(rim), face_depth(rim[::-1])])
        canvas.paint(place.head(band, depth), colour=outfit.hat, shade=shade * 0.75, within=Label.HAT)
        if outfit.brim:
            brim = ellipse(0, -0.6, 1.65, 0.17, 40)
            canvas.paint(place.head(brim, 0.25), colour=outfit.hat, label=Label.HAT, shade=shade * 0.88)


def _contrasts(smooth: Float, labels: NDArray, identity: Identity, x: Float, y: Float) -> tuple[Float, Float, Float]:
    """Return how strong strands, pores and freckles are, such that colours never leave [0, 1]."""
    room = np.minimum(smooth, 1 - smooth)
    strong = np.zeros(len(Label), np.float32)
    strong[list(HAIRY)] = identity.hair.contrast * np.array([1, BROW_CONTRAST, BROW_CONTRAST])
    strands = np.minimum(strong[labels][..., None], room / BOUND)
    bare = np.isin(range(len(Label)), BARE).astype(np.float32)[labels][..., None]
    pores = np.minimum(GRAIN * bare, room / (2 * BOUND))
    # Freckles are on the cheeks and the nose, and darken blue and green more than red.
    where = identity.freckles * np.exp(-((x / 0.8) ** 2) - ((y - 0.3) / 0.3) ** 2)
    spots = np.minimum(FRECKLES * bare * where[..., None] * np.array([0.7, 1.0, 1.0], np.float32), room / 2)
    return strands, pores, spots


def _directions(labels: NDArray, identity: Identity, x: Float, y: Float) -> Float:
    """Return the direction of strands: from the parting outwards and down, in waves; brows from the nose outwards."""
    hair = identity.hair
    across, along = x - hair.parting * np.clip(1 - np.abs(y + 1.3), 0, 1), y + 1.5
    # Below the eyes hair hangs.
    across = across * np.clip(1 - 0.6 * (y + 0.3), 0.1, 1)
    angle = np.arctan2(np.clip(along, 0.05, None), across)
    angle = angle + hair.waves * np.sin(5 * y + 3 * x)
    brow = np.where(x < 0, np.pi - 2.8, 2.8)
    return np.where(labels == Label.HAIR, angle, brow).astype(np.float32)
