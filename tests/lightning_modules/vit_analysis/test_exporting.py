"""ViTs seen layer by layer as files."""

import pytest

from lightning_modules.vit_analysis.exporting import LayersOfViT, layers_of_vit
from lightning_modules.vit_analysis.module import ViTAnalysis
from tests.helpers.exported import exported, same_as
from tests.lightning_modules.vit_analysis.test_module import entry


def module() -> ViTAnalysis:
    models = {"FS B/16": entry(method="FS"), "larger": entry(image_size=64), "Random": entry(method="Random")}
    return ViTAnalysis(models, 32)


def test_every_layer_is_an_output_and_noise_is_not_exported():
    made = module()
    parts = made.exportable()
    assert [part.name for part in parts] == ["fs_b_16", "larger"]
    assert [part.about["model"] for part in parts] == ["FS B/16", "larger"]
    for part, vit in zip(parts, made.layered().values(), strict=False):
        assert isinstance(part.network, LayersOfViT)
        assert list(part.outputs) == ["layer_1", "layer_2"]
        same_as(part, lambda images, vit=vit: tuple(vit(images).values()))
    assert layers_of_vit("?", next(iter(made.layered().values()))).name == "vit"


@pytest.mark.slow  # 12 s
def test_in_both_formats(tmp_path):
    files = {f"{name}.{kind}" for name in ("fs_b_16", "larger") for kind in ("onnx", "pt2")}
    assert set(exported(module(), tmp_path)) == files
