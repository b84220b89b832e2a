from collections import Counter

import numpy as np
import pytest

from datamodules.procedural.scenes import crowds
from datamodules.procedural.scenes.crowds import LEAST_PIXELS, Crowd, recognisable, render_crowd
from datamodules.procedural.scenes.object_classes import CLASSES
from datamodules.procedural.scenes.scenes import Scene, generator, render_scene

SIZE = 64


@pytest.fixture(scope="module")
def scenes():
    return [render_crowd(0, index, SIZE, Crowd()) for index in range(20)]


@pytest.fixture
def unpainted(monkeypatch):
    """Let scenes tell their objects without being painted, which takes most of the time."""
    nothing = np.zeros((1, 1), np.uint8)
    monkeypatch.setattr(crowds, "compose", lambda canvas, objects, rng: Scene(nothing, objects, nothing, nothing))
    monkeypatch.setattr(crowds, "background", lambda rng, size: nothing)


def class_counts(crowd, count=300):
    return [Counter(item.class_index for item in render_crowd(0, k, 8, crowd).objects) for k in range(count)]


def test_a_scene_is_a_function_of_seed_and_index():
    first, again = render_crowd(3, 7, SIZE, Crowd()), render_crowd(3, 7, SIZE, Crowd())
    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.instances, again.instances)
    assert np.array_equal(first.boxes, again.boxes)
    for other in (render_crowd(3, 8, SIZE, Crowd()), render_crowd(4, 7, SIZE, Crowd()), render_scene(3, 7, SIZE)):
        assert not np.array_equal(first.image, other.image)


def test_crowds_have_random_numbers_of_their_own(unpainted, monkeypatch):
    drawn = []
    monkeypatch.setattr(crowds, "generator", lambda *key: drawn.append(key) or generator(*key))
    render_crowd(3, 7, SIZE, Crowd())
    assert drawn == [(3, 7, crowds.CROWD)]
    assert crowds.CROWD > 6  # what the other scenes have


def test_rendering_leaves_numpy_alone():
    before = np.random.get_state()[1].copy()
    render_crowd(0, 0, SIZE, Crowd())
    assert np.array_equal(np.random.get_state()[1], before)


def test_shapes_and_types(scenes):
    for scene in scenes:
        count = len(scene.objects)
        assert 3 <= count <= 9
        assert (scene.image.shape, scene.image.dtype) == ((SIZE, SIZE, 3), np.uint8)
        assert scene.instances.shape == (SIZE, SIZE)
        assert scene.instances.max() <= count
        assert (scene.boxes.shape, scene.labels.shape) == ((count, 4), (count,))


def test_boxes_are_around_what_is_visible(scenes):
    for scene in scenes:
        for n, box in enumerate(scene.boxes, 1):
            rows, columns = np.nonzero(scene.instances == n)
            extent = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1] if len(rows) else [0] * 4
            assert box.tolist() == extent


def test_the_smallest_are_in_front(scenes):
    for scene in scenes:
        sizes = [item.scale for item in scene.objects]
        assert sizes == sorted(sizes, reverse=True)
        assert 0.07 <= sizes[-1] <= sizes[0] <= 0.2


def test_objects_cover_one_another(scenes):
    boxes = [scene.boxes[recognisable(scene)] for scene in scenes]
    meeting = 0
    for each in boxes:
        low, high = np.maximum(each[:, None, :2], each[None, :, :2]), np.minimum(each[:, None, 2:], each[None, :, 2:])
        meeting += np.triu((high > low).all(2), 1).any()
    assert meeting > len(scenes) / 2


def test_of_an_annotated_object_thirty_pixels_are_visible(scenes):
    hidden = 0
    for scene in scenes:
        expected = [(scene.instances == n).sum() >= 30 for n in range(1, len(scene.objects) + 1)]
        assert recognisable(scene).tolist() == expected
        hidden += expected.count(False)
    assert hidden


def test_exactly_thirty_pixels_are_enough():
    instances = np.zeros((10, 10), np.uint8)
    instances.flat[:LEAST_PIXELS], instances.flat[50:79] = 1, 3  # 30 and 29; the second of three is hidden
    scene = Scene(np.zeros((10, 10, 3), np.uint8), (None, None, None), instances, instances)
    assert recognisable(scene).tolist() == [True, False, False]
    assert recognisable(Scene(scene.image, (), np.zeros_like(instances), instances)).shape == (0,)


def test_places_and_numbers_fill_their_ranges(unpainted):
    found = [render_crowd(0, k, 8, Crowd(objects=(2, 5), scale=(0.1, 0.3))).objects for k in range(150)]
    assert {len(objects) for objects in found} == {2, 3, 4, 5}
    centres = np.array([item.centre for objects in found for item in objects])
    scales = np.array([item.scale for objects in found for item in objects])
    assert 0.07 <= centres.min() < 0.1
    assert 0.9 < centres.max() <= 0.93
    assert 0.1 <= scales.min() < 0.12
    assert 0.28 < scales.max() <= 0.3


@pytest.mark.parametrize("tail", [0.0, 0.7, 2.0])
def test_classes_are_as_frequent_as_their_tail_says(unpainted, tail):
    counts = sum(class_counts(Crowd(objects=(1, 1), tail=tail), 600), Counter())
    shares = np.array([counts[k] for k in range(len(CLASSES))]) / 600
    expected = 1.0 / np.arange(1, len(CLASSES) + 1) ** tail
    assert np.abs(shares - expected / expected.sum()).max() < 0.06


def test_things_of_a_kind_come_together_without_changing_how_frequent_they_are(unpainted, monkeypatch):
    def alike(counts):
        """Return the share of pairs of one scene that are of one class."""
        pairs = [(sum(n * (n - 1) for n in each.values()), each.total() * (each.total() - 1)) for each in counts]
        return sum(same for same, _ in pairs) / sum(every for _, every in pairs)

    crowd = Crowd(objects=(4, 8), tail=0.0)
    together = class_counts(crowd, 300)
    monkeypatch.setattr(crowds, "SAME_CLASS", 0.0)
    apart = class_counts(crowd, 300)
    assert alike(apart) == pytest.approx(1 / 12, abs=0.02)
    assert alike(together) > 0.25
    shares = np.array([sum(together, Counter())[k] for k in range(12)]) / sum(each.total() for each in together)
    assert np.abs(shares - 1 / 12).max() < 0.03


def test_the_most_objects_that_a_scene_can_have():
    scene = render_crowd(0, 0, SIZE, Crowd(objects=(200, 200)))
    assert len(scene.objects) == 200
    assert scene.instances.max() <= 200
    assert len(np.unique(scene.instances)) > 50
