"""LiFT as files: any ViT, images of any size."""

import pytest
import torch

from lightning_modules.lift.exporting import LiftedAtAnySize, lifted
from lightning_modules.lift.module import LiFT
from networks.lift_block import Lifted
from networks.vit_features import ViTFeatures
from tests.helpers.tiny_vit import MODEL, TINIEST
from tests.networks.test_vit_features import FAMILIES, features
from visionscapes.exporting.export import TOLERANCE, export_networks

OPTIONS = {
    "plain": {"stride": 5, "facet": "query"},
    "registers, patch 14": {"position_embedding": "timm", "facet": "token"},
    "distilled": {"layer": 0},
}


def module(family: str) -> LiFT:
    torch.manual_seed(0)
    made = LiFT(features(FAMILIES[family], **OPTIONS.get(family, {})))
    for name, buffer in made.block.named_buffers():  # as after a training
        if "running" in name:
            torch.nn.init.uniform_(buffer, 0.5, 1.5)
    return made.eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_followed_once_is_lift_itself(family):
    lift = module(family)
    (part,) = lift.exportable()
    fixed = lift.backbone.fixed_size
    for height, width in [fixed] if fixed else [(37, 91), (64, 64), (48, 48)]:
        images = torch.rand(2, 3, height, width)
        with torch.no_grad():
            theirs = lift.predict_step({"image": images}, 0)
            assert torch.allclose(part.network(images), theirs, atol=1e-5)
            assert torch.equal(part.reference(images), theirs)
    assert {id(each) for each in part.network.parameters()} == {
        id(each) for each in (*lift.backbone.parameters(), *lift.block.parameters())
    }, "no weight is copied"


def test_a_small_lift(tmp_path):
    lift = LiFT(ViTFeatures(MODEL, weights=None, model_args=TINIEST))
    (written,) = export_networks(lift, tmp_path, formats=["pt2"], say=str)
    assert written.path.name == "lift.pt2"
    assert written.difference < TOLERANCE / 10
    assert lifted(lift.backbone, lift.block).inputs["images"].shape == ("batch", 3, "height", "width")
    assert isinstance(lift.exportable()[0].network, LiftedAtAnySize)
    assert isinstance(lift.exportable()[0].reference, Lifted)


@pytest.mark.slow  # 20 s each
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_of_vits_in_both_formats(family, tmp_path):
    told = []
    written = export_networks(module(family), tmp_path, say=told.append)
    assert all(each.difference < TOLERANCE / 10 for each in written)
    assert len(written) == 2
    assert not [line for line in told if line.startswith("note")], "height and width vary where the ViT lets them"
