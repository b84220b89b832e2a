"""Detectors as files: raw heads that Python decodes, the second stage, and end to end."""

import pytest
import torch

from lightning_modules.detector import Detector
from lightning_modules.detector_exporting import (
    RawHeads,
    WholeDetector,
    exported_detector,
    mean_colour,
)
from networks.detection.samples import preprocess, to_samples
from tests.helpers.drawn_detection import drawn_batch
from tests.helpers.exported_detectors import DETECTORS, SIZE, Offered, same_boxes
from tests.helpers.small_detectors import FPN, SMALL
from visionscapes.errors import UserError
from visionscapes.exporting.export import TOLERANCE, export_networks

pytestmark = pytest.mark.filterwarnings("ignore")
FAMILIES = ["RetinaNet", "FCOS", "YOLOX", "Faster R-CNN", "Cascade R-CNN", "CenterNet2", "DETR"]


def parts_of(family: str) -> tuple:
    detector = DETECTORS[family]()
    return detector, {
        part.name: part for part in exported_detector(detector, SIZE, [{"id": 7, "name": "a"}, {"id": 9, "name": "b"}])
    }


@pytest.mark.parametrize("family", FAMILIES)
def test_decoding_in_python_gives_the_boxes_of_the_detector(family):
    assert same_boxes(*parts_of(family)) == "yes"


@pytest.mark.parametrize("family", ["RetinaNet", "FCOS", "YOLOX", "Faster R-CNN", "Cascade R-CNN", "DETR"])
def test_boxes_of_a_fixed_number_are_those_of_the_detector(family):
    _, parts = parts_of(family)
    whole = parts["detector"].network
    assert isinstance(whole, WholeDetector)
    for seed in range(3):
        (images,) = parts["detector"].example(seed)
        with torch.no_grad():
            ours, theirs = whole(images), whole.reference(images)
        assert (theirs[1] > whole.threshold).sum() > 0, "nothing to compare"
        for one, other in zip(ours, theirs, strict=True):
            assert one.shape[0] == whole.limit
            torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_pictures_are_prepared_as_mmdet_prepares_them():
    for family in ("RetinaNet", "FCOS"):  # of RGB, and of BGR
        detector, parts = parts_of(family)
        batch = drawn_batch([[(8, 8, 40, 40, 0)]], (64, 96))
        theirs, _ = preprocess(detector, batch["image"], to_samples(batch), training=False)
        network = parts["detector_heads"].network
        images = torch.stack(batch["image"]) / 255
        torch.testing.assert_close(network.prepared(images), theirs, atol=1e-4, rtol=0)
        padded = torch.tensor(mean_colour(network)).view(1, 3, 1, 1).expand(1, 3, 4, 4)
        assert network.prepared(padded).abs().max() < 1e-3


def test_the_module_offers_its_detector_with_names_and_size():
    module = Detector(FPN, num_classes=2, overrides=SMALL[FPN]).eval()
    module.categories, module.export_size = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}], (100, 200)
    parts = {part.name: part for part in module.exportable()}
    assert list(parts) == ["detector_heads", "detector_boxes", "detector"]
    assert parts["detector"].inputs["images"].shape == (1, 3, 128, 224), "the next multiples of 32"
    assert parts["detector"].about["classes"] == ["cat", "dog"]
    assert parts["detector_heads"].about["category_ids"] == [each["id"] for each in module.categories]
    assert parts["detector"].optional
    assert isinstance(parts["detector_heads"].network, RawHeads)


def test_raw_heads_of_a_small_detector(tmp_path):
    _, parts = parts_of("RetinaNet")
    (written,) = export_networks(Offered(parts["detector_heads"]), tmp_path, formats=["pt2"], say=str)
    assert written.difference < TOLERANCE / 10


def test_a_detector_without_a_head_of_boxes_is_refused():
    with pytest.raises(UserError, match="no head of boxes"):
        exported_detector(torch.nn.Module(), SIZE, [])
