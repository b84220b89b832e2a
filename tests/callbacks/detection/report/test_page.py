import re

import numpy as np

from callbacks.detection.report.page import MOST_ROWS, PAIRS, class_table, page, pair_table
from tests.callbacks.detection.cases import image
from tests.callbacks.detection.report.cases import findings_of, some

ODD = '<script>alert("1")</script>'


def test_the_page_asks_nobody_for_anything():
    content = page(findings_of(some()))
    without = re.sub(r'"data:image/(png|jpeg);base64,[^"]+"', '""', content)
    assert content.count("data:image/png") == 6
    assert "http" not in without
    assert not re.findall(r'(?:src|href)="[^"#]', without)
    assert "<script" not in without


def test_names_are_no_markup():
    content = page(findings_of(some(), classes=(ODD, "b", "c", "d", "e")))
    assert ODD not in content
    assert "&lt;script&gt;" in content


def test_the_table_has_the_best_class_first():
    found = findings_of(some(2))
    table = class_table(found)
    assert [label for label, _ in table.rows] == [found.classes[label] for label in found.ranked]
    values = [float(cells[2].text) for _, cells in table.rows]
    assert values == sorted(values, reverse=True)
    assert all(len(cells) == len(table.header) - 1 for _, cells in table.rows)


def test_masks_have_a_column():
    table = class_table(findings_of(some(masks=True, detections=15)))
    assert table.header[3:5] == ["AP", "mask AP"]


def test_of_many_classes_the_rest_is_folded():
    names = tuple(f"class {k}" for k in range(90))
    found = findings_of(some(classes=90, objects=40), classes=names)
    assert len(found.ranked) > MOST_ROWS
    content = page(found)
    assert "<details>" in content
    assert "The lowest" in content
    assert "<details>" not in page(findings_of(some()))


def test_the_most_frequent_confusions_come_first():
    images = [image([(0, 0, 0, 9, 9)], [(1, 0.9, 0, 0, 9, 9)], 1), image([(0, 0, 0, 9, 9)], [(1, 0.9, 0, 0, 9, 9)], 2)]
    images += [image([(2, 0, 0, 9, 9)], [(3, 0.9, 0, 0, 9, 9)], 3)]
    rows = pair_table(findings_of(images)).texts()[1:]
    assert rows == [["apple → bottle", "2", "100.0"], ["cat → dog", "1", "100.0"]]
    assert len(rows) <= PAIRS
    assert pair_table(findings_of([image(image_id=1)])) is None


def test_nothing_to_find_and_nothing_found():
    content = page(findings_of([image(image_id=1)]))
    assert "There is no object to find" in content
    assert np.isnan(findings_of([image(image_id=1)]).curves.average_precision())
