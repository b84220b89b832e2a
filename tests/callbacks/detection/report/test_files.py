import csv
import json

import numpy as np
import pytest

from benchmarks.coco_evaluation import pycocotools_curves
from callbacks.detection.report.files import CLASSES as CLASS_FILE
from callbacks.detection.report.files import CONFUSION, CURVES, LABELS, write_files
from tests.callbacks.detection.cases import CLASSES
from tests.callbacks.detection.report.cases import findings_of, some


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def written(tmp_path):
    images = some(1, classes=4)  # of five
    found = findings_of(images)
    write_files(found, tmp_path)
    return tmp_path, images, found


def test_figures_of_classes_are_those_of_pycocotools(written):
    folder, images, _ = written
    theirs = pycocotools_curves(images, 5)
    table = rows(folder / CLASS_FILE)
    assert [row["class"] for row in table] == list(CLASSES)
    for label, row in enumerate(table[:4]):
        assert float(row["AP"]) == pytest.approx(theirs.precision[:, :, label, 0].mean(), abs=1e-5)
        assert float(row["AP50"]) == pytest.approx(theirs.precision[0, :, label, 0].mean(), abs=1e-5)
        assert float(row["AP75"]) == pytest.approx(theirs.precision[5, :, label, 0].mean(), abs=1e-5)
        assert float(row["AR"]) == pytest.approx(theirs.recall[:, label, 0].mean(), abs=1e-5)
        assert int(row["objects"]) == sum(
            int(((each.truth["labels"] == label) & ~each.truth["ignored"]).sum()) for each in images
        )
    assert (table[4]["AP"], table[4]["objects"], table[4]["recall@0.3"]) == ("", "0", "")


def test_curves_are_those_of_pycocotools(written):
    folder, images, _ = written
    theirs = pycocotools_curves(images, 5)
    table = rows(folder / CURVES)
    assert len(table) == 2 * 4 * 101
    for iou, place in (("0.5", 0), ("0.75", 5)):
        for label in range(4):
            points = [row for row in table if (row["class"], row["iou"]) == (CLASSES[label], iou)]
            assert [float(row["recall"]) for row in points] == pytest.approx(np.linspace(0, 1, 101))
            precision = theirs.precision[place, :, label, 0]
            assert [float(row["precision"]) for row in points] == pytest.approx(precision, abs=1e-5)
            assert [float(row["score"]) for row in points] == pytest.approx(theirs.scores[place, :, label, 0], abs=1e-5)


def test_the_confusion_matrix(written):
    folder, _, found = written
    with (folder / CONFUSION).open(newline="") as file:
        header, *lines = csv.reader(file)
    assert header[1:] == [*CLASSES, "background"] == [line[0] for line in lines]
    assert [[int(cell) for cell in line[1:]] for line in lines] == found.confusion.tolist()


def test_labels(written):
    folder, images, found = written
    labels = json.loads((folder / LABELS).read_text())
    assert labels.keys() == {"evaluated"}
    assert labels["evaluated"]["pictures"] == len(images)
    assert [each["objects"] for each in labels["evaluated"]["classes"]] == found.evaluated.objects.tolist()
    assert labels["evaluated"]["classes"][4]["side"] is None
    assert sum(labels["evaluated"]["sides"]["counts"]) == found.evaluated.objects.sum()
