import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.scenes import background, compose, sample_object
from datamodules.procedural.scenes.subjects import clutter_around, describe, render_subject

SIZE = 80
NAMES = [item.name for item in CLASSES]


@pytest.fixture(scope="module")
def scenes():
    return [render_subject(0, index, SIZE) for index in range(96)]


def picture(*objects):
    rng = np.random.default_rng(0)
    return compose(background(rng, SIZE), objects, rng)


def stood(name, centre, scale):
    return replace(sample_object(np.random.default_rng(0), NAMES.index(name)), centre=centre, scale=scale, turn=0.0)


def test_a_picture_is_a_function_of_seed_and_index():
    first, again = render_subject(3, 7, SIZE), render_subject(3, 7, SIZE)
    assert np.array_equal(first.image, again.image)
    assert describe(3, 7, first) == describe(3, 7, again)
    for other in (render_subject(3, 19, SIZE), render_subject(4, 7, SIZE)):
        assert other.labels[-1] == first.labels[-1]
        assert not np.array_equal(first.image, other.image)


def test_the_same_picture_at_two_sizes():
    small, large = render_subject(0, 5, 40), render_subject(0, 5, 120)
    for a, b in zip(small.objects, large.objects, strict=True):
        assert (a.class_index, a.centre, a.scale) == (b.class_index, b.centre, b.scale)


def test_classes_are_balanced(scenes):
    counts = Counter(int(scene.labels[-1]) for scene in scenes)
    assert counts == dict.fromkeys(range(12), 8)


def test_the_subject_is_whole_large_and_in_the_middle(scenes):
    for scene in scenes:
        subject = scene.objects[-1]
        assert 0.2 <= subject.scale <= 0.36
        assert all(0.33 <= place <= 0.67 for place in subject.centre)
        visible = (scene.instances == len(scene.objects)).sum()
        assert visible == (picture(subject).instances == 1).sum(), "nothing covers it"
        assert visible > 0.01 * SIZE**2


def test_clutter_is_small_and_of_other_classes(scenes):
    assert Counter(len(scene.objects) for scene in scenes).keys() == {1, 2, 3}
    for scene in scenes:
        assert len(set(scene.labels.tolist())) == len(scene.objects)
        assert all(item.scale <= 0.15 < scene.objects[-1].scale for item in scene.objects[:-1])


def test_most_clutter_is_beside_the_subject(scenes):
    shares = []
    for scene in scenes:
        for n, item in enumerate(scene.objects[:-1], 1):
            shares.append((scene.instances == n).sum() / (picture(item).instances == 1).sum())
    assert np.mean(np.array(shares) > 0.95) > 0.8


def test_clutter_around_draws_as_many_as_asked():
    rng = np.random.default_rng(0)
    subject = sample_object(rng, 3)
    for count in range(4):
        assert len(clutter_around(rng, subject, count)) == count


def test_a_caption_names_what_is_visible_and_nothing_else(scenes):
    for index, scene in enumerate(scenes):
        named = [word for word in describe(0, index, scene).split() if word in NAMES]
        shares = [(scene.instances == n).mean() for n in range(1, len(scene.objects) + 1)]
        visible = [item.object_class.name for item, share in zip(scene.objects, shares, strict=True) if share >= 0.004]
        assert named[0] == visible[-1]
        assert sorted(named) == sorted(visible)


def test_captions_place_what_they_name(scenes):
    checks = Counter()
    for index, scene in enumerate(scenes):
        caption = describe(0, index, scene)
        objects = {item.object_class.name: item for item in scene.objects}
        subject = scene.objects[-1]
        own = caption.split(" with ")[0]
        for word, axis, sign in (("left", 0, -1), ("right", 0, 1), ("top", 1, -1), ("bottom", 1, 1)):
            if re.search(rf"\b{word}\b", own):
                assert sign * (subject.centre[axis] - 0.5) > 0
                checks[word] += 1
        relations = {"to its left": (0, -1), "to its right": (0, 1), "above it": (1, -1), "below it": (1, 1)}
        for name, relation in re.findall(rf"a tiny (\w+) ({'|'.join(relations)})", caption):
            axis, sign = relations[relation]
            assert sign * (objects[name].centre[axis] - subject.centre[axis]) > 0
            checks[relation] += 1
        if "large" in own:
            assert subject.scale > 0.31
        if "small" in own:
            assert subject.scale < 0.25
    assert min(checks.values()) > 5
    assert len(checks) == 8


def test_a_caption_by_hand():
    boat = stood("boat", (0.6, 0.35), 0.34)
    fish, hidden = stood("fish", (0.2, 0.4), 0.12), stood("mug", (0.6, 0.4), 0.03)
    scene = picture(hidden, fish, boat)
    captions = {describe(0, index, scene) for index in range(300)}
    assert "a large boat at the top right with a tiny fish to its left" in captions
    assert "a photo of a boat with a tiny fish to its left" in captions
    scene = picture(stood("boat", (0.5, 0.5), 0.3))
    captions = {describe(0, index, scene) for index in range(300)}
    assert captions >= {"there is a medium boat in the middle", "a boat"}


def test_captions_differ(scenes):
    assert len({describe(0, index, scene) for index, scene in enumerate(scenes)}) > 85
