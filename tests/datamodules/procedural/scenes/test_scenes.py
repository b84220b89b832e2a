from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.scenes import (
    background,
    compose,
    generator,
    render_pair,
    render_scene,
    render_video,
    sample_object,
)

SIZE = 96


@pytest.fixture(scope="module")
def scenes():
    return [render_scene(0, index, SIZE) for index in range(40)]


def alone(class_index, seed=0, scale=0.35, **pose):
    """One large object, seen in full."""
    rng = np.random.default_rng(seed)
    item = replace(sample_object(rng, class_index), centre=(0.5, 0.5), scale=scale, stretch=1.0, turn=0.0)
    item = replace(item, **pose)
    return compose(background(rng, SIZE), (item,), rng)


def test_classes_are_twelve_and_well_formed():
    assert len(CLASSES) == 12 == len({item.name for item in CLASSES})
    for item in CLASSES:
        assert len(item.keypoints) >= 5
        assert len({part.name for part in item.parts}) == len(item.parts)
        assert np.abs(list(item.keypoints.values())).max() <= 1


def test_a_scene_is_a_function_of_seed_and_index():
    first, again = render_scene(3, 7, SIZE), render_scene(3, 7, SIZE)
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.instances, again.instances)
    for other in (render_scene(3, 8, SIZE), render_scene(4, 7, SIZE), render_pair(3, 7, SIZE)[0]):
        assert not np.array_equal(first.image, other.image)
    for left, right in zip(render_pair(1, 2, SIZE) + render_pair(1, 2, SIZE), render_pair(1, 2, SIZE) * 2, strict=True):
        assert np.array_equal(left.image, right.image)
    assert all(np.array_equal(a, b) for a, b in zip(render_video(1, 2, SIZE), render_video(1, 2, SIZE), strict=True))


def test_streams_are_independent():
    keys = [(0, 0, 0), (0, 0, 1), (0, 0, 2), (0, 1, 0), (1, 0, 0)]
    assert len({generator(*key).random() for key in keys}) == 5


def test_shapes_and_types(scenes):
    for scene in scenes:
        assert (scene.image.shape, scene.image.dtype) == ((SIZE, SIZE, 3), np.uint8)
        assert scene.instances.shape == scene.parts.shape == (SIZE, SIZE)
        assert 1 <= len(scene.objects) <= 4
        assert scene.boxes.shape == (len(scene.objects), 4)
        assert np.array_equal(scene.labels, [item.class_index for item in scene.objects])
        assert 20 < scene.image.mean() < 235
        assert scene.image.std() > 10


def test_boxes_enclose_the_visible_instances_tightly(scenes):
    for scene in scenes:
        assert scene.instances.max() <= len(scene.objects)
        for n, (left, top, right, bottom) in enumerate(scene.boxes.astype(int), 1):
            mask = scene.instances == n
            assert mask[top:bottom, left:right].sum() == mask.sum()
            if mask.any():
                inside = mask[top:bottom, left:right]
                assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()  # noqa: PT018


def test_parts_belong_to_instances(scenes):
    for scene in scenes:
        assert np.array_equal(scene.parts > 0, scene.instances > 0)
        for n, item in enumerate(scene.objects, 1):
            assert scene.parts[scene.instances == n].max(initial=0) <= len(item.object_class.parts)


def test_box_of_a_hidden_object_is_zero():
    rng = np.random.default_rng(0)
    hidden = replace(sample_object(rng, 6), centre=(0.5, 0.5), scale=0.05, turn=0.0)
    cover = replace(sample_object(rng, 2), centre=(0.5, 0.4), scale=0.45, turn=0.0)
    scene = compose(background(rng, SIZE), (hidden, cover), rng)
    assert scene.boxes[0].tolist() == [0, 0, 0, 0]
    assert not scene.keypoints(0)[1].any()
    assert scene.boxes[1].any()


def test_a_visible_keypoint_lies_on_its_own_instance(scenes):
    seen = 0
    for scene in scenes:
        for n in range(len(scene.objects)):
            points, visible = scene.keypoints(n)
            assert points.shape == (len(scene.objects[n].object_class.keypoints), 2)
            for column, row in points[visible].astype(int):
                assert scene.instances[row, column] == n + 1
            seen += visible.sum()
    assert seen > 200


@pytest.mark.parametrize("class_index", range(len(CLASSES)), ids=[item.name for item in CLASSES])
def test_keypoints_of_an_unoccluded_object_lie_on_it(class_index):
    """Over poses and instances nearly every keypoint hits its object: they are where the parts are."""
    shares = [
        alone(class_index, seed, turn=turn).keypoints(0)[1].mean() for seed, turn in enumerate((0, 25, -25, 90, 5))
    ]
    assert np.mean(shares) >= 0.9


