import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from datamodules.detection.annotation_columns import AnnotationColumns, Ids, whole_side
from datamodules.detection.json_entries import EntryProblem

NUMBER = st.one_of(st.integers(-5, 900), st.integers(0, 900).map(float), st.floats(0, 900, width=32))
ENTRY = st.fixed_dictionaries(
    {
        "image_id": st.integers(0, 9),
        "category_id": st.one_of(st.integers(0, 9), st.integers(0, 9).map(float)),
        "bbox": st.lists(st.one_of(NUMBER, NUMBER.map(str)), min_size=4, max_size=4),
    },
    optional={
        "area": st.one_of(st.none(), NUMBER, NUMBER.map(str)),
        "iscrowd": st.sampled_from([0, 1, None, "0", "1", False, True]),
        "difficult": st.sampled_from([0, 1, None]),
        "segmentation": st.sampled_from([None, [], [[1, 2, 3]], [[1, 2, 3, 4, 5, 6]], {"size": [2, 2], "counts": [4]}]),
    },
)


@settings(max_examples=60, deadline=None)
@given(st.lists(ENTRY, max_size=12))
def test_columns_hold_what_plain_code_makes_of_the_entries(entries):
    entries = [entry | {"id": place + 7} for place, entry in enumerate(entries)]
    columns = AnnotationColumns(with_masks=True)
    content = json.loads(json.dumps({"annotations": entries}), object_hook=columns.take)
    assert content["annotations"] == [None] * len(entries) == [None] * len(columns)
    assert columns.ids.array().tolist() == [entry["id"] for entry in entries]
    assert columns.images.array().tolist() == [entry["image_id"] for entry in entries]
    assert columns.categories.array().tolist() == [int(entry["category_id"]) for entry in entries]
    boxes = [[float(number) for number in entry["bbox"]] for entry in entries]
    assert np.array(columns.boxes).reshape(-1, 4).tolist() == boxes
    areas = [entry.get("area") for entry in entries]
    expected = [w * h if area is None else float(area) for area, (_, _, w, h) in zip(areas, boxes, strict=True)]
    assert columns.areas.tolist() == expected
    flags = [any(int(entry.get(name) or 0) for name in ("iscrowd", "difficult")) for entry in entries]
    assert [bool(flag) for flag in columns.ignored] == flags
    masks = columns.segmentations(np.arange(len(entries)))
    for place, entry in enumerate(entries):
        given_mask = entry.get("segmentation")
        assert masks[place] == (given_mask if given_mask and given_mask != [[1, 2, 3]] else None)


def test_annotations_that_are_kept_stay_in_the_content():
    entry = {"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "id": 1}
    assert AnnotationColumns(with_masks=False, keep=True).take(entry) is entry
    other = {"image_id": 1}
    assert AnnotationColumns(with_masks=False).take(other) is other


@pytest.mark.parametrize("field", ["id", "image_id", "category_id"])
@pytest.mark.parametrize("value", [True, False])
def test_yes_and_no_are_no_ids(field, value):
    entry = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}
    columns = AnnotationColumns(with_masks=False)
    columns.take(entry)
    with pytest.raises(EntryProblem, match=f'"{field}" is {value}, which is no whole number and no text') as error:
        columns.take(entry | {field: value})
    assert error.value.place == 1


def test_the_first_corners_are_kept_where_there_are_some():
    columns = AnnotationColumns(with_masks=True)
    masks = ([[1, 2, 3, 4, 5, 6]], None, {"size": [1, 1], "counts": [1]}, [["a", 2, 3, 4, 5, 6]],
             [[1, 2], [7.5, 8, 9, 1, 2, 3]], [[1, "b", 3, 4, 5, 6]], 3, [3, 4, 5, 6, 7, 8])  # fmt: skip
    for number, mask in enumerate(masks):
        columns.take({"id": number, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "segmentation": mask})
    corners = columns.segmentations(np.arange(len(masks))).corners
    none = [np.nan, np.nan]
    np.testing.assert_array_equal(corners, [[1, 2], none, none, none, [7.5, 8], none, none, [3, 4]])


def test_an_odd_entry_leaves_the_columns_in_step():
    columns = AnnotationColumns(with_masks=False)
    for entry in (
        {"bbox": [1, 2, 3, 4], "id": "a"},
        {"bbox": ["1", 2, 3, 4], "id": "b"},
        {"bbox": (1, 2, 3, 4), "id": "c"},
    ):
        columns.take(entry | {"image_id": 1, "category_id": 2})
    assert columns.ids.array().tolist() == ["a", "b", "c"]
    assert len(columns.boxes) == 12
    assert len(columns.areas) == len(columns.images.numbers) == len(columns.categories.numbers) == 3


@pytest.mark.parametrize("value", ["", None, True, [], {}, 1.5, float("inf"), float("nan"), 2**63, -(2**63)])
def test_what_is_neither_a_whole_number_nor_a_text_is_no_id(value):
    with pytest.raises(EntryProblem, match='"image_id" is '):
        Ids("annotations", "image_id").add(value)


def test_numbers_for_missing_ids_begin_after_those_that_are_there():
    ids = Ids("annotations", "id")
    for value in (5, None, 2, None):
        ids.add_missing() if value is None else ids.add(value)
    assert ids.array().tolist() == [5, 6, 2, 7]


def test_a_missing_id_among_texts_is_named():
    ids = Ids("annotations", "id")
    ids.add("a")
    ids.add_missing()
    with pytest.raises(EntryProblem, match='"id" is missing') as problem:
        ids.array()
    assert problem.value.place == 1


@pytest.mark.parametrize(("value", "side"), [(7, 7), (7.0, 7), ("7", 7), (None, 0), (0, 0)])
def test_sides_are_whole_numbers(value, side):
    assert whole_side({"height": value}, "height", 0) == side
    assert whole_side({}, "height", 0) == 0


@pytest.mark.parametrize("value", [7.5, -1, "x", [1], float("nan")])
def test_other_sides_are_named(value):
    with pytest.raises(EntryProblem, match='"height" is '):
        whole_side({"height": value, "id": 3}, "height", 0)
