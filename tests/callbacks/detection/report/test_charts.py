import numpy as np
import pytest

from callbacks.detection.report import charts
from callbacks.results.figures import as_png
from metrics.label_statistics import Labels
from tests.callbacks.detection.cases import image
from tests.callbacks.detection.report.cases import findings_of, some

TRAINED = Labels(
    sizes=np.array([[50, 50]]),
    pictures=np.zeros(1, np.int64),
    labels=np.zeros(1, np.int64),
    boxes=np.array([[0, 0, 9, 9]], np.float32),
    ignored=np.zeros(1, bool),
)
CHARTS = (
    charts.precision_chart,
    charts.mean_curve_chart,
    charts.class_curve_chart,
    charts.confusion_chart,
    charts.class_chart,
)


def names(count):
    return tuple(f"a class with a name that is long, number {k}" for k in range(count))


@pytest.mark.parametrize("count", [1, 12, 80])
@pytest.mark.parametrize("draw", CHARTS)
def test_charts_of_few_and_many_classes(draw, count):
    found = findings_of(some(classes=count, detections=30), classes=names(count))
    content = as_png(draw(found), 50)
    assert content.startswith(b"\x89PNG")


def test_of_many_classes_the_first_and_the_last_have_bars():
    found = findings_of(some(classes=80, objects=30), classes=names(80))
    figure = charts.precision_chart(found)
    shown = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(shown) == charts.MOST_BARS < len(found.ranked)
    assert shown[0].endswith(f"({found.evaluated.objects[found.ranked[0]]})")
    assert shown[-1].endswith(f"({found.evaluated.objects[found.ranked[-1]]})")
    assert f"{len(found.ranked) - 40} classes between" in figure.axes[0].texts[0].get_text()


def test_the_classes_that_are_confused_most_are_in_the_chart():
    images = [image([(k, 0, 0, 50, 50)], [(k + 1, 0.9, 0, 0, 50, 50)], k) for k in (60, 70)]
    found = findings_of(images, classes=names(80))
    assert {60, 61, 70, 71} <= set(charts.shown_in_confusion(found))
    assert len(charts.shown_in_confusion(found)) == charts.MOST_CELLS


def test_labels_of_any_number(tmp_path):
    for images in (some(objects=90), [image(image_id=1)]):
        statistics = findings_of(images).evaluated
        assert len(as_png(charts.label_chart(statistics), 50)) > 1000


def test_training_labels_stand_beside():
    found = findings_of(some())
    assert len(charts.class_chart(found).axes[0].containers) == 1
    both = findings_of(some(), training_labels=lambda: TRAINED)
    assert both.trained.objects.tolist() == [1, 0, 0, 0, 0]
    assert len(charts.class_chart(both).axes[0].containers) == 2
