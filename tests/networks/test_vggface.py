import pytest
import torch
from torch import nn
from torch.nn import functional as F

from networks.companion import Companion
from networks.identity import has_weights_of
from networks.vggface import VGGFace, VGGFaceDistance, VGGFaceNetwork
from visionscapes.errors import UserError

LEVELS = (2, 2, 3, 3, 3)


@pytest.fixture(scope="module")
def network():
    """One like VGGFace with 2 channels where that has 64, for 5 people."""
    torch.manual_seed(0)
    network = VGGFaceNetwork(2, 6, 5)
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.normal_(layer.bias, std=5)
    return network


@pytest.fixture
def file(network, tmp_path):
    return saved(network.state_dict(), tmp_path)


def saved(state, folder):
    torch.save({key: value.clone() for key, value in state.items()}, folder / "vggface.pth")
    return str(folder / "vggface.pth")


def faces(seed=1, size=224):
    return torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def written_out(network, images, mean):
    """Return the maps after the first ReLU of each level and the logits, blue first, level by level."""
    x = torch.stack([(images[:, colour] + 1) * 127.5 - value for colour, value in zip((2, 1, 0), mean, strict=True)], 1)
    convolutions = iter([layer for layer in network.features if isinstance(layer, nn.Conv2d)])
    maps = []
    for count in LEVELS:
        for number in range(count):
            x = F.relu(next(convolutions)(x))
            maps += [x] if number == 0 else []
        x = F.max_pool2d(x, 2)
    return maps, network.fc8(F.relu(network.fc7(F.relu(network.fc6(x.flatten(1))))))


@pytest.mark.parametrize(
    ("mean", "values"), [("imagenet", (103.939, 116.779, 123.68)), ("vggface", (93.594, 104.7624, 129.1863))]
)
def test_equals_the_network_written_out(network, file, mean, values):
    maps, logits = VGGFaceNetwork.from_file(file, mean=mean)(faces())
    wanted, wanted_logits = written_out(network, faces(), values)
    assert list(maps) == ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]
    assert all(
        torch.allclose(one, other, rtol=1e-3, atol=1e-3) for one, other in zip(maps.values(), wanted, strict=True)
    )
    assert torch.allclose(logits, wanted_logits, rtol=1e-3, atol=1e-3)
    assert logits.shape == (2, 5)


def test_the_distance_is_the_two_sums(network, file):
    perceptual, identity = VGGFaceDistance(file)(faces(1), faces(2))
    (ours, our_logits), (theirs, their_logits) = (
        written_out(network, faces(seed), (103.939, 116.779, 123.68)) for seed in (1, 2)
    )
    expected = sum((one - other).abs().mean() for one, other in zip(ours, theirs, strict=True))
    assert perceptual.item() == pytest.approx(expected.item(), rel=1e-4)
    assert identity.item() == pytest.approx((our_logits - their_logits).abs().mean().item(), rel=1e-4)
    assert all(float(term) == 0 for term in VGGFaceDistance(file)(faces(), faces()))


def test_weights_that_read_red_first(network, file, tmp_path):
    turned = network.state_dict()
    turned["features.0.weight"] = turned["features.0.weight"].flip(1)
    expected = VGGFaceNetwork.from_file(file)(faces())[1]
    ours = VGGFaceNetwork.from_file(saved(turned, tmp_path), colours="rgb")(faces())[1]
    assert torch.allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_the_gradient_goes_to_the_images_alone(file):
    distance = VGGFaceDistance(file).train()
    assert not any(each.training for each in distance.network.modules())
    left, right = faces(1).requires_grad_(), faces(2).requires_grad_()
    torch.stack(distance(left, right)).sum().backward()
    assert left.grad.abs().sum() > 0
    assert right.grad is None
    assert not any(weight.requires_grad for weight in distance.parameters())


@pytest.mark.parametrize("size", [64, 300])
def test_pictures_of_other_sizes_are_resized(network, size):
    smooth = F.interpolate(faces(1, 8), (224, 224), mode="bicubic").clamp(-1, 1)
    other = F.interpolate(smooth, (size, size), mode="bilinear", antialias=True, align_corners=False)
    assert F.cosine_similarity(network(smooth)[1], network(other)[1]).min() > 0.99


