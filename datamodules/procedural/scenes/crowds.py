"""Crowded scenes for detection: many objects of several sizes that cover one another, several of one class in view.

Everything is a pure function of (seed, index).
"""

from dataclasses import dataclass, replace

import numpy as np

from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.scenes import Scene, background, compose, generator, sample_object

CROWD = 7  # stream of random numbers, apart from those of the other scenes
# Of an object that is covered up to this many pixels nobody could tell the class: it is not annotated.
LEAST_PIXELS = 30
SAME_CLASS = 0.5  # how often an object is of a class that is in the scene already: things of a kind come together


@dataclass(frozen=True)
class Crowd:
    """How crowded scenes are.

    Attributes:
        objects: fewest and most in a scene.
        scale: range of half an object's extent as a fraction of the image side.
        tail: exponent of the class frequencies, 0 for uniform classes.
    """

    objects: tuple[int, int] = (3, 9)
    scale: tuple[float, float] = (0.07, 0.2)
    tail: float = 0.7


def render_crowd(seed: int, index: int, size: int, crowd: Crowd) -> Scene:
    """Render crowded scene ``index``.

    Args:
        seed: of the world.
        index: of the scene; any non-negative integer.
        size: side of the square image in pixels.
        crowd: how many objects and which.
    """
    rng = generator(seed, index, CROWD)
    frequency = 1.0 / np.arange(1, len(CLASSES) + 1) ** crowd.tail
    objects: list = []
    for _ in range(int(rng.integers(crowd.objects[0], crowd.objects[1] + 1))):
        class_index = int(rng.choice(len(CLASSES), p=frequency / frequency.sum()))
        if objects and rng.uniform() < SAME_CLASS:
            class_index = objects[int(rng.integers(len(objects)))].class_index
        item = sample_object(rng, class_index, scale=crowd.scale)
        place = rng.uniform(0.07, 0.93, 2)
        objects.append(replace(item, centre=(float(place[0]), float(place[1]))))
    # The largest is painted first, or it would hide what stands behind it.
    objects.sort(key=lambda item: -item.scale)
    return compose(background(rng, size), tuple(objects), rng)


def recognisable(scene: Scene) -> np.ndarray:
    """Return (N,) bool: the objects of which enough is visible to be annotated."""
    counts = np.bincount(scene.instances.ravel(), minlength=len(scene.objects) + 1)[1:]
    return counts >= LEAST_PIXELS
