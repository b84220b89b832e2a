import pytest
import torch
from safetensors.torch import save_file

from networks.timm_backbones import create_backbone
from visionscapes.errors import UserError


def test_pooled_features_of_any_size_of_image():
    for name in ("plain_cnn", "test_resnet"):
        backbone = create_backbone(name, None, {}).eval()
        for size in (32, 48):
            assert backbone(torch.rand(2, 3, size, size)).shape == (2, backbone.num_features)


def test_weights_of_a_file_with_or_without_a_classifier(tmp_path):
    import timm

    whole = timm.create_model("test_resnet", num_classes=5)
    save_file({key: value.contiguous() for key, value in whole.state_dict().items()}, tmp_path / "w.safetensors")
    backbone = create_backbone("test_resnet", str(tmp_path / "w.safetensors"), {})
    assert torch.equal(backbone.conv1[0].weight, whole.conv1[0].weight)


def test_weights_that_do_not_fit(tmp_path):
    save_file({"other": torch.zeros(1)}, tmp_path / "w.safetensors")
    with pytest.raises(UserError):
        create_backbone("test_resnet", str(tmp_path / "w.safetensors"), {})


def test_names_that_timm_does_not_know():
    with pytest.raises(UserError, match="resnet50"):
        create_backbone("resnet5O", None, {})


def test_arguments_that_a_model_does_not_take():
    with pytest.raises(UserError, match="cannot be built"):
        create_backbone("test_resnet", None, {"widths": [1]})


def test_published_weights_without_a_network(monkeypatch):
    import timm

    def refuse(*args, pretrained, **kwargs):
        raise OSError("no network") if pretrained else AssertionError

    monkeypatch.setattr(timm, "create_model", refuse)
    with pytest.raises(UserError, match="weights=null"):
        create_backbone("test_resnet", "timm", {})


def test_published_weights_are_taken_as_timm_gives_them(monkeypatch):
    import timm

    create, asked = timm.create_model, []

    def fetched(name, pretrained, **arguments):
        asked.append(pretrained)
        model = create(name, pretrained=False, **arguments)
        torch.nn.init.constant_(model.conv1[0].weight, 0.25 if pretrained else 0.5)
        return model

    monkeypatch.setattr(timm, "create_model", fetched)
    assert create_backbone("test_resnet", "timm", {}).conv1[0].weight.unique().tolist() == [0.25]
    assert create_backbone("test_resnet", None, {}).conv1[0].weight.unique().tolist() == [0.5]
    assert asked == [True, False]
