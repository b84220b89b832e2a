"""The splits against what the thesis says of them, counted in plain Python."""

import math
from collections import Counter, defaultdict
from fractions import Fraction
from itertools import combinations

import hypothesis
import numpy as np
import pytest
from hypothesis import assume
from hypothesis import strategies as st

from datamodules.detection.sparse.splits import DEFAULTS, LEVELS, RULES, SplitOptions, choose_removed
from visionscapes.errors import UserError

WITH_PERCENT = "1", "2", "3", "5"
PERCENT = st.integers(0, 100) | st.integers(0, 1000).map(lambda number: number / 10)
WHOLE = ["floor", "round", "ceil"]  # roundings without chance


def given(*strategies):
    """Return hypothesis' given without its limit of time, which a busy machine exceeds."""
    return lambda test: hypothesis.settings(deadline=None)(hypothesis.given(*strategies)(test))


@st.composite
def annotations(draw):
    """Keywords of choose_removed: up to 40 annotations of 6 images and 4 classes with ids in any order."""
    n = draw(st.integers(0, 40))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return {
        "images": rng.integers(0, 6, n) * 17 - 20,
        "labels": rng.integers(0, 4, n) * 5,
        "ids": rng.choice(1000, n, replace=False),
        "protected": rng.random(n) < draw(st.sampled_from([0, 0.2, 1])),
        "seed": draw(st.integers(0, 2**64)),
    }


@st.composite
def settings(draw, splits=tuple(RULES)):
    """Keywords of choose_removed: a split with options that it takes."""
    split = draw(st.sampled_from(splits))
    chosen = {"split": split}
    if split in WITH_PERCENT:
        chosen["percent"] = draw(PERCENT)
    if split == "4":
        chosen["level"] = draw(st.sampled_from(LEVELS))
    options = {}
    if split in WITH_PERCENT or chosen.get("level") == "hard":
        options["rounding"] = draw(st.sampled_from([*WHOLE, "random"]))
    if split == "2":
        options["ensure_one"] = draw(st.booleans())
    if split == "5":
        options |= {"count": draw(st.sampled_from(["images", "annotations"])), "refill": draw(st.booleans())}
    return chosen | {"options": SplitOptions(**options)}


def rounded(percent, n, rounding):
    exact = Fraction(str(percent)) * n / 100
    return {"floor": math.floor(exact), "round": math.floor(exact + Fraction(1, 2)), "ceil": math.ceil(exact)}[rounding]


def counted(data, removed, *names):
    """Return {group: (annotations, removed ones)}, without protected ones."""
    found = defaultdict(lambda: [0, 0])
    for place in np.flatnonzero(~data["protected"]):
        group = tuple(int(data[name][place]) for name in names)
        found[group][0] += 1
        found[group][1] += int(removed[place])
    return found


def classes_of_images(data, removed):
    """Return the classes that each image had, and those it lost; fails if one is removed in part."""
    had, lost = defaultdict(set), defaultdict(set)
    for (image, label), (n, k) in counted(data, removed, "images", "labels").items():
        assert k in (0, n)
        had[image].add(label)
        lost[image] |= {label} if k else set()
    return had, lost


@given(annotations(), PERCENT, st.sampled_from(WHOLE))
def test_split_1_removes_the_percentage_of_every_class(data, percent, rounding):
    removed = choose_removed(split="1", percent=percent, options=SplitOptions(rounding), **data)
    for n, k in counted(data, removed, "labels").values():
        assert k == rounded(percent, n, rounding)


@given(annotations(), PERCENT, st.sampled_from(WHOLE), st.booleans())
def test_split_2_removes_the_percentage_of_the_classes_of_every_image(data, percent, rounding, ensure_one):
    removed = choose_removed(split="2", percent=percent, options=SplitOptions(rounding, ensure_one), **data)
    had, lost = classes_of_images(data, removed)
    for image in had:
        most = len(had[image]) - ensure_one
        assert len(lost[image]) == min(rounded(percent, len(had[image]), rounding), most)


@given(annotations(), PERCENT, st.sampled_from(WHOLE))
def test_split_3_removes_the_percentage_of_every_image_but_never_all(data, percent, rounding):
    removed = choose_removed(split="3", percent=percent, options=SplitOptions(rounding), **data)
    for n, k in counted(data, removed, "images").values():
        assert k == min(rounded(percent, n, rounding), n - 1)


