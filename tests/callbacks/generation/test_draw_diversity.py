import itertools

import pytest
import torch

from callbacks.generation.draw_diversity import DrawDiversity, mean_distance
from callbacks.generation.noise_variation import NoiseVariation
from networks.feature_networks import SmallDistance
from networks.generated import repeated, to_unit_range
from tests.callbacks.generation.cases import Skipping, TinyPairs, collate, run_test, sample, values
from visionscapes.errors import UserError
from visionscapes.seeding import named_seed

NAME = "feature distance between draws (dense-contrastive ViT)"


class Difference(torch.nn.Module):
    def forward(self, images, others):
        return (images - others).abs().flatten(1).mean(1)


def test_the_mean_over_all_pairs():
    images = torch.rand(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    pairs = [(a - b).abs().mean() for a, b in itertools.combinations(images, 2)]
    assert len(pairs) == 10
    assert float(mean_distance(Difference(), images)) == pytest.approx(float(torch.stack(pairs).mean()))


def test_it_is_that_of_the_draws_of_every_sample(tmp_path):
    callback = DrawDiversity(draws=3)
    run_test(tmp_path, [callback], Skipping(strength=0.3))
    (row,) = callback.results
    assert (row.protocol, row.metric, row.method, row.count) == ("diversity", NAME, "image", 7)
    expected = []
    for index in range(7):
        batch = collate([sample(index)])
        noise = torch.Generator().manual_seed(named_seed(0, batch["name"][0]))
        with torch.no_grad():
            outputs = to_unit_range(Skipping(strength=0.3).generate(repeated(batch, 0, 3), noise).image)
            expected.append(float(mean_distance(SmallDistance(), outputs)))
    assert row.value == pytest.approx(sum(expected) / 7, rel=1e-4)


def test_more_noise_is_more_diverse_and_none_is_not(tmp_path):
    found = []
    for strength in (0, 0.1, 0.4):
        callback = DrawDiversity(draws=2, share=0.9)
        run_test(tmp_path, [callback], Skipping(strength=strength))
        found.append(values(callback)[NAME, "image"])
    assert found[0] == pytest.approx(0, abs=1e-6)
    assert 1e-4 < found[1] < found[2]


def test_does_not_depend_on_the_batches_and_leaves_other_figures_alone(tmp_path):
    found = []
    for batch_size in (1, 4):
        callback, other = DrawDiversity(draws=2, seed=1), NoiseVariation(draws=2)
        run_test(tmp_path, [callback, other], data=TinyPairs(samples=5, batch_size=batch_size))
        found.append(values(callback)[NAME, "image"])
    assert found[0] == pytest.approx(found[1], rel=1e-5)
    alone = NoiseVariation(draws=2)
    run_test(tmp_path, [alone], data=TinyPairs(samples=5, batch_size=4))
    assert list(map(repr, alone.results)) == list(map(repr, other.results))  # NaN is NaN


def test_weights_of_lpips_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match=r"gone\.pth"):
        run_test(tmp_path, [DrawDiversity(lpips_weights=str(tmp_path / "gone.pth"))])
    assert DrawDiversity(lpips_weights="x")._name == "LPIPS between draws"
