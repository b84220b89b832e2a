import math

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

from callbacks.generation.generator_health import GeneratorHealth, noise_weights
from tests.callbacks.generation.cases import Skipping, TinyPairs, values
from tests.helpers.quiet_trainer import quiet_trainer


def test_weights_by_layer_without_averages():
    module = Skipping()
    with torch.no_grad():
        module.layer[0].weight.copy_(torch.tensor([-1.0, 2.0]))
    module.average = AveragedModel(module.layer)
    assert noise_weights(module) == {"layer.0": 1.5, "layer.1": 0.0}


def test_training_is_logged_and_the_test_has_rows(tmp_path):
    callback, module = GeneratorHealth(), Skipping()
    trainer = quiet_trainer(tmp_path, [callback], max_epochs=2)
    trainer.fit(module, datamodule=TinyPairs())
    # w <- w - 0.2 (w - 0.5), twice from zero
    assert abs(float(trainer.callback_metrics["health/noise weight/layer.1"]) - 0.18) < 1e-6
    again = GeneratorHealth()
    again.load_state_dict(callback.state_dict())
    quiet_trainer(tmp_path, [again]).test(module, datamodule=TinyPairs(), verbose=False)
    found = values(again)
    assert found.keys() == {
        ("noise weight", "layer.0"),
        ("noise weight", "layer.1"),
        ("noise weight", "mean"),
        ("loss", "training"),
    }
    assert abs(found["noise weight", "mean"] - 0.18) < 1e-6
    assert (tmp_path / "results" / "health.csv").is_file()


@pytest.mark.parametrize("size", [None, 16])
def test_every_field_of_a_row(tmp_path, size):
    callback, module, data = GeneratorHealth(), Skipping(), TinyPairs()
    with torch.no_grad():
        module.layer[0].weight.copy_(torch.tensor([-1.0, 2.0]))
        module.layer[1].weight.fill_(0.5)
    callback.load_state_dict({"training": {"loss": 3.0}})
    if size:
        data.image_size = size
    quiet_trainer(tmp_path, [callback]).test(module, datamodule=data, verbose=False)
    names = [(row.protocol, row.metric, row.method, row.value) for row in callback.results]
    assert names == [
        ("health", "noise weight", "layer.0", 1.5),
        ("health", "noise weight", "layer.1", 0.5),
        ("health", "noise weight", "mean", 1.0),
        ("health", "loss", "training", 3.0),
    ]
    # One figure of one model: no spread to estimate, and the size is the datamodule's where it has one.
    assert {(row.image_size, row.count) for row in callback.results} == {(size or 0, 1)}
    assert all(math.isnan(row.standard_error) for row in callback.results)


def test_without_noise_and_training_there_are_no_rows(tmp_path):
    callback, module = GeneratorHealth(), Skipping()
    module.layer = torch.nn.Identity()
    quiet_trainer(tmp_path, [callback]).test(module, datamodule=TinyPairs(), verbose=False)
    assert callback.results == []
    assert not (tmp_path / "results" / "health.csv").exists()
