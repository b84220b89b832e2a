from urllib.error import URLError

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from networks import perceptual
from networks.perceptual import (
    CAFFE_FACTOR,
    LAYERS,
    FeatureDistance,
    VGGPerceptual,
    convolutions_of,
    measured_factor,
    relu_names,
    vgg19_features,
)
from visionscapes.errors import UserError


def stack(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(4, 4, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 6, 3, padding=1),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, padding=1),
    )


def images(seed=1, batch=2):
    return torch.rand(batch, 3, 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_names_of_the_relus_of_vgg19():
    from torchvision.models import vgg19

    with torch.device("meta"):
        names = {name: place for place, name in relu_names(vgg19(init_weights=False).features).items()}
    assert len(names) == 16
    assert [names[layer] for layer in LAYERS] == [1, 6, 11, 20, 29]  # the slices of both official codes
    assert names["relu5_4"] == 35


def test_equals_the_sum_written_out():
    network = stack()
    distance = FeatureDistance(network, ("relu1_1", "relu2_1"), (0.25, 2.0))
    left, right = images(1), images(2)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def maps(pictures):
        pictures = ((pictures + 1) / 2 - mean[:, None, None]) / std[:, None, None]
        first = F.relu(network[0](pictures))
        second = F.relu(network[5](F.max_pool2d(F.relu(network[2](first)), 2)))
        return first, second

    (first, second), (wanted_first, wanted_second) = maps(left), maps(right)
    expected = 0.25 * (first - wanted_first).abs().mean() + 2 * (second - wanted_second).abs().mean()
    assert torch.allclose(distance(left, right), expected)


def test_layers_behind_the_last_are_not_computed():
    assert len(FeatureDistance(stack(), ("relu1_2",), (1.0,)).features) == 4


def test_zero_for_equal_images_and_positive_otherwise():
    distance = FeatureDistance(stack(), ("relu1_1", "relu2_1"), (1.0, 1.0))
    assert distance(images(), images()) == 0
    assert distance(images(1), images(2)) > 0


def test_gradient_goes_to_the_images_alone():
    distance = FeatureDistance(stack(), ("relu2_1",), (1.0,))
    left, right = images(1).requires_grad_(), images(2).requires_grad_()
    distance(left, right).backward()
    assert left.grad.abs().sum() > 0
    assert right.grad is None
    assert not any(weight.requires_grad for weight in distance.parameters())


def test_stays_in_evaluation_mode_inside_a_module_in_training():
    owner = nn.Sequential(FeatureDistance(stack(), ("relu1_1",), (1.0,)), nn.Dropout())
    owner.train()
    assert owner[1].training
    assert not any(module.training for module in owner[0].modules())


def test_autocast():
    distance = FeatureDistance(stack(), ("relu1_1", "relu2_1"), (1.0, 1.0))
    exact = distance(images(1), images(2))
    with torch.autocast("cpu", torch.bfloat16):
        coarse = distance(images(1), images(2))
    assert coarse.dtype == torch.float32
    assert coarse.item() == pytest.approx(exact.item(), rel=0.05)


def test_wrong_layers():
    with pytest.raises(UserError, match=r"no relu3_1, relu4_1, relu5_1; it has relu1_1, relu1_2, relu2_1"):
        FeatureDistance(stack())
    with pytest.raises(UserError, match="2 layers of the perceptual loss and 1 weights"):
        FeatureDistance(stack(), ("relu1_1", "relu2_1"), (1.0,))


@pytest.fixture(scope="module")
def vgg_file(tmp_path_factory):
    """A file of VGG19's features and a classifier of wrong size, and the features' weights."""
    features = vgg19_features(None)
    state = {f"features.{key}": value for key, value in features.state_dict().items()}
    path = tmp_path_factory.mktemp("vgg") / "vgg19.pth"
    torch.save(state | {"classifier.0.weight": torch.zeros(2, 2)}, path)
    return path, features.state_dict()


def test_file_of_the_whole_network(vgg_file):
    path, state = vgg_file
    loss = VGGPerceptual(str(path))
    assert len(loss.features) == 30
    assert all(torch.equal(value, state[key]) for key, value in loss.features.state_dict().items())
    assert loss(torch.zeros(1, 3, 16, 16), torch.ones(1, 3, 16, 16)) > 0
    assert all(key.startswith("features.") for key in loss.state_dict())


def test_file_of_the_features_alone_and_a_wrong_file(vgg_file, monkeypatch):
    state = vgg_file[1]
    monkeypatch.setattr(perceptual, "read_state_dict", lambda path: state)
    assert torch.equal(vgg19_features("features.pth")[0].weight, state["0.weight"])
    monkeypatch.setattr(perceptual, "read_state_dict", lambda path: {"0.weight": state["0.weight"]})
    with pytest.raises(UserError, match=r"'vgg16.pth' does not hold .* 31 names or shapes .* such as '0.bias'"):
        vgg19_features("vgg16.pth")
    monkeypatch.setattr(perceptual, "read_state_dict", lambda path: state | {"2.bias": torch.zeros(3)})
    with pytest.raises(UserError, match=r"1 names or shapes do not match, such as '2.bias'"):
        vgg19_features("wide.pth")


def test_missing_file(tmp_path):
    with pytest.raises(UserError, match="no weights at"):
        VGGPerceptual(str(tmp_path / "vgg19.pth"))


def test_without_a_network_the_error_says_where_to_fetch_what(monkeypatch):
    def fail(*_, **__):
        raise URLError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(UserError, match=r"no route to host.*https://download.pytorch.org/models/vgg19-\w+.pth"):
        VGGPerceptual()


TWO = (("relu1_1", "relu2_1"), (1.0, 1.0))


def without_biases():
    network = stack()
    for layer in network:
        if isinstance(layer, nn.Conv2d):
            nn.init.zeros_(layer.bias)
    return network


def reads_blue_first(network):
    """Return the same network for images whose colours stand the other way round."""
    turned = without_biases()
    turned.load_state_dict(network.state_dict())
    with torch.no_grad():
        turned[0].weight.copy_(network[0].weight.flip(1))
    return turned


def test_the_scale_of_caffe_is_that_of_its_pixels():
    """Blue first, from 0 to 255, less the mean of ImageNet; written out by hand."""
    network, left, right = stack(), images(1), images(2)

    def first(pictures):
        blue_first = (pictures + 1) * 127.5
        blue_first = torch.stack([blue_first[:, 2] - 103.939, blue_first[:, 1] - 116.779, blue_first[:, 0] - 123.68], 1)
        return F.relu(network[0](blue_first))

    distance = FeatureDistance(network, ("relu1_1",), (1.0,), input_scale="caffe")
    assert torch.allclose(distance(left, right), (first(left) - first(right)).abs().mean(), rtol=1e-4)


def test_the_silent_factor_of_57():
    """The same network on the same images: a loss weight of 0.1 is one of 5.7 with the other scale."""
    network = without_biases()
    left, right = images(1), images(2)
    ours = FeatureDistance(network, *TWO)(left, right)
    caffes = FeatureDistance(reads_blue_first(network), *TWO, input_scale="caffe")(left, right)
    assert 54 < caffes / ours < 61
    assert pytest.approx(57.6, abs=0.1) == CAFFE_FACTOR
    calibrated = FeatureDistance(network, *TWO, input_scale="calibrated")(left, right)
    assert calibrated.item() == pytest.approx(caffes.item(), rel=0.05)
    assert calibrated.item() == pytest.approx(CAFFE_FACTOR * ours.item())


def test_the_factor_can_be_measured():
    network = without_biases()
    ours = FeatureDistance(network, *TWO)
    caffes = FeatureDistance(reads_blue_first(network), *TWO, input_scale="caffe")
    pairs = [(images(seed), images(seed + 9)) for seed in range(3)]
    assert measured_factor(ours, caffes, [*pairs, (images(1), images(1))]) == pytest.approx(CAFFE_FACTOR, rel=0.05)
    assert measured_factor(ours, ours, pairs) == 1
    with pytest.raises(UserError, match="no pair of different images"):
        measured_factor(ours, caffes, [(images(1), images(1))])


def test_the_scale_of_torchvision_is_what_it_was():
    """Bit for bit that of the time before there were others, also its gradient: GRIT's runs depend on it."""
    network, right = stack(), images(2)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])

    def term(pictures):
        return F.relu(network[0](((pictures + 1) / 2 - mean[:, None, None]) / std[:, None, None]))

    one, other = images(1).requires_grad_(), images(1).requires_grad_()
    ours = FeatureDistance(network, ("relu1_1",), (0.3,))(one, right)
    before = torch.stack([0.3 * F.l1_loss(term(other), term(right).detach())]).sum()
    ours.backward()
    before.backward()
    assert torch.equal(ours, before)
    assert torch.equal(one.grad, other.grad)


def test_scales_that_do_not_fit():
    with pytest.raises(UserError, match=r"weights of torchvision do not read .* of caffe: take .* 'calibrated'"):
        VGGPerceptual("torchvision", input_scale="caffe")
    with pytest.raises(UserError, match="no input scale 'keras'; it has torchvision, caffe, calibrated"):
        FeatureDistance(stack(), *TWO, input_scale="keras")


@pytest.mark.parametrize("form", ["{place}", "features.{place}", "block{block}_conv{number}", "conv{block}_{number}"])
def test_names_of_converted_files(form):
    network = stack()
    named = {"0": (1, 1), "2": (1, 2), "5": (2, 1)}  # and "7", which no ReLU follows
    state = {}
    for key, value in network.state_dict().items():
        place, kind = key.split(".")
        if place in named:
            block, number = named[place]
            state[f"{form.format(place=place, block=block, number=number)}.{kind}"] = value
    found = convolutions_of(network, state | {"classifier.1.weight": torch.zeros(2, 2), "fc6.bias": torch.zeros(2)})
    assert found.keys() == {f"{place}.{kind}" for place in named for kind in ("weight", "bias")}
    assert all(torch.equal(value, network.state_dict()[key]) for key, value in found.items())