@given(annotations())
def test_split_4_removes_one_half_or_all_but_one(data):
    for level, expected in {
        "easy": lambda n: min(1, n - 1),
        "hard": lambda n: n // 2,
        "extreme": lambda n: n - 1,
    }.items():
        removed = choose_removed(split="4", level=level, **data)
        for n, k in counted(data, removed, "images").values():
            assert k == expected(n)


def test_split_4_hard_is_split_3_at_50_percent():
    images, labels = np.arange(400) // 200, np.zeros(400, int)
    hard = choose_removed(images, labels, "4", level="hard")
    assert hard.sum() == 200
    assert (hard == choose_removed(images, labels, "3", 50)).all()


@given(annotations(), PERCENT, st.sampled_from(WHOLE))
def test_split_5_removes_classes_from_the_percentage_of_their_images_unless_that_empties_one(data, percent, rounding):
    removed = choose_removed(split="5", percent=percent, options=SplitOptions(rounding), **data)
    had, lost = classes_of_images(data, removed)
    assert all(had[image] - lost[image] for image in had)
    for label in set().union(*had.values()):
        due = rounded(percent, sum(label in classes for classes in had.values()), rounding)
        gone = sum(label in classes for classes in lost.values())
        alone = sum(had[image] - lost[image] == {label} for image in had)
        assert due - alone <= gone <= due


@given(annotations(), PERCENT, st.sampled_from(WHOLE))
def test_refilled_split_5_falls_short_only_of_classes_that_are_alone_wherever_they_are_left(data, percent, rounding):
    options = SplitOptions(rounding, refill=True)
    had, lost = classes_of_images(data, choose_removed(split="5", percent=percent, options=options, **data))
    kept = {image: had[image] - lost[image] for image in had}
    assert all(kept.values())
    for label in set().union(*had.values()):
        due = rounded(percent, sum(label in classes for classes in had.values()), rounding)
        gone = sum(label in classes for classes in lost.values())
        assert gone <= due
        assert gone == due or all(classes == {label} for classes in kept.values() if label in classes)


def test_refilling_reaches_the_percentage_where_it_can():
    # Class 0 is in ten images, alone in five of them, and with thirty other classes in the other five.
    images = np.concatenate([np.arange(10), np.repeat(np.arange(5), 30)])
    labels = np.concatenate([np.zeros(10, int), np.tile(np.arange(1, 31), 5)])
    plain, refilled = (
        [choose_removed(images, labels, "5", 30, seed=seed, options=options)[:10].sum() for seed in range(50)]
        for options in (DEFAULTS, SplitOptions(refill=True))
    )
    assert set(refilled) == {3}
    assert 1 < np.mean(plain) < 2  # of the three that are due, those in the images that it has for itself stay


@given(annotations(), PERCENT, st.booleans())
def test_split_5_can_count_annotations(data, percent, refill):
    options = SplitOptions(count="annotations", refill=refill)
    removed = choose_removed(split="5", percent=percent, options=options, **data)
    had, lost = classes_of_images(data, removed)
    assert all(had[image] - lost[image] for image in had)
    for n, k in counted(data, removed, "labels").values():
        assert 100 * k <= Fraction(str(percent)) * n


@pytest.mark.parametrize(("rounding", "expected"), [("floor", {0, 3}), ("round", {3, 7}), ("ceil", {7, 10})])
def test_split_5_takes_images_as_long_as_they_fit_into_the_percentage_of_annotations(rounding, expected):
    # Class 0 has three annotations in one image and seven in another: five are due. Both hold thirty other classes.
    images, labels = np.array([0] * 3 + [1] * 7 + [0, 1] * 30), np.array([0] * 10 + list(range(2, 62)))
    labels[10:] //= 2
    options = SplitOptions(rounding, count="annotations")
    removed = [choose_removed(images, labels, "5", 50, seed=seed, options=options)[:10].sum() for seed in range(60)]
    assert set(removed) == expected


@given(annotations())
def test_siod_keeps_one_of_each_class_in_each_image(data):
    removed = choose_removed(split="siod", **data)
    for n, k in counted(data, removed, "images", "labels").values():
        assert n - k == 1