def test_autocast(file):
    distance = VGGFaceDistance(file)
    exact = distance(faces(1), faces(2))
    with torch.autocast("cpu", torch.bfloat16):
        coarse = distance(faces(1, 64), faces(2, 64))
        same = distance(faces(1), faces(2))
    assert {term.dtype for term in (*coarse, *same)} == {torch.float32}
    assert [float(term) for term in same] == pytest.approx([float(term) for term in exact], rel=0.1)


def forms(network):
    """Return the state dict under the names of the usual conversions."""
    state = network.state_dict()
    places = [place for place, layer in enumerate(network.features) if isinstance(layer, nn.Conv2d)]
    names = [(level, number) for level, count in enumerate(LEVELS, 1) for number in range(1, count + 1)]
    convolutions = {f"features.{place}": name for place, name in zip(places, names, strict=True)}

    def named(pattern, heads):
        found = {}
        for key, value in state.items():
            layer, kind = key.rsplit(".", 1)
            new = pattern(layer, convolutions[layer]) if layer in convolutions else heads[layer]
            found[f"{new}.{kind}"] = value
        return found

    plain = {f"fc{number}": f"fc{number}" for number in (6, 7, 8)}
    dag = named(lambda _, name: f"conv{name[0]}_{name[1]}", plain)
    return {
        "MatConvNet": dag,
        "Torch7": named(lambda _, name: f"conv_{name[0]}_{name[1]}", plain),
        "torchvision": named(
            lambda layer, _: layer, {"fc6": "classifier.0", "fc7": "classifier.3", "fc8": "classifier.6"}
        ),
        "convolutions": dag | {"fc6.weight": dag["fc6.weight"].view(6, 16, 7, 7)},
    }


@pytest.mark.parametrize("form", ["MatConvNet", "Torch7", "torchvision", "convolutions"])
def test_names_of_the_usual_conversions(network, form, tmp_path):
    loaded = VGGFaceNetwork.from_file(saved(forms(network)[form], tmp_path))
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in loaded.state_dict().items())


def test_wrong_files(network, tmp_path):
    state = network.state_dict()
    with pytest.raises(UserError, match="does not hold VGGFace, for it has no fc8"):
        VGGFaceNetwork.from_file(saved({k: v for k, v in state.items() if "fc8" not in k}, tmp_path))
    with pytest.raises(UserError, match="does not hold VGGFace, for it has no conv1_1"):
        VGGFaceNetwork.from_file(saved({"fc8.weight": state["fc8.weight"]}, tmp_path))
    with pytest.raises(UserError, match=r"missing: features.2.bias. Give a conversion"):
        VGGFaceNetwork.from_file(saved({k: v for k, v in state.items() if k != "features.2.bias"}, tmp_path))
    with pytest.raises(UserError, match=r"other shapes: fc6.weight is \(6, 9\)"):
        VGGFaceNetwork.from_file(saved(state | {"fc6.weight": torch.zeros(6, 9)}, tmp_path))
    with pytest.raises(UserError, match="no weights at"):
        VGGFaceDistance(str(tmp_path / "none.pth"))
    with pytest.raises(UserError, match=r"VGGFaceDistance.mean is 'none'; .* imagenet, vggface"):
        VGGFaceDistance(saved(state, tmp_path), mean="none")


def test_the_sizes_of_the_published_network():
    with torch.device("meta"):
        published = VGGFaceNetwork()
    assert sum(weight.numel() for weight in published.parameters()) == 145_002_878


def test_the_embedder_gives_the_logits_with_unit_length(network, file):
    images = (faces() + 1) / 2
    embeddings = VGGFace(file)(images)
    torch.testing.assert_close(embeddings, F.normalize(network(faces())[1], dim=1), atol=1e-4, rtol=1e-4)
    assert embeddings.norm(dim=1).tolist() == pytest.approx([1, 1])


def test_the_embedder_is_known_again_in_the_losses(network, file):
    class Trained(nn.Module):
        def __init__(self):
            super().__init__()
            self.faces = Companion(VGGFaceDistance(file))

    assert has_weights_of(Trained(), VGGFace(file))
    assert not has_weights_of(nn.Linear(2, 2), VGGFace(file))
