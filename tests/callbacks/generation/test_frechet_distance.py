import math

import pytest
from torchmetrics.image.fid import FrechetInceptionDistance

from callbacks.generation.frechet_distance import FrechetDistance
from callbacks.generation.pictures import to_bytes
from networks.feature_networks import SmallFeatures
from networks.generated import to_unit_range
from tests.callbacks.generation.cases import Skipping, TinyPairs, collate, run_test, sample, values
from tests.helpers.quiet_trainer import quiet_trainer

NAME = "Frechet distance (dense-contrastive ViT)"


def test_equals_torchmetrics_on_all_images_at_once(tmp_path, capsys):
    callback = FrechetDistance()
    run_test(tmp_path, [callback], Skipping(strength=0))
    batch = collate([sample(index) for index in range(7)])
    outputs = Skipping(strength=0).generate(batch)
    for method, images in {"image": outputs.image, "reconstruction": outputs.parts["reconstruction"]}.items():
        metric = FrechetInceptionDistance(SmallFeatures())
        metric.update(to_bytes(batch["image"]), real=True)
        metric.update(to_bytes(to_unit_range(images)), real=False)
        assert values(callback)[NAME, method] == pytest.approx(float(metric.compute()), rel=1e-3, abs=1e-5)
    assert {(row.protocol, row.count) for row in callback.results} == {("frechet_distance", 7)}
    assert "in place of FID" in capsys.readouterr().out


def test_grows_with_the_error(tmp_path):
    found = []
    for shift in (0.0, 0.2, 0.4):
        callback = FrechetDistance()
        run_test(tmp_path, [callback], Skipping(shift=shift, strength=0))
        found.append(values(callback)[NAME, "image"])
    assert found[0] == pytest.approx(0, abs=1e-3)
    assert found[0] < found[1] < found[2]


def test_real_images_are_seen_once_in_a_run(tmp_path, monkeypatch):
    seen = []
    forward = SmallFeatures.forward

    def counting(self, images):
        seen.append(len(images))
        return forward(self, images)

    monkeypatch.setattr(SmallFeatures, "forward", counting)
    callback, found = FrechetDistance(), []

    class Values(Skipping):
        def on_validation_end(self):
            found.append([row.value for row in callback.results])

    trainer = quiet_trainer(tmp_path, [callback], max_epochs=3, num_sanity_val_steps=2)
    trainer.fit(Values(strength=0), datamodule=TinyPairs())
    # Image and reconstruction of 7 samples in three epochs, and the truth in one; none in the sanity check.
    assert sum(seen) == 7 * (2 * 3 + 1)
    assert found[1] == found[2] == found[3]  # the first is that of the sanity check
    assert not math.isnan(found[1][0])


def test_one_image_has_no_distance(tmp_path):
    callback = FrechetDistance()
    run_test(tmp_path, [callback], data=TinyPairs(samples=1))
    assert all(math.isnan(row.value) for row in callback.results)


def test_with_inception_it_is_the_fid(tmp_path, monkeypatch):
    monkeypatch.setattr("callbacks.generation.frechet_distance.inception", lambda weights: SmallFeatures())
    callback = FrechetDistance(inception_weights="inception.pth")
    run_test(tmp_path, [callback])
    assert {name for name, _ in values(callback)} == {"FID"}
