"""Which annotations a sparsely annotated data set lacks: the splits of thesis section 3.3.2 and SIOD (3.3.5).

Every split is the same step with other groups: what there is to remove stands in a random queue for each group, and
the front of the queue goes. The queue does not depend on how much is removed, so with one seed a lower percentage
(or an easier level) removes a subset of what a higher one removes, except from split 5 with ``refill``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.detection.sparse.queues import Units, by_pair, queues
from visionscapes.errors import UserError

ROUNDINGS, COUNTS, LEVELS = ("floor", "round", "ceil", "random"), ("images", "annotations"), ("easy", "hard", "extreme")


@dataclass(frozen=True)
class SplitOptions:
    """What the thesis leaves open.

    Attributes:
        rounding: of p% of n where that is no whole number: "floor", "round" (halves up), "ceil", or "random", up with
            the probability of the fraction, which keeps p% on average. With "floor" a single annotation (split 1, 3)
            or class (split 2) of a group always stays, and much less than p% goes where groups are small.
        ensure_one: split 2 leaves each image a class. Section 3.3.2 says that images may lose everything, 3.3.5 that
            one annotation is kept; below 100% "floor" never empties an image, so it matters for the other roundings.
        count: of which split 5 takes p% for a class: "images", those that hold the class, or "annotations" of it;
            then a class leaves images until the next one would make it more than p% (or as ``rounding`` says).
        refill: split 5 takes a class out of another image in place of one that it would have emptied. Without, less
            than p% goes, above all of classes that are often alone in an image; with, a class falls short of p% only
            if it is alone in every image that it is left in.
    """

    rounding: str = "floor"
    ensure_one: bool = False
    count: str = "images"
    refill: bool = False


DEFAULTS = SplitOptions()


def choose_removed(
    images: NDArray[np.int64],
    labels: NDArray[np.int64],
    split: str,
    percent: float | None = None,
    level: str | None = None,
    seed: int = 0,
    protected: NDArray[np.bool_] | None = None,
    options: SplitOptions = DEFAULTS,
    ids: NDArray[np.int64] | None = None,
) -> NDArray[np.bool_]:
    """Choose the annotations that a split takes away.

    The choice depends on the seed, the ids and what shares an image or a class, but not on the order of the
    annotations, nor on protected ones.

    Args:
        images: (N,) int64, the image of every annotation; any numbers, equal for the same image.
        labels: (N,) int64, its class; any numbers, equal for the same class.
        split: "1" to "5" or "siod".
        percent: p, to remove, in [0, 100], for splits 1, 2, 3 and 5; None for the others. At 100 splits 1 and 2
            remove everything (``ensure_one`` aside), split 3 leaves each image an annotation and split 5 a class.
        level: "easy", "hard" or "extreme" for split 4, None for the others.
        seed: of the choice, not negative.
        protected: (N,) bool, crowds and difficult objects: never removed and not counted; None for none.
        options: what the thesis leaves open.
        ids: (N,) int64, all different; the places 0 to N - 1 if None.

    Returns:
        (N,) bool: what is removed.

    Raises:
        UserError: a split, percentage, level, seed or option that does not exist or does not go together.
    """
    check_split(split, percent, level, seed, options)
    ids = np.arange(len(images)) if ids is None else np.asarray(ids)
    free = np.ones(len(images), bool) if protected is None else ~np.asarray(protected, bool)
    if not len(images) == len(labels) == len(ids) == len(free) or len(np.unique(ids)) < len(ids):
        raise ValueError("images, labels, protected and ids need one entry for every annotation, and ids differ")
    order = np.argsort(ids)
    order = order[free[order]]  # protected ones draw no numbers either
    removed = np.zeros(len(images), bool)
    if len(order):
        keys, chances = np.random.default_rng(seed).random((2, len(order)))
        _, image_index = np.unique(np.asarray(images)[order], return_inverse=True)
        _, class_index = np.unique(np.asarray(labels)[order], return_inverse=True)
        units = Units(image_index, class_index, keys, chances=chances, weights=np.ones(len(order), np.int64))
        removed[order] = RULES[split](units, level if split == "4" else percent, options)
    return removed


def check_split(split: str, percent: float | None, level: str | None, seed: int, options: SplitOptions) -> None:
    """Raise the UserError of `choose_removed`, if there is one.

    Raises:
        UserError: no such split, or options that do not belong to it.
    """
    if split not in RULES:
        raise UserError(f"there is no split {split!r}; choose one of {', '.join(RULES)}")
    if split == "siod":
        valid, takes = percent is None and level is None, "neither a percentage nor a level"
    elif split == "4":
        valid, takes = percent is None and level in LEVELS, f"a level ({', '.join(LEVELS)}) and no percentage"
    else:
        valid = level is None and percent is not None and 0 <= percent <= 100  # nan is not
        takes = "a percentage to remove, from 0 to 100, and no level"
    if not valid:
        raise UserError(f"split {split} takes {takes}, but the percentage is {percent} and the level {level}")
    if seed < 0:
        raise UserError(f"a seed is 0 or more, not {seed}")
    if options.rounding not in ROUNDINGS:
        raise UserError(f"rounding is one of {', '.join(ROUNDINGS)}, not {options.rounding!r}")
    if options.count not in COUNTS:
        raise UserError(f"count is one of {', '.join(COUNTS)}, not {options.count!r}")
    used = {"2": ["ensure_one"], "5": ["count", "refill"]}.get(split, [])
    used += [] if split == "siod" or level in ("easy", "extreme") else ["rounding"]
    for name in DEFAULTS.__dict__.keys() - used:
        if getattr(options, name) != getattr(DEFAULTS, name):
            raise UserError(f"{name} makes no difference to split {split}{f' {level}' if level else ''}: leave it out")


def per_class(units: Units, percent: float, options: SplitOptions) -> NDArray[np.bool_]:
    """Split 1: remove p% of the annotations of every class of the data set."""
    return queues(units, units.labels, options.rounding).due(percent)


def classes_per_image(units: Units, percent: float, options: SplitOptions) -> NDArray[np.bool_]:
    """Split 2: remove p% of the classes of every image, with all their annotations in it."""
    pairs, pair_of = by_pair(units)
    queue = queues(pairs, pairs.images, options.rounding)
    gone = queue.due(percent)
    return (gone & queue.all_but_one() if options.ensure_one else gone)[pair_of]


def per_image(units: Units, percent: float, options: SplitOptions) -> NDArray[np.bool_]:
    """Split 3: remove p% of the annotations of every image, whatever their class, but never all."""
    queue = queues(units, units.images, options.rounding)
    return queue.due(percent) & queue.all_but_one()


def per_image_level(units: Units, level: str, options: SplitOptions) -> NDArray[np.bool_]:
    """Split 4: remove one ("easy"), half ("hard") or all but one ("extreme") of every image's annotations.

    The splits of Co-mining (table 3.8) are the same on COCO. An image never loses its last annotation.
    """
    queue = queues(units, units.images, options.rounding)
    chosen = {"easy": lambda: queue.before < 1, "hard": lambda: queue.due(50), "extreme": queue.all_but_one}
    return chosen[level]() & queue.all_but_one()


def classes_of_data_set(units: Units, percent: float, options: SplitOptions) -> NDArray[np.bool_]:
    """Split 5: remove every class from p% of the images that hold it, but never the last class of an image.

    The classes queue up side by side: the percentage grows, and what would empty an image when its turn comes stays.
    """
    pairs, pair_of = by_pair(units, options.count == "annotations")
    queue = queues(pairs, pairs.labels, options.rounding)
    order = np.lexsort((pairs.keys, queue.turn / queue.total))
    if options.refill:
        return refilled(pairs, order, queue.room(percent))[pair_of]
    place, last = np.argsort(order), np.zeros(pairs.images.max() + 1, np.int64)
    np.maximum.at(last, pairs.images, place)
    return (queue.due(percent) & (place < last[pairs.images]))[pair_of]


def refilled(pairs: Units, order: NDArray[np.int64], room: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return (U,) bool: split 5 where a class that must stay in an image leaves one further back in its queue.

    Args:
        pairs: the classes of each image.
        order: (U,) int64, pairs as their turn comes.
        room: (U,) float64, how much of its class may be gone before a pair so that it may go too.
    """
    left, gone = np.bincount(pairs.images), np.zeros(pairs.labels.max() + 1, np.int64)
    removed = np.zeros(len(order), bool)
    for pair in order:
        image, label = pairs.images[pair], pairs.labels[pair]
        if left[image] > 1 and gone[label] <= room[pair]:
            removed[pair] = True
            left[image] -= 1
            gone[label] += pairs.weights[pair]
    return removed


def one_per_class_and_image(units: Units, percent: None, options: SplitOptions) -> NDArray[np.bool_]:
    """SIOD: remove all but one annotation of each class in each image."""
    _, pair_of = by_pair(units)
    return queues(units, pair_of, options.rounding).all_but_one()


RULES: dict[str, Callable[[Units, Any, SplitOptions], NDArray[np.bool_]]] = {
    "1": per_class,
    "2": classes_per_image,
    "3": per_image,
    "4": per_image_level,
    "5": classes_of_data_set,
    "siod": one_per_class_and_image,
}