@given(annotations(), settings())
def test_protected_annotations_are_neither_removed_nor_counted(data, chosen):
    removed = choose_removed(**data, **chosen)
    assert not (removed & data["protected"]).any()
    free = ~data["protected"]
    alone = {name: value[free] if name != "seed" else value for name, value in data.items()}
    assert (choose_removed(**alone, **chosen) == removed[free]).all()


@given(annotations(), settings(), st.randoms(use_true_random=False))
def test_the_order_and_the_numbers_of_images_and_classes_do_not_matter(data, chosen, random):
    removed = choose_removed(**data, **chosen)
    order = random.sample(range(len(removed)), len(removed))
    other = {name: value[order] if name != "seed" else value for name, value in data.items()}
    for name in ("images", "labels"):
        names = sorted(set(data[name].tolist()))
        renamed = dict(zip(names, random.sample(range(100), len(names)), strict=True))
        other[name] = np.array([renamed[int(each)] for each in other[name]], np.int64)
    assert (choose_removed(**other, **chosen) == removed[order]).all()


@given(annotations(), settings(WITH_PERCENT), PERCENT)
def test_a_lower_percentage_removes_a_subset(data, chosen, percent):
    assume(not chosen["options"].refill)
    low, high = sorted([percent, chosen.pop("percent")])
    fewer, more = (choose_removed(percent=each, **data, **chosen) for each in (low, high))
    assert not (fewer & ~more).any()


@given(annotations())
def test_an_easier_level_removes_a_subset(data):
    easy, hard, extreme = (choose_removed(split="4", level=level, **data) for level in LEVELS)
    assert not (easy & ~hard).any()
    assert not (hard & ~extreme).any()


@given(annotations(), settings(WITH_PERCENT))
def test_nothing_and_everything(data, chosen):
    assert not choose_removed(**data, **(chosen | {"percent": 0})).any()
    removed = choose_removed(**data, **(chosen | {"percent": 100}))
    had, lost = counted(data, removed, "images"), None
    for n, k in had.values():
        if chosen["split"] == "1" or (chosen["split"] == "2" and not chosen["options"].ensure_one):
            assert k == n
        elif chosen["split"] == "3":
            assert k == n - 1
    if chosen["split"] in "25":
        had, lost = classes_of_images(data, removed)
        if chosen["split"] == "5" or chosen["options"].ensure_one:
            assert all(len(had[image] - lost[image]) == 1 for image in had)


SYMMETRIC = {  # images, labels, setting, share that goes of each annotation
    "1": ([0] * 5 + [1] * 5, [0] * 10, {"percent": 30}, 0.3),
    "2": ([0] * 8, [0, 0, 1, 1, 2, 2, 3, 3], {"percent": 25}, 0.25),
    "3": ([0] * 5 + [1] * 5, [0] * 7 + [1] * 3, {"percent": 40}, 0.4),
    "4": ([0] * 4, [0, 1, 1, 1], {"level": "hard"}, 0.5),
    "5": ([0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3], [0, 1, 2] * 4, {"percent": 25}, 0.25),
    "siod": ([0] * 4, [0, 0, 1, 1], {}, 0.5),
}


@pytest.mark.parametrize("split", RULES)
def test_every_annotation_is_removed_equally_often(split):
    images, labels, chosen, share = SYMMETRIC[split]
    n = 2000
    often = sum(
        choose_removed(np.array(images), np.array(labels), split, seed=seed, **chosen).astype(int) for seed in range(n)
    )
    lowest = share - (split == "5") * 0.02  # where the three classes are due in one image, one stays
    error = 4.5 * math.sqrt(share * (1 - share) / n)
    assert (often / n > lowest - error).all()
    assert (often / n < share + error).all()


def test_every_half_of_an_image_is_as_likely():
    seen = Counter(
        tuple(np.flatnonzero(choose_removed(np.zeros(4, int), np.arange(4), "4", level="hard", seed=seed)).tolist())
        for seed in range(1800)
    )
    assert set(seen) == set(combinations(range(4), 2))
    assert all(abs(count - 300) < 4.5 * math.sqrt(300 * 5 / 6) for count in seen.values())


@pytest.mark.parametrize(("split", "share"), [("1", 0.3), ("2", 0.3)])
def test_random_rounding_removes_the_percentage_on_average(split, share):
    images = labels = np.arange(4000)  # alone in their image and class: floor removes none, ceil all
    chosen = {rounding: SplitOptions(rounding) for rounding in ("floor", "random", "ceil")}
    floor, random, ceil = (choose_removed(images, labels, split, 30, options=each) for each in chosen.values())
    assert (floor.sum(), ceil.sum()) == (0, 4000)
    assert abs(random.mean() - share) < 4.5 * math.sqrt(share * (1 - share) / 4000)


