"""Pictures of one labelled subject each, with the words that describe them.

Everything is a pure function of (seed, index). The subject is the last object of its scene, so nothing covers it; up to
two smaller objects of other classes are painted before it. A picture of 80 x 80 pixels costs about three milliseconds.
"""

from dataclasses import replace

import numpy as np

from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.scenes import Scene, SceneObject, background, compose, generator, sample_object

# Streams of random numbers; 0, 1 and 2 are those of scenes, pairs and videos.
PICTURE, WORDS = 3, 4
# An object of which less than this share of the picture is visible is not worth mentioning.
LEAST_MENTIONED = 0.004


def render_subject(seed: int, index: int, size: int = 80) -> Scene:
    """Render picture ``index``; its subject ``objects[-1]`` is of class ``index % 12``, so the classes are balanced.

    Args:
        seed: of the world.
        index: of the picture; any non-negative integer.
        size: side of the square image in pixels.
    """
    rng = generator(seed, index, PICTURE)
    subject = sample_subject(rng, index % len(CLASSES))
    return compose(background(rng, size), (*clutter_around(rng, subject, int(rng.integers(3))), subject), rng)


def sample_subject(rng: np.random.Generator, class_index: int) -> SceneObject:
    """Draw an object that is large enough, and near enough to the middle, to be what the picture shows."""
    subject = sample_object(rng, class_index, scale=(0.2, 0.36))
    return replace(subject, centre=(float(rng.uniform(0.33, 0.67)), float(rng.uniform(0.33, 0.67))))


def clutter_around(rng: np.random.Generator, subject: SceneObject, count: int) -> list[SceneObject]:
    """Draw ``count`` small objects of other classes, where the picture has room for them."""
    others = [k for k in range(len(CLASSES)) if k != subject.class_index]
    placed = [subject]
    for class_index in rng.choice(others, count, replace=False):
        item = sample_object(rng, int(class_index), scale=(0.09, 0.15))
        candidates = rng.uniform(0.12, 0.88, (6, 2))
        room = [min(np.hypot(*(place - other.centre)) - other.scale for other in placed) for place in candidates]
        x, y = candidates[int(np.argmax(room))]
        placed.append(replace(item, centre=(float(x), float(y))))
    return placed[1:]


def describe(seed: int, index: int, scene: Scene) -> str:
    """Return a caption of picture ``index``: "a photo of a large fish on the left with a small car below it".

    The class of the subject is always named, its size and its place in the picture most of the time. Clutter is placed
    relative to the subject, which stays true when the picture is cropped; the subject's own place is that in the
    whole picture. Nothing here is true of a mirrored picture.

    Args:
        seed: of the world.
        index: of the picture.
        scene: what ``render_subject`` returned for them.
    """
    rng = generator(seed, index, WORDS)
    subject = scene.objects[-1]
    words = [str(rng.choice(["", "a photo of", "a picture of", "there is"])), "a"]
    if rng.uniform() < 0.75:
        words.append("small" if subject.scale < 0.25 else "large" if subject.scale > 0.31 else "medium")
    words.append(subject.object_class.name)
    if rng.uniform() < 0.75:
        words.append(_place(subject))
    shares = np.bincount(scene.instances.ravel(), minlength=len(scene.objects) + 1) / scene.instances.size
    seen = [item for n, item in enumerate(scene.objects[:-1], 1) if shares[n] >= LEAST_MENTIONED]
    clutter = [f"a tiny {item.object_class.name} {_relation(item, subject)}" for item in seen]
    words += ["with", " and ".join(clutter)] if clutter else []
    return " ".join(word for word in words if word)


def _place(item: SceneObject) -> str:
    """Return where an object is in the whole picture."""
    x, y = item.centre
    across = "left" if x < 0.45 else "right" if x > 0.55 else ""
    along = "top" if y < 0.45 else "bottom" if y > 0.55 else ""
    if along:
        return f"at the {along} {across}".strip()
    return f"on the {across}" if across else "in the middle"


def _relation(item: SceneObject, subject: SceneObject) -> str:
    """Return on which side of the subject an object is."""
    x, y = np.subtract(item.centre, subject.centre)
    if abs(x) > abs(y):
        return "to its left" if x < 0 else "to its right"
    return "above it" if y < 0 else "below it"
