import math

import pytest
import torch
from PIL import Image
from pytorch_lightning import LightningModule

from callbacks.generation.noise_variation import NoiseVariation, correlations
from tests.callbacks.generation.cases import LABELS, Skipping, TinyPairs, run_test, values
from visionscapes.errors import UserError


def test_noise_is_found_where_it_is(tmp_path):
    callback = NoiseVariation(draws=200)
    run_test(tmp_path, [callback], Skipping(shift=0, strength=0.1))
    found = values(callback)
    assert found["std", "hair"] == pytest.approx(0.05, rel=0.02)  # half of it in units of [0, 1]
    assert found["std", "skin"] == pytest.approx(0, abs=1e-6)
    assert ("std", "l_brow") not in found  # no image has any
    assert found["std", "skin"] < found["std", "image"] < found["std", "hair"]
    assert found["std ratio", "image"] > 1e4
    assert found["Pearson", "image"] > 0.98
    assert 0.3 < found["Spearman", "image"] < 1
    assert {row.count for row in callback.results} == {7}
    with Image.open(tmp_path / "pictures" / "noise_variation.png") as picture:
        assert picture.width > picture.height


def test_does_not_depend_on_the_batches(tmp_path):
    found = []
    for batch_size in (1, 4):
        callback = NoiseVariation(draws=3, share=0.8)
        run_test(tmp_path, [callback], data=TinyPairs(samples=12, batch_size=batch_size))
        found.append(callback.results)
    for one, other in zip(*found, strict=True):
        assert one.value == pytest.approx(other.value, rel=1e-6)
        assert one.count == other.count
    assert 4 <= found[0][0].count < 12


def test_seeds_differ_and_repeat(tmp_path):
    def mean(seed):
        callback = NoiseVariation(draws=2, seed=seed)
        run_test(tmp_path, [callback])
        return values(callback)["std", "image"]

    assert mean(0) == mean(0) != mean(1)


def test_a_generator_that_ignores_its_noise(tmp_path):
    callback = NoiseVariation(draws=2)
    run_test(tmp_path, [callback], Skipping(strength=0))
    found = values(callback)
    assert found["std", "image"] == 0
    assert math.isnan(found["std ratio", "image"])
    assert ("Pearson", "image") not in found


def test_pixels_without_a_label_are_neither_inside_nor_outside():
    callback = NoiseVariation()
    callback._labels = LABELS
    labels = torch.tensor([[2, 2, 0, 255]], dtype=torch.uint8)
    found = callback._figures(torch.tensor([[0.5, 0.3, 0.1, 9.0]]), labels, None)
    assert found["inside"] == pytest.approx(0.4)
    assert found["outside"] == pytest.approx(0.1)


def test_correlations():
    ramp = torch.arange(16.0).reshape(4, 4)
    found = correlations(ramp.square(), ramp)
    assert float(found["Spearman"]) == pytest.approx(1)
    assert 0.9 < float(found["Pearson"]) < 1
    assert all(math.isnan(value) for value in correlations(torch.ones(4, 4), ramp).values())


def test_options(tmp_path):
    callback = NoiseVariation(draws=2, stochastic=["skin"])
    run_test(tmp_path, [callback])
    assert values(callback)["std ratio", "image"] == 0
    with pytest.raises(UserError, match="beard"):
        run_test(tmp_path, [NoiseVariation(stochastic=["beard"])])
    with pytest.raises(UserError, match="draws"):
        NoiseVariation(draws=1)

    class Silent(LightningModule):
        def test_step(self, batch, batch_idx, dataloader_idx=0):
            return Skipping().test_step(batch, batch_idx)

    with pytest.raises(UserError, match="generates images anew"):
        run_test(tmp_path, [NoiseVariation()], Silent())
