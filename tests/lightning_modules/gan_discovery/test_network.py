import pytest
import torch

from lightning_modules.gan_discovery.network import AttributionNetwork, AttributionNetworkOptions
from visionscapes.errors import UserError

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def network(backbone: str = "plain_cnn", **options) -> AttributionNetwork:
    torch.manual_seed(0)
    return AttributionNetwork(AttributionNetworkOptions(backbone, most_classes=10, **options), classes=3).eval()


@pytest.mark.parametrize("backbone", ["plain_cnn", "test_resnet", "resnet18", "mobilenetv2_035", "test_vit"])
def test_any_backbone_gives_features_that_are_not_negative(backbone):
    images = torch.rand(2, 3, 160, 160) if backbone == "test_vit" else IMAGES[:2]
    features = network(backbone, dim=24)(images)
    assert features.shape == (2, 24)
    assert features.min() >= 0
    assert features.max() > 0


def test_layers_are_those_of_the_appendix():
    """Thesis 4.5.1: 2048 to 512, 512 and 128, each with ReLU and dropout of 0.5."""
    layers = network("resnet50").layers
    assert [(layer[0].in_features, layer[0].out_features) for layer in layers] == [(2048, 512), (512, 512), (512, 128)]
    assert all(isinstance(layer[1], torch.nn.ReLU) and layer[2].p == 0.5 for layer in layers)


def test_images_are_normalised_with_mean_and_deviation_of_one_half():
    found, seen = network(), []
    found.backbone.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    found(IMAGES)
    assert torch.allclose(seen[0], (IMAGES - 0.5) / 0.5)


def test_only_the_classes_in_use_have_logits_and_gradients():
    found = network()
    logits = found.logits(found(IMAGES))
    assert logits.shape == (4, 3)
    logits.logsumexp(1).sum().backward()
    assert found.classifier.weight.grad[:3].abs().sum() > 0
    assert found.classifier.weight.grad[3:].abs().sum() == 0
    whole = torch.nn.functional.linear(found(IMAGES), found.classifier.weight, found.classifier.bias)
    torch.testing.assert_close(logits, whole[:, :3])


def test_a_new_classifier_keeps_its_parameters_and_changes_their_values():
    found = network()
    before, weight = found.classifier.weight.clone(), found.classifier.weight
    found.new_classifier(7, seed=3)
    assert found.classifier.weight is weight
    assert not torch.equal(before, weight)
    assert found.logits(found(IMAGES)).shape == (4, 7)
    first = weight.clone()
    found.new_classifier(5, seed=3)
    assert torch.equal(first, weight)
    found.new_classifier(5, seed=4)
    assert not torch.equal(first, weight)
    assert weight.abs().max() <= 128**-0.5


def test_more_classes_than_rows():
    with pytest.raises(UserError, match="11 sources and clusters"):
        network().new_classifier(11, 0)


def test_dropout_is_part_of_training_alone():
    found = network(dropout=0.9)
    assert torch.equal(found(IMAGES), found(IMAGES))
    found.layers.train()
    assert not torch.equal(found(IMAGES), found(IMAGES))


@pytest.mark.parametrize(
    ("backbone", "last"), [("resnet18", "layer4."), ("plain_cnn", "layers.3."), ("mobilenetv2_035", "blocks.6.")]
)
def test_freezing_leaves_the_last_stage_and_what_follows(backbone, last):
    found = network(backbone)
    found.freeze_all_but_last_stage()
    names = {name: parameter.requires_grad for name, parameter in found.backbone.named_parameters()}
    assert all(learns for name, learns in names.items() if name.startswith(last))
    first = [name.startswith(last) for name in names].index(True)
    assert not any(list(names.values())[:first])
    assert first > 0
    assert all(parameter.requires_grad for parameter in found.layers.parameters())


def test_features_keep_their_size_through_the_layers():
    """With torch's own weights each layer would shrink them by the square root of six."""
    torch.manual_seed(0)
    layers = AttributionNetwork(AttributionNetworkOptions("resnet50", most_classes=2), classes=2).eval().layers
    features = torch.randn(64, 2048)
    ratio = layers(features).square().mean() / features.square().mean()
    assert 0.3 < ratio < 3
