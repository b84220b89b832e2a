import copy

import pytest
import torch

from networks.detection.build import build_detector
from networks.detection.devices import moved
from networks.detection.samples import preprocess, to_samples
from tests.helpers.drawn_detection import drawn_batch
from tests.helpers.left_behind import left_behind
from tests.networks.detection.test_families import FAMILIES

pytestmark = pytest.mark.filterwarnings("ignore:the branches for stuff", "ignore:the backbone has no weights")


@pytest.fixture(scope="module")
def detector():
    name = "faster_rcnn/faster-rcnn_r50_fpn_1x_coco"
    return build_detector(f"mmdet::{name}", FAMILIES[name], num_classes=2)


def test_nothing_stays_behind_of_a_detector_that_holds_itself():
    """PISA's sampler holds the head that it is a part of; test_families.py asks the others, once they were used."""
    name = "pisa/faster-rcnn_r50_fpn_pisa_1x_coco"
    whole = torch.nn.ModuleList([build_detector(f"mmdet::{name}", FAMILIES[name], num_classes=2)])
    assert left_behind(whole, "cpu") == []
    assert left_behind(whole.to("meta"), "meta") == []


def test_pictures_go_where_the_detector_is_and_not_where_it_was_built(detector):
    whole = torch.nn.ModuleList([copy.deepcopy(detector)]).to("meta")
    batch = drawn_batch([[(8, 8, 50, 50, 0)]], (64, 64))
    inputs, _ = preprocess(whole[0], batch["image"], to_samples(batch), training=True)
    assert inputs.device.type == "meta"


def test_coordinates_of_anchors_stay_exact_in_a_network_of_16_bits(detector):
    whole = torch.nn.ModuleList([copy.deepcopy(detector)]).to(torch.bfloat16)
    assert next(whole.parameters()).dtype == torch.bfloat16
    assert whole[0].rpn_head.prior_generator.base_anchors[0].dtype == torch.float32


def test_what_is_foreign_is_left_as_it_is():
    def to_meta(x):
        return x.to("meta")

    class Foreign:
        def __init__(self):
            self.tensor = torch.zeros(2)

    foreign = Foreign()
    assert moved(foreign, to_meta) is foreign
    assert foreign.tensor.device.type == "cpu"
    assert moved(("a", [torch.zeros(2)], {"b": torch.device("cpu")}), to_meta)[2] == {"b": torch.device("meta")}
