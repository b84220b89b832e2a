from dataclasses import replace

import numpy as np
import pytest

from datamodules.procedural.scenes.instances import EASY, HARD, JUNK, VIEWS, cover_up, render_view, visible_share
from datamodules.procedural.scenes.scenes import SceneObject, background, compose, sample_object

SIZE = 96
NUMBERS = range(24)


@pytest.fixture(scope="module")
def views():
    """(scene, object, mask of its visible pixels) of every view 0..7 of 24 individuals, two of each class."""
    found = []
    for number in NUMBERS:
        rendered = [render_view(0, number, number % 12, view, SIZE) for view in range(8)]
        found.append([(scene, scene.objects[n], scene.instances == n + 1) for scene, n in rendered])
    return found


def identity(item: SceneObject):
    return item.class_index, item.stretch, item.contrast, item.frequency, *item.hues, *item.bends


def alone(item):
    rng = np.random.default_rng(0)
    return compose(background(rng, SIZE), (item,), rng).instances == 1


def test_three_easy_three_hard_and_one_hidden():
    assert VIEWS == (EASY, EASY, EASY, HARD, HARD, HARD, JUNK)


def test_a_view_is_a_function_of_its_arguments():
    first, again = render_view(1, 2, 3, 4, SIZE), render_view(1, 2, 3, 4, SIZE)
    assert np.array_equal(first[0].image, again[0].image)
    assert first[1] == again[1]
    for other in ((2, 2, 3, 4), (1, 3, 3, 4), (1, 2, 3, 5)):
        assert not np.array_equal(render_view(*other, SIZE)[0].image, first[0].image)


def test_all_views_show_one_individual_and_no_two_are_equal(views):
    individuals = set()
    for each in views:
        assert len({identity(item) for _, item, _ in each}) == 1
        individuals.add(identity(each[0][1]))
        assert len({scene.image.tobytes() for scene, _, _ in each}) == len(each)
    assert len(individuals) == len(NUMBERS)


def test_easy_views_change_little_and_hard_ones_much(views):
    for (_, query, _), *others in views:
        for change, (_, item, _) in zip(VIEWS, others, strict=True):
            turn, zoom = abs(item.turn - query.turn), item.scale / query.scale
            assert change.turn[0] - 1e-9 <= turn <= change.turn[1] + 1e-9
            assert change.zoom[0] <= zoom <= change.zoom[1]
            assert np.abs(np.subtract(item.centre, query.centre)).max() <= change.shift + 1e-9
    assert EASY.turn[1] < HARD.turn[0]


def test_visibility(views):
    for each in views:
        shares = [mask.sum() / alone(item).sum() for _, item, mask in each]
        assert min(shares[:4]) == 1
        assert all(0.55 < share < 0.9 for share in shares[4:7])
        assert shares[7] < 0.27


def test_easy_views_look_more_like_the_query_than_other_individuals_do(views):
    """The colour of the visible object, free of brightness, identifies it among individuals of its class."""

    def colour(view):
        scene, _, mask = view
        mean = scene.image[mask].mean(0)
        return mean / mean.sum()

    def apart(first, second):
        return np.abs(colour(first) - colour(second)).sum()

    closer = []
    for number, (query, *others) in enumerate(views):
        sibling = views[(number + 12) % 24][0]
        closer += [apart(query, easy) < apart(query, sibling) for easy in others[:3]]
    assert np.mean(closer) > 0.9


def test_easy_masks_overlap_the_query_more_than_hard_ones(views):
    def overlap(first, second):
        return (first & second).sum() / (first | second).sum()

    easy = [overlap(each[0][2], mask) for each in views for _, _, mask in each[1:4]]
    hard = [overlap(each[0][2], mask) for each in views for _, _, mask in each[4:7]]
    assert np.mean(easy) > np.mean(hard) + 0.15


def test_visible_share_by_hand():
    house = replace(sample_object(np.random.default_rng(0), 2), centre=(0.4, 0.5), scale=0.25, turn=0.0)
    assert visible_share(house, house) == 0
    assert visible_share(house, replace(house, centre=(0.9, 0.9), scale=0.05)) == 1
    assert 0.2 < visible_share(house, replace(house, centre=(0.55, 0.5))) < 0.8


@pytest.mark.parametrize("visible", [(0.1, 0.2), (0.45, 0.5), (0.9, 0.95)])
def test_cover_up_leaves_the_asked_share(visible):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        item = replace(sample_object(rng, scale=(0.25, 0.3)), centre=(0.5, 0.5))
        cover = cover_up(rng, item, visible, (0.4, 1.5))
        assert cover.class_index != item.class_index
        assert visible[0] <= visible_share(item, cover) <= visible[1]


def test_cover_up_comes_as_close_as_it_can():
    """A tiny object cannot hide a large one: what hides most of it is taken."""
    rng = np.random.default_rng(0)
    item = replace(sample_object(rng, 2), centre=(0.5, 0.5), scale=0.3)
    assert 0.8 < visible_share(item, cover_up(rng, item, (0.0, 0.1), (0.25, 0.3))) < 1
