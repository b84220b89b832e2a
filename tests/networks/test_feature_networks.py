import warnings

import pytest
import torch
import torchvision
from torch.nn import functional as F

from networks import feature_networks
from networks.feature_networks import LPIPS, SmallDistance, feature_distance, inception
from visionscapes.errors import UserError


def test_mean_angle_of_the_cells():
    truth = torch.zeros(2, 2, 1, 2)
    truth[:, 0] = 1
    features = truth.clone()
    features[1, :, 0, 0] = torch.tensor([0.0, 3.0])  # one of two cells at a right angle, whatever its length
    assert feature_distance(features, truth).tolist() == pytest.approx([0, 0.5])
    assert feature_distance(-5 * truth, truth).tolist() == pytest.approx([2, 2])


def test_the_small_distance_passes_gradients_to_the_images():
    images, truth = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)).split(1)
    images.requires_grad_()
    SmallDistance()(images, truth).sum().backward()
    assert images.grad.abs().max() > 0


@pytest.fixture(scope="module", params=["alex", "vgg"])
def trunk(request, tmp_path_factory):
    """A network with random weights, its file, and the number of its layers that LPIPS looks at."""
    torch.manual_seed(0)
    make, layers = {"alex": (torchvision.models.alexnet, 12), "vgg": (torchvision.models.vgg16, 30)}[request.param]
    network = make(weights=None).features.eval()
    path = tmp_path_factory.mktemp("weights") / "trunk.pth"
    torch.save({f"features.{name}": value for name, value in network.state_dict().items()}, path)
    return request.param, network[:layers], str(path)


def test_lpips_is_the_published_formula(trunk):
    name, network, path = trunk
    images, truth = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    found = LPIPS(path, name)(images, truth)

    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        linear = lpips.LPIPS(net=name, pnet_rand=True, verbose=False).lins
    shift, scale = torch.tensor([-0.030, -0.088, -0.188]), torch.tensor([0.458, 0.448, 0.450])
    x, y = (((2 * each - 1) - shift[:, None, None]) / scale[:, None, None] for each in (images, truth))
    seen = {"alex": (1, 4, 7, 9, 11), "vgg": (3, 8, 15, 22, 29)}[name]
    wanted = torch.zeros(2)
    with torch.no_grad():
        for place, block in enumerate(network):
            x, y = block(x), block(y)
            if place in seen:
                difference = (F.normalize(x, dim=1) - F.normalize(y, dim=1)).square()
                wanted += (linear[seen.index(place)].model[-1].weight * difference).sum(1).mean((1, 2))
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-6)


def test_lpips_refuses_weights_of_other_networks_and_says_where_to_fetch_them(trunk, tmp_path, monkeypatch):
    name, _, path = trunk
    with pytest.raises(UserError, match="AlexNet" if name == "vgg" else "VGG16"):
        LPIPS(path, "alex" if name == "vgg" else "vgg")

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"cannot fetch.*https://"):
        LPIPS(feature_networks.DOWNLOAD, name)


def test_wrong_weights_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no weights at"):
        inception(str(tmp_path / "none.pth"))
    torch.save({"weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(UserError, match="do not fit"):
        inception(str(tmp_path / "other.pth"))

    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", offline)
    with pytest.raises(UserError, match=r"cannot fetch.*inception_weights"):
        inception(feature_networks.DOWNLOAD)


def test_weights_of_inception_are_used(tmp_path):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torchmetrics.image.fid import NoTrainInceptionV3

    states = []
    load = FeatureExtractorInceptionV3.load_state_dict
    try:
        FeatureExtractorInceptionV3.load_state_dict = lambda self, state: states.append(self.state_dict())
        torch.save({"x": torch.zeros(1)}, tmp_path / "any.pth")
        torch.manual_seed(0)
        NoTrainInceptionV3("inception-v3-compat", ["2048"], str(tmp_path / "any.pth"))
    finally:
        FeatureExtractorInceptionV3.load_state_dict = load
    torch.save(states[0], tmp_path / "inception.pth")
    network = inception(str(tmp_path / "inception.pth"))
    assert torch.equal(network.fc.weight, states[0]["fc.weight"])
    assert network(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape == (1, network.num_features)