@given(annotations(), PERCENT, st.sampled_from("123"))
def test_random_rounding_lies_between_floor_and_ceil(data, percent, split):
    floor, random, ceil = (
        choose_removed(split=split, percent=percent, options=SplitOptions(rounding), **data)
        for rounding in ("floor", "random", "ceil")
    )
    assert not (floor & ~random).any()
    assert not (random & ~ceil).any()


@pytest.mark.parametrize(("percent", "n"), [(29, 100), (33.3, 1000), (0.1, 1000), (70, 10), (57.3, 1000), (99.9, 1000)])
def test_percentages_that_floats_do_not_hold_are_exact(percent, n):
    for rounding in WHOLE:
        removed = choose_removed(np.arange(n), np.zeros(n, int), "1", percent, options=SplitOptions(rounding))
        assert removed.sum() == Fraction(str(percent)) * n / 100


def test_seeds_differ_and_an_image_with_one_box_keeps_it():
    images, labels = np.arange(40) // 4, np.zeros(40, int)
    assert (choose_removed(images, labels, "3", 50) != choose_removed(images, labels, "3", 50, seed=1)).any()
    for chosen in ({"split": "3", "percent": 100}, {"split": "4", "level": "extreme"}, {"split": "5", "percent": 100}):
        assert not choose_removed(np.arange(5), np.zeros(5, int), **chosen).any()


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        ({"split": "6", "percent": 50}, "no split '6'"),
        ({"split": "1"}, "from 0 to 100, and no level, but the percentage is None"),
        ({"split": "2", "percent": -1}, "from 0 to 100"),
        ({"split": "3", "percent": 100.5}, "from 0 to 100"),
        ({"split": "5", "percent": math.nan}, "from 0 to 100"),
        ({"split": "1", "percent": 50, "level": "easy"}, "no level"),
        ({"split": "4", "percent": 50}, "no percentage"),
        ({"split": "4", "percent": 50, "level": "easy"}, "no percentage"),
        ({"split": "4", "level": "medium"}, "easy, hard, extreme"),
        ({"split": "siod", "percent": 50}, "neither a percentage"),
        ({"split": "1", "percent": 50, "seed": -1}, "a seed is 0 or more"),
        ({"split": "1", "percent": 50, "options": SplitOptions("up")}, "rounding is one of"),
        ({"split": "5", "percent": 50, "options": SplitOptions(count="boxes")}, "count is one of"),
        ({"split": "1", "percent": 50, "options": SplitOptions(ensure_one=True)}, "ensure_one makes no difference"),
        ({"split": "2", "percent": 50, "options": SplitOptions(refill=True)}, "refill makes no difference"),
        (
            {"split": "4", "level": "easy", "options": SplitOptions("ceil")},
            "rounding makes no difference to split 4 easy",
        ),
    ],
)
def test_what_does_not_exist_is_refused(chosen, message):
    with pytest.raises(UserError, match=message):
        choose_removed(np.zeros(3, int), np.zeros(3, int), **chosen)


def test_arrays_that_do_not_fit_together_are_refused():
    for wrong in ({"ids": np.array([1, 1, 2])}, {"protected": np.zeros(2, bool)}, {"labels": np.zeros(4, int)}):
        with pytest.raises(ValueError, match="one entry for every annotation"):
            choose_removed(**({"images": np.zeros(3, int), "labels": np.zeros(3, int), "split": "siod"} | wrong))


@pytest.mark.parametrize(
    ("chosen", "expected"),
    [
        ({"split": "1", "percent": 30}, [3, 6, 10, 13, 20, 21, 23, 24]),
        ({"split": "4", "level": "easy"}, [3, 6, 12, 15, 24, 26]),
        ({"split": "5", "percent": 30}, [6, 20, 21, 23, 24]),
    ],
)
def test_a_seed_goes_on_to_mean_the_same_split(chosen, expected):
    removed = choose_removed(np.arange(30) // 5, np.arange(30) % 4, seed=7, **chosen)
    assert np.flatnonzero(removed).tolist() == expected
