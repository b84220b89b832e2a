import json
from collections import Counter

import numpy as np
import pytest

from datamodules.detection.drawn_layouts import DrawnLayouts, LayoutDrawer, read_weights, uncovered
from datamodules.detection.layout_source import boxes_within, layout_rows, source_of
from tests.datamodules.detection.test_layouts import batches, layouts, scenes
from visionscapes.errors import UserError


@pytest.fixture(scope="module")
def source():
    return source_of(scenes(tail=1.5, objects=[6, 9]))


def drawn(source, draws=300, **options):
    draw = LayoutDrawer(source, DrawnLayouts(**options))
    return [(item, draw(item, seed)) for seed in range(draws // 3) for item in source.images]


def counts_of(source):
    return Counter(label for item in source.images for label in item.labels[layout_rows(item)].tolist())


def test_by_default_a_layout_is_what_is_annotated(source):
    for item, layout in drawn(source, draws=3):
        rows = layout_rows(item)
        assert np.array_equal(layout.boxes, boxes_within(item)[rows])
        assert np.array_equal(layout.labels, item.labels[rows])
        assert np.array_equal(layout.rows, rows)
        assert not len(layout.kept)


@pytest.mark.parametrize("classes", ["frequency", "balanced", "inverse"])
def test_classes_are_drawn_as_often_as_asked(source, classes):
    counts = counts_of(source)
    weights = {label: {"frequency": n, "balanced": 1, "inverse": 1 / n}[classes] for label, n in counts.items()}
    found = Counter(label for _, layout in drawn(source, classes=classes) for label in layout.labels.tolist())
    assert set(found) == set(counts), "a class without any object has no size that could be drawn"
    for label, weight in weights.items():
        share = weight / sum(weights.values())
        error = np.sqrt(share * (1 - share) / found.total())
        assert abs(found[label] / found.total() - share) < 4 * error


def test_in_given_places_boxes_stay(source):
    for item, layout in drawn(source, draws=3, classes="balanced"):
        assert np.array_equal(layout.boxes, boxes_within(item)[layout_rows(item)])
        assert not len(layout.kept)


def test_anywhere_new_objects_come_beside_those_of_the_picture(source):
    options = {"places": "anywhere", "classes": "frequency", "fewest": 2, "most": 5}
    numbers = set()
    for item, layout in drawn(source, **options):
        numbers.add(len(layout.labels))
        assert (layout.rows == -1).all()
        assert set(layout.kept.tolist()) <= set(layout_rows(item).tolist())
        low, high = layout.boxes[:, :2], layout.boxes[:, 2:]
        assert (low >= 0).all()
        assert (high <= np.array(item.size[::-1])).all()
        assert (high - low >= 1).all()
    assert numbers == {2, 3, 4, 5}


def test_new_objects_have_sizes_of_their_class(source):
    sides = {label: set() for label in counts_of(source)}
    for item in source.images:
        for row in layout_rows(item).tolist():
            box = boxes_within(item)[row]
            sides[int(item.labels[row])].add(tuple((box[2:] - box[:2]).round(3).tolist()))
    for _, layout in drawn(source, places="anywhere", classes="balanced"):
        for label, box in zip(layout.labels.tolist(), layout.boxes, strict=True):
            own = np.array(sorted(sides[label]))
            assert np.abs(own - (box[2:] - box[:2])).max(1).min() < 0.01


def test_what_is_covered_is_no_longer_annotated():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10.4], [20, 20, 24, 24], [5, 5, 5.3, 5.3]])
    assert uncovered(boxes[:1], np.array([[0, 0, 10, 8]]), (30, 30)).tolist() == [True]
    assert uncovered(boxes[:1], np.array([[0, 0, 10, 9]]), (30, 30)).tolist() == [False]
    two = np.array([[0, 0, 10, 5], [0, 5, 10, 9]])
    assert uncovered(boxes, two, (30, 30)).tolist() == [False, False, True, False]
    assert uncovered(boxes, np.zeros((0, 4)), (30, 30)).all()


def test_layouts_are_a_function_of_the_seed(source):
    draw = LayoutDrawer(source, DrawnLayouts(places="anywhere", classes="inverse"))
    one, same, other = (draw(source.images[0], seed) for seed in (5, 5, 6))
    assert np.array_equal(one.boxes, same.boxes)
    assert not np.array_equal(one.boxes, other.boxes)


def test_weights_of_a_file_are_followed(source, tmp_path):
    names = [each["name"] for each in source.categories]
    first, second = sorted(counts_of(source))[:2]
    path = tmp_path / "weights.json"
    path.write_text(json.dumps({names[first]: 3, names[second]: 1.0}))
    found = Counter(
        label for _, each in drawn(source, classes="weights", weights=str(path)) for label in each.labels.tolist()
    )
    assert set(found) == {first, second}
    assert abs(found[first] / found.total() - 0.75) < 0.05


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[1, 2]", "has to hold a weight of 0 or more for each class"),
        ('{"cat": -1}', "has to hold a weight of 0 or more"),
        ('{"cat": "x"}', "has to hold a weight of 0 or more"),
        ('{"cat": 1, "cow": 1}', r"'cow', which is no class \([a-z, ]+(, \.\.\.)?\)"),
        ("{", "cannot be read"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_file_of_weights(tmp_path, content, said):
    if content is not None:
        (tmp_path / "w.json").write_text(content)
    with pytest.raises(UserError, match=said):
        read_weights(tmp_path / "w.json", ["cat", "dog"])


def test_weights_of_nothing_that_is_annotated_are_refused(source, tmp_path):
    names = [each["name"] for each in source.categories]
    absent = next(label for label in range(len(names)) if label not in counts_of(source))
    (tmp_path / "w.json").write_text(json.dumps({names[absent]: 1}))
    with pytest.raises(UserError, match="gives no weight to any class that is annotated"):
        LayoutDrawer(source, DrawnLayouts(classes="weights", weights=str(tmp_path / "w.json")))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"places": "anywhere"}, "--data.drawn.classes=frequency, balanced"),
        ({"classes": "weights"}, "--data.drawn.weights="),
        ({"weights": "x.json"}, "--data.drawn.classes=weights"),
        ({"fewest": 4, "most": 3}, "the smaller value first"),
        ({"fewest": 0}, "fewest is 0"),
    ],
)
def test_options_that_make_no_sense(options, said):
    with pytest.raises(UserError, match=said):
        DrawnLayouts(**options)


def test_batches_hold_what_is_painted_and_sources_what_stays_too(tmp_path):
    options = {"drawn": {"places": "anywhere", "classes": "balanced", "fewest": 2, "most": 2}}
    for batch in batches(layouts(tmp_path, **options)):
        objects = batch["source"]["objects"]
        assert batch["names"] == [each["name"] for each in objects[:2]]
        assert np.array_equal(batch["boxes"].numpy(), np.array([each["box"] for each in objects[:2]], np.float32))
        assert [each["id"] for each in objects[:2]] == [None, None]
        assert len(objects) > 2
        assert all(each["id"] is not None for each in objects[2:])
    assert "drawn layouts" in layouts(tmp_path, **options).identity
    assert "drawn layouts" not in layouts(tmp_path).identity
