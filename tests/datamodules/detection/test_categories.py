from dataclasses import replace

import numpy as np
import pytest

from datamodules.detection.categories import aligned, tell_categories, used_categories, without_unused
from datamodules.detection.coco_json import read_annotations
from tests.helpers.replicas_detection import make_lvis
from visionscapes.errors import UserError


@pytest.fixture
def lvis(tmp_path):
    """Categories 1 to 4, of which 1, 2 and 3 are annotated; 1 is negative in picture 30, 3 not exhaustive in 9."""
    return read_annotations(make_lvis(tmp_path) / "annotations" / "lvis_v1_train.json")


def names(coco):
    return [coco.classes[label] for label in coco.labels]


def test_unused_categories_go_with_what_they_are_named_in(lvis, caplog):
    used = used_categories(lvis)
    assert used.tolist() == [True, True, True, False]
    without = without_unused(lvis, np.array([True, True, True, False]))
    assert without.classes == lvis.classes[:3]
    assert without.frequencies == lvis.frequencies[:3]
    assert names(without) == names(lvis)
    assert "left out 1 of 4 categories: nothing is annotated with alarm_clock" in caplog.text
    assert without_unused(lvis, np.ones(4, bool)) is lvis
    with pytest.raises(UserError, match="no annotation is of any category"):
        without_unused(lvis, np.zeros(4, bool))


def test_what_one_file_uses_stays(lvis):
    other = replace(lvis, labels=np.full_like(lvis.labels, 3))
    assert used_categories(lvis, None, other).all()


def test_categories_are_matched_by_name_with_all_that_refers_to_them(lvis, caplog):
    order = np.array([2, 0, 3])  # of category 2 of four there is no annotation in this one
    kept = lvis.only(lvis.labels != 1)
    back = np.array([1, -1, 0, 2])
    other = replace(
        kept,
        path=kept.path.with_name("other.json"),
        category_ids=np.array([5, 6, 7]),
        classes=tuple(lvis.classes[label] for label in order),
        frequencies=tuple(lvis.frequencies[label] for label in order),
        labels=back[kept.labels],
        negative=tuple(tuple(int(back[label]) for label in each) for each in kept.negative),
        not_exhaustive=tuple(tuple(int(back[label]) for label in each) for each in kept.not_exhaustive),
    )
    found = aligned(other, lvis)
    assert found.labels.tolist() == kept.labels.tolist()
    assert (found.negative, found.not_exhaustive) == (kept.negative, kept.not_exhaustive)
    assert (found.classes, found.frequencies) == (lvis.classes, lvis.frequencies)
    assert found.category_ids.tolist() == [1, 2, 3, 4]
    assert (
        "define other categories (4 and 3, 0 of them by the same name and id); they are matched by name" in caplog.text
    )
    assert aligned(lvis, lvis) is lvis


def test_nothing_is_told_of_a_file_beside_itself(lvis, caplog):
    without = without_unused(lvis, used_categories(lvis))
    assert names(aligned(lvis, without)) == names(lvis)
    assert "define other categories" not in caplog.text


def test_of_categories_of_one_name_the_ids_have_to_agree(lvis):
    twice = replace(lvis, classes=("a", "b", "b", "c"))
    part = replace(twice, category_ids=np.array([1, 2, 3, 9]))
    assert aligned(part, twice).labels.tolist() == lvis.labels.tolist()  # nothing is of the other one
    with pytest.raises(UserError, match=r"annotations of b, which .* does not define, and several categories have one"):
        aligned(replace(twice, category_ids=np.array([1, 2, 30, 40])), twice)


def test_an_unknown_category_is_an_error_if_it_is_used(lvis):
    other = replace(lvis, classes=("aerosol_can", "fan", "airplane", "alarm_clock"))
    with pytest.raises(UserError, match=r"has annotations of fan, which .* does not define: give files of the same"):
        aligned(other, lvis)


def test_odd_categories_are_told(lvis, caplog):
    tell_categories(replace(lvis, classes=("a", "b", "b", "c")))
    assert '2 categories are called "b" (ids 2, 3); each counts as a class of its own' in caplog.text
    unused = lvis.only(lvis.labels != 0)
    tell_categories(unused)
    assert "the category 0" not in caplog.text
    tell_categories(replace(unused, category_ids=np.arange(4)))
    assert 'no annotation is of the category 0, "aerosol_can", which counts as a class all the same' in caplog.text