@pytest.mark.parametrize("class_index", [0, 5, 10])
def test_keypoints_follow_the_pose(class_index):
    plain = alone(class_index).keypoints(0)[0] - SIZE / 2
    turned = alone(class_index, turn=90.0).keypoints(0)[0] - SIZE / 2
    np.testing.assert_allclose(turned, plain[:, ::-1] * [-1, 1], atol=1e-3)  # clockwise on screen
    moved = alone(class_index, centre=(0.4, 0.55)).keypoints(0)[0] - SIZE / 2
    np.testing.assert_allclose(moved, plain + np.array([-0.1, 0.05]) * SIZE, atol=1e-3)
    wider = alone(class_index, stretch=1.2).keypoints(0)[0] - SIZE / 2
    np.testing.assert_allclose(wider, plain * [1.2, 1], atol=1e-3)


def test_the_picture_follows_the_pose():
    """A quarter turn of the object turns its mask: drawing and keypoints use the same frame."""
    plain, turned = (alone(1, turn=turn).instances for turn in (0.0, 90.0))
    rotated = np.rot90(plain, k=-1)
    assert (rotated & turned).sum() / (rotated | turned).sum() > 0.95
    assert (plain & turned).sum() / (plain | turned).sum() < 0.8


def test_later_objects_cover_earlier_ones():
    rng = np.random.default_rng(0)
    items = [replace(sample_object(rng, k), centre=(0.5, 0.5), scale=0.3) for k in (2, 6)]
    canvas = background(rng, SIZE)
    both, second = compose(canvas, tuple(items), rng), compose(canvas, (items[1],), rng)
    assert np.array_equal(both.instances == 2, second.instances == 1)
    assert (both.instances == 1).any()


def test_class_frequencies_have_a_long_tail():
    rng = np.random.default_rng(0)
    counts = Counter(sample_object(rng).class_index for _ in range(4000))
    expected = 1 / np.arange(1, 13)
    observed = np.array([counts[k] for k in range(12)]) / 4000
    np.testing.assert_allclose(observed, expected / expected.sum(), atol=0.025)
    uniform = Counter(sample_object(rng, tail=0.0).class_index for _ in range(4000))
    np.testing.assert_allclose([uniform[k] / 4000 for k in range(12)], 1 / 12, atol=0.02)


def test_number_of_objects(scenes):
    assert {len(scene.objects) for scene in scenes} == {1, 2, 3, 4}
    assert max(len(render_scene(0, index, 32, most_objects=8).objects) for index in range(20)) > 4


@pytest.mark.parametrize(
    ("classes", "caption"),
    [
        ([0], "a fish"),
        ([0, 1, 1], "a fish and two cars"),
        ([0, 0, 10, 10, 3], "two fish, two butterflies and a tree"),
        ([2] * 8, "eight houses"),
    ],
)
def test_captions(classes, caption):
    rng = np.random.default_rng(0)
    objects = tuple(sample_object(rng, k) for k in classes)
    assert compose(background(rng, 32), objects, rng).caption == caption


def test_instances_of_a_class_look_alike_but_not_equal():
    rng = np.random.default_rng(0)
    hues = np.array([sample_object(rng, 0).hues for _ in range(30)])
    deviation = (hues - hues[0] + 0.5) % 1 - 0.5
    assert 0.02 < deviation.std() < 0.12


def test_a_pair_shares_the_class_of_its_last_object_which_nothing_covers():
    classes = set()
    for index in range(25):
        pair = render_pair(0, index, SIZE)
        subjects = [scene.objects[-1] for scene in pair]
        assert subjects[0].class_index == subjects[1].class_index
        assert subjects[0] != subjects[1]
        classes.add(subjects[0].class_index)
        for scene in pair:
            n = len(scene.objects) - 1
            assert scene.keypoints(n)[1].sum() >= 3
            assert scene.instances.max() == n + 1
    assert len(classes) > 6


def test_videos_show_every_object_from_the_first_frame_on():
    for index in range(6):
        frames, masks = render_video(0, index, SIZE, frames=8, objects=2)
        assert (frames.shape, frames.dtype) == ((8, SIZE, SIZE, 3), np.uint8)
        assert (masks.shape, masks.dtype) == ((8, SIZE, SIZE), np.uint8)
        assert set(np.unique(masks[0])) == {0, 1, 2}
        assert set(np.unique(masks)) <= {0, 1, 2}
        for n in (1, 2):
            assert (masks[0] == n).sum() > 0.01 * SIZE**2


def test_videos_move_smoothly():
    moved = []
    for index in range(6):
        frames, masks = render_video(0, index, SIZE, frames=8, objects=1)
        centres = np.array([np.argwhere(mask == 1).mean(0) for mask in masks])
        steps = np.linalg.norm(np.diff(centres, axis=0), axis=1)
        assert steps.max() < 0.15 * SIZE
        overlap = (masks[1:] == 1) & (masks[:-1] == 1)
        assert (overlap.sum((1, 2)) > 0.5 * (masks[1:] == 1).sum((1, 2))).all()
        moved.append(np.linalg.norm(centres[-1] - centres[0]))
        assert np.abs(np.diff(frames.astype(float), axis=0)).mean() < 40
    assert max(moved) > 0.05 * SIZE


def test_up_to_four_objects_move():
    assert set(np.unique(render_video(0, 1, SIZE, frames=1, objects=4)[1])) == {0, 1, 2, 3, 4}
