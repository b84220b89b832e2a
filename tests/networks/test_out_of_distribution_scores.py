import math

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import nn

from networks import out_of_distribution_scores
from networks.out_of_distribution_scores import energy, max_softmax, nearest_neighbours, odin


def logits(count=20, classes=5, seed=0):
    return 3 * torch.randn(count, classes, generator=torch.Generator().manual_seed(seed))


def test_max_softmax_by_hand():
    assert max_softmax(torch.tensor([[0.0, 0, math.log(2)], [1, 1, 1]])).tolist() == pytest.approx([1 / 2, 1 / 3])


def test_energy_by_hand():
    assert energy(torch.tensor([[0.0, 0, math.log(2)]])).item() == pytest.approx(math.log(4))
    expected = 2 * math.log(2 + math.exp(0.5))
    assert energy(torch.tensor([[0.0, 0, 1]]), temperature=2).item() == pytest.approx(expected)
    assert energy(torch.full((1, 2), 1e4)).isfinite().all()


def test_energy_tells_sizes_of_logits_apart_and_the_softmax_does_not():
    small, large = logits(), logits() + 10
    assert torch.allclose(max_softmax(small), max_softmax(large), atol=1e-5)
    assert torch.allclose(energy(large), energy(small) + 10, atol=1e-5)


class Small(nn.Module):
    """Classifies images."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 10), nn.Tanh(), nn.Linear(10, 4))

    def forward(self, images):
        return self.layers(images)


def test_odin_without_change_is_the_softmax_of_cooled_logits():
    model, images = Small(), torch.rand(6, 3, 4, 4)
    with torch.no_grad():
        expected = max_softmax(model(images) / 10)
    assert torch.allclose(odin(model, images, temperature=10, epsilon=0), expected)


def test_odin_equals_its_equations():
    model, images = Small(), torch.rand(3, 3, 4, 4)
    found = odin(model, images, temperature=5, epsilon=0.01)
    for image, score in zip(images, found, strict=True):
        x = image[None].clone().requires_grad_()
        probability = (model(x) / 5).softmax(1)
        (-probability[0, probability.argmax()].log()).backward()
        changed = image[None] - 0.01 * x.grad.sign()  # Eq. 2: x - eps sign(-grad log S)
        assert score.item() == pytest.approx((model(changed) / 5).softmax(1).max().item(), abs=1e-6)


def test_odin_makes_the_class_likelier_and_leaves_everything_as_it_was():
    model, images = Small(), torch.rand(6, 3, 4, 4)
    before = images.clone()
    with torch.no_grad():  # as in an evaluation
        changed, plain = (odin(model, images, temperature=1, epsilon=epsilon) for epsilon in (0.01, 0))
    assert (changed > plain).all()
    assert torch.equal(images, before)
    assert not changed.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("k", [1, 3, 12])
def test_nearest_neighbours_equal_scikit_learn(k, monkeypatch):
    generator = torch.Generator().manual_seed(1)
    features, reference = (torch.rand(count, 6, generator=generator) for count in (25, 12))
    unit = nn.functional.normalize
    neighbours = NearestNeighbors(n_neighbors=k).fit(unit(reference).numpy())
    expected = -torch.from_numpy(neighbours.kneighbors(unit(features).numpy())[0][:, -1]).float()
    assert torch.allclose(nearest_neighbours(features, reference, k), expected, atol=1e-5)
    assert torch.allclose(nearest_neighbours(7 * features, reference / 3, k), expected, atol=1e-5)
    monkeypatch.setattr(out_of_distribution_scores, "_AT_ONCE", 30)
    assert torch.allclose(nearest_neighbours(features, reference, k), expected, atol=1e-5)


def test_fewer_references_than_neighbours():
    features, reference = torch.eye(3), torch.eye(3)[:2]
    assert nearest_neighbours(features, reference, 50).tolist() == pytest.approx([-math.sqrt(2)] * 3)
    assert nearest_neighbours(features[:0], reference).shape == (0,)


def test_nearest_neighbours_need_references():
    with pytest.raises(ValueError, match="references"):
        nearest_neighbours(torch.eye(2), torch.eye(2)[:0])
    with pytest.raises(ValueError, match="k >= 1"):
        nearest_neighbours(torch.eye(2), torch.eye(2), 0)
