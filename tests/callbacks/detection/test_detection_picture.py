import matplotlib.patches
import numpy as np
import pytest
import torch
from PIL import Image

from callbacks.detection.detection_picture import DetectionPicture, class_colour, draw, shown
from tests.callbacks.detection.cases import CLASSES, as_batch, fuzzed, image, mottled, run_test
from visionscapes.errors import UserError


def row(case, min_score=0.5, masks=None):
    batch = as_batch([case])
    found = {key: torch.from_numpy(value) for key, value in case.found.items()}
    found |= {} if masks is None else {"masks": masks}
    truth = batch["truth"][0] | {"masks": masks}
    return shown(batch["image"][0], batch["size"][0], truth, found, min_score)


def test_writes_one_small_picture_of_the_first_pictures(tmp_path):
    images = fuzzed(np.random.default_rng(0), pictures=5, masks=True)
    run_test(tmp_path, [DetectionPicture(images=3)], images)
    (file,) = (tmp_path / "pictures").iterdir()
    assert file.name == "detections.png"
    with Image.open(file) as picture:
        assert 1.3 < picture.height / picture.width < 1.7  # three squares by two


def test_boxes_are_in_pixels_of_the_original_whatever_the_size_of_the_image():
    case = image([(1, 10, 20, 50, 90)], [(1, 0.75, 12, 20, 50, 90), (0, 0.4, 0, 0, 9, 9)], size=(100, 60))
    figure = draw([row(case)], CLASSES)
    annotated, detected = figure.axes
    for panel, x, text in ((annotated, 10, "bottle"), (detected, 12, "bottle 0.75")):
        assert panel.images[0].get_extent() == [0, 60, 100, 0]
        (box,) = (patch for patch in panel.patches if isinstance(patch, matplotlib.patches.Rectangle))
        assert (box.get_x(), box.get_y(), box.get_width(), box.get_height()) == (x, 20, 50 - x, 70)
        assert box.get_edgecolor()[:3] == class_colour(1)
        assert [each.get_text() for each in panel.texts] == [text]
    assert [panel.get_title() for panel in figure.axes] == ["annotated", "detected"]


def test_crowds_are_dashed():
    figure = draw([row(image([(0, 0, 0, 10, 10), (1, 0, 0, 50, 50, "ignored")]))], CLASSES)
    assert [patch.get_linestyle() for patch in figure.axes[0].patches] == ["--", "-"]  # the larger one first


def test_masks_cover_what_they_cover():
    boxes = np.array([[0, 0, 80, 160]], np.float32)
    case = image([(0, 0, 0, 80, 160)], [(0, 0.9, 0, 0, 80, 160)], size=(160, 160))
    figure = draw([row(case, masks=mottled(np.random.default_rng(0), boxes))], CLASSES)
    for panel in figure.axes:
        picture, mask = panel.images
        assert mask.get_extent() == picture.get_extent()
        cover = mask.get_array()[..., 3]
        assert cover[:, :39].mean() > 0.3
        assert cover[:, 41:].max() == 0


def test_names_do_not_hide_each_other():
    case = image([(k, 10, 20 + k, 60 - k, 90) for k in range(3)], size=(100, 100))
    texts = draw([row(case)], CLASSES).axes[0].texts
    heights = [text.get_position()[1] for text in texts]
    assert len(texts) == 3
    assert np.diff(sorted(heights)).min() > 2


def test_classes_have_colours_apart():
    colours = np.array([class_colour(label) for label in range(20)])
    distances = np.abs(colours[:, None] - colours[None]).sum(2) + np.eye(20)
    assert distances.min() > 0.05
    assert np.diff(colours, axis=0).__abs__().sum(1).min() > 0.5  # neighbours


@pytest.mark.parametrize("options", [{"images": 0}, {"min_score": 1.5}])
def test_bad_options_are_named(options):
    with pytest.raises(UserError, match="DetectionPicture"):
        DetectionPicture(**options)
