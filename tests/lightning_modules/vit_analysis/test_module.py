from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lightning_modules.vit_analysis.module import AnalysedViT, ViTAnalysis
from networks.vit_layers import LayeredViT, RandomFeatures
from tests.helpers.tiny_vit import TINY
from visionscapes.errors import UserError

VIT = TINY | {"embed_dim": 32}


def entry(**options: Any) -> AnalysedViT:
    return AnalysedViT(**{"model": "vit_tiny_patch16_224", "weights": None, "model_args": VIT} | options)


def test_models_keep_names_order_and_description() -> None:
    module = ViTAnalysis({"FS B/16": entry(method="FS"), "mine": entry(), "Random": entry(method="Random")}, 32)
    assert list(module.layered()) == ["FS B/16", "mine", "Random"]
    assert [type(vit) for vit in module.layered().values()] == [LayeredViT, LayeredViT, RandomFeatures]
    assert module.described()[0] == {
        "name": "FS B/16",
        "method": "FS",
        "depth": 2,
        "heads": 2,
        "patch_size": 8,
        "image_size": 32,
        "grid": [4, 4],
    }
    assert [each["method"] for each in module.described()] == ["FS", "mine", "Random"]
    assert module.described()[2]["depth"] == 1
    maps = module.dense_features()["Random"](torch.rand(1, 3, 64, 64))
    assert maps["1"].shape == (1, 32, 8, 8)


def test_every_model_sees_pictures_at_its_own_size() -> None:
    module = ViTAnalysis({"small": entry(), "large": entry(model_args={**VIT, "img_size": 64})}, 32)
    shapes = {name: vit(torch.rand(1, 3, 32, 32))["1"].shape for name, vit in module.layered().items()}
    assert shapes == {"small": (1, 32, 4, 4), "large": (1, 32, 8, 8)}


@pytest.mark.parametrize("prefix", ["", "network.vit.", "module.base_encoder."])
def test_weights_come_from_files_of_several_kinds(tmp_path, prefix: str) -> None:
    trained = ViTAnalysis({"a": entry()}, 32).layered()["a"]
    state = {f"{prefix}{key}": value for key, value in trained.vit.state_dict().items()}  # type: ignore[union-attr]
    if prefix:
        torch.save({"state_dict": state | {"head.weight": torch.ones(1)}}, tmp_path / "file.ckpt")
    else:
        save_file(state, tmp_path / "file.safetensors")
    (path,) = tmp_path.iterdir()
    loaded = ViTAnalysis({"a": entry(weights=str(path))}, 32).layered()["a"]
    image = torch.rand(1, 3, 32, 32)
    assert torch.equal(loaded(image)["2"], trained(image)["2"])


def test_a_teacher_is_preferred_to_its_student(tmp_path) -> None:
    state = ViTAnalysis({"a": entry()}, 32).layered()["a"].vit.state_dict()  # type: ignore[union-attr]
    both = {f"network.vit.{key}": value for key, value in state.items()}
    both |= {f"teacher.vit.{key}": value + 1 for key, value in state.items()}
    torch.save({"state_dict": both}, tmp_path / "dino.ckpt")
    loaded = ViTAnalysis({"a": entry(weights=str(tmp_path / "dino.ckpt"))}, 32).layered()["a"]
    assert torch.equal(loaded.vit.norm.weight, state["norm.weight"] + 1)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("models", "size", "message"),
    [
        ({}, 32, "name at least one"),
        ({"a": entry()}, 0, "image_size is 0"),
        ({"a": entry(probe_layer=3)}, 32, "model 'a': probe_layer 3 does not exist, it has 1 to 2"),
        ({"a": entry(model="resnet18", model_args={})}, 32, "model 'a': 'resnet18' is not a plain"),
        ({"a": entry(weights="nowhere.pth")}, 32, "model 'a': no weights at 'nowhere.pth'"),
    ],
)
def test_mistakes_name_the_model(models: dict[str, AnalysedViT], size: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ViTAnalysis(models, size)


def test_there_is_nothing_to_train() -> None:
    with pytest.raises(UserError, match=r"run python cli\.py test"):
        ViTAnalysis({"a": entry()}, 32).training_step({}, 0)
