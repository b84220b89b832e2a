"""Individual objects under several views: a query, easy and hard views of it, and one that hides it.

An individual is one ``SceneObject``: its hues, textures, proportions and bent parts stay; turn, scale, place,
background, light and what stands around or in front of it change. Everything is a pure function of (seed, number).
"""

from dataclasses import dataclass, replace

import numpy as np

from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.scenes import Scene, SceneObject, background, compose, generator, sample_object
from datamodules.procedural.scenes.subjects import clutter_around

# Streams of random numbers, apart from those of scenes and subjects.
INDIVIDUAL, VIEW = 5, 6


@dataclass(frozen=True)
class Change:
    """How a view differs from the query.

    Attributes:
        turn: range of the additional turn in degrees, to either side.
        zoom: range of the factor on the scale.
        shift: of the centre at most, as a fraction of the image side, along x and along y.
        visible: range of the share of the object that nothing covers; None puts nothing in front of it.
        cover: range of the scale of what is in front, as a factor on the object's own.
    """

    turn: tuple[float, float]
    zoom: tuple[float, float]
    shift: float
    visible: tuple[float, float] | None = None
    cover: tuple[float, float] = (0.4, 0.7)


EASY = Change(turn=(2, 15), zoom=(0.85, 1.15), shift=0.08)
HARD = Change(turn=(40, 100), zoom=(0.65, 0.85), shift=0.12, visible=(0.6, 0.85))
# Less than a quarter visible is what the Oxford and Paris buildings call junk.
JUNK = Change(turn=(2, 15), zoom=(0.85, 1.15), shift=0.08, visible=(0.05, 0.22), cover=(0.9, 1.5))
# The views of an individual in the database, after view 0, which is the query.
VIEWS = (EASY,) * 3 + (HARD,) * 3 + (JUNK,)


def sample_individual(seed: int, number: int, class_index: int) -> SceneObject:
    """Draw individual ``number`` in the pose of its query.

    Args:
        seed: of the world.
        number: of the individual; any non-negative integer.
        class_index: position in ``CLASSES``.
    """
    rng = generator(seed, number, INDIVIDUAL)
    item = sample_object(rng, class_index, scale=(0.26, 0.34))
    return replace(item, centre=(float(rng.uniform(0.42, 0.58)), float(rng.uniform(0.42, 0.58))))


def render_view(seed: int, number: int, class_index: int, view: int, size: int = 128) -> tuple[Scene, int]:
    """Render a view of an individual.

    Args:
        seed: of the world.
        number: of the individual.
        class_index: of the individual.
        view: 0 the query, 1 to 3 easy, 4 to 6 hard, 7 mostly hidden.
        size: side of the square image in pixels.

    Returns:
        The scene and the position of the individual among its objects.
    """
    rng = generator(seed, number * (1 + len(VIEWS)) + view, VIEW)
    item, front = sample_individual(seed, number, class_index), []
    if view:
        change = VIEWS[view - 1]
        turn = rng.uniform(*change.turn) * rng.choice([-1, 1])
        x, y = item.centre + rng.uniform(-change.shift, change.shift, 2)
        scale = item.scale * rng.uniform(*change.zoom)
        item = replace(item, turn=float(item.turn + turn), scale=float(scale), centre=(float(x), float(y)))
        front = [] if change.visible is None else [cover_up(rng, item, change.visible, change.cover)]
    clutter = clutter_around(rng, item, int(rng.integers(2)))
    return compose(background(rng, size), (*clutter, item, *front), rng), len(clutter)


def cover_up(
    rng: np.random.Generator, item: SceneObject, visible: tuple[float, float], scale: tuple[float, float]
) -> SceneObject:
    """Draw an object of another class that, in front of ``item``, leaves a share of it visible.

    Args:
        rng: the view's random numbers.
        item: to be covered.
        visible: range of the share; what comes closest to its middle in 100 draws is taken if none is within.
        scale: range, as a factor on that of ``item``.
    """
    others = [k for k in range(len(CLASSES)) if k != item.class_index]
    smallest, largest = scale[0] * item.scale, scale[1] * item.scale
    drawn = []
    for _ in range(100):
        direction, distance = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1.2) * item.scale
        x, y = item.centre + distance * np.array([np.cos(direction), np.sin(direction)])
        cover = sample_object(rng, int(rng.choice(others)), scale=(smallest, largest))
        cover = replace(cover, centre=(float(x), float(y)))
        share = visible_share(item, cover)
        if visible[0] <= share <= visible[1]:
            return cover
        drawn.append((abs(share - sum(visible) / 2), cover))
    return min(drawn, key=lambda each: each[0])[1]


def visible_share(item: SceneObject, cover: SceneObject, size: int = 48) -> float:
    """Return which share of an object's pixels within the picture another one in front of it leaves visible."""
    blank, rng = np.zeros((size, size, 3)), np.random.default_rng(0)  # for the sensor noise, which is not looked at
    whole = (compose(blank, (item,), rng).instances == 1).sum()
    return float((compose(blank, (item, cover), rng).instances == 1).sum() / max(whole, 1))
