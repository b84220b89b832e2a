"""The ViTs of chapter 2 as files."""

import pytest
import torch

from lightning_modules.supervision.dense_contrastive import DenseContrastive
from lightning_modules.supervision.dino import DINO
from lightning_modules.supervision.exporting import DenseViT
from lightning_modules.supervision.mae import MAE
from lightning_modules.supervision.supervised import Supervised
from tests.helpers.exported import exported, same_as
from tests.helpers.tiny_vit import MODEL, TINY

NEXT = {"embed_dim": 32, "depth": 2, "num_heads": 2}
CASES = {
    "absolute": lambda: DenseContrastive(MODEL, TINY),
    "the teacher": lambda: DINO(MODEL, TINY),
    "sines and cosines": lambda: MAE(MODEL, TINY, decoder_dim=16, decoder_heads=2, decoder_depth=1),
    "registers, patch 14": lambda: Supervised("vit_small_patch14_reg4_dinov2", 3, {"img_size": 56, **NEXT}),
    "rotary": lambda: DenseContrastive("vit_small_patch16_dinov3", {"img_size": 64, **NEXT}),
    "one size": lambda: DenseContrastive("beit_base_patch16_224", {"img_size": 32, **NEXT}),
}


@pytest.mark.parametrize("name", CASES)
def test_the_network_gives_what_predicting_gives(name):
    torch.manual_seed(0)
    module = CASES[name]().eval()
    (part,) = module.exportable()
    assert isinstance(part.network, DenseViT)
    same_as(part, lambda images: module.predict_step({"image": images}, 0))
    kept = {id(each) for each in module.kept_vit().vit.parameters()}
    assert {id(each) for each in part.network.parameters()} == kept


@pytest.mark.slow  # 10 s each
@pytest.mark.parametrize("name", CASES)
def test_in_both_formats_at_any_size(name, tmp_path):
    assert len(exported(CASES[name](), tmp_path)) == 2
