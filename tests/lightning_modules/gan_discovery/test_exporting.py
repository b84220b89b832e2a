"""The network of GAN discovery as files."""

import json

import pytest
import torch

from lightning_modules.gan_discovery.exporting import FeaturesAndLogits, attribution
from lightning_modules.gan_discovery.module import GANDiscovery
from tests.helpers.exported import exported, same_as
from visionscapes.exporting.export import TOLERANCE, export_networks

SMALL = {"backbone": "plain_cnn", "hidden": 16, "dim": 8, "most_classes": 10}
VIT = {"depth": 1, "embed_dim": 16, "num_heads": 2, "img_size": 32, "patch_size": 8}


def module(**changes) -> GANDiscovery:
    torch.manual_seed(0)
    made = GANDiscovery(network={**SMALL, **changes})
    made.network.classes = 4
    return made


def test_features_and_logits_are_those_of_the_network():
    made = module().eval()
    (part,) = made.exportable()
    assert isinstance(part.network, FeaturesAndLogits)

    def reference(images):
        features = made.network(images)
        return features, made.network.logits(features)

    same_as(part, reference, tolerance=1e-6)
    assert part.network(part.example()[0])[1].shape == (2, 4), "as many logits as classes are in use"


def test_names_of_the_known_sources_are_told():
    assert attribution(module().network, ["camera", "generator"]).about == {"classes": ["camera", "generator"]}
    assert attribution(module().network, None).about == {}


@pytest.mark.slow  # 10 s each
@pytest.mark.parametrize("backbone", ["plain_cnn", "resnet10t"])
def test_in_both_formats(backbone, tmp_path):
    assert set(exported(module(backbone=backbone), tmp_path)) == {"gan_discovery.onnx", "gan_discovery.pt2"}


def test_a_backbone_of_one_size_is_exported_for_that(tmp_path):
    told = []
    made = module(backbone="vit_tiny_patch16_224", backbone_args=VIT)
    (written,) = export_networks(made, tmp_path, formats=["pt2"], say=told.append)
    assert written.difference < TOLERANCE / 10
    assert told[0].startswith("note: height and width cannot vary")
    shape = json.loads((tmp_path / "gan_discovery.json").read_text())["inputs"]["images"]["shape"]
    assert shape[0] == "batch"
    assert shape[2:] == [32, 32]
