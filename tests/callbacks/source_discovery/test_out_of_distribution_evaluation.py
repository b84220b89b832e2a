import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from callbacks.source_discovery.out_of_distribution_evaluation import METRICS, OutOfDistributionEvaluation
from metrics.out_of_distribution import open_set_classification_rate, separation
from tests.callbacks.source_discovery.cases import Images, module_of, round_of, trainer_of, usual
from visionscapes.errors import UserError


def rows_of(tmp_path, ended, module=None, images=None, **settings):
    callback = OutOfDistributionEvaluation(**{"odin": False, **settings})
    callback.on_round_end(trainer_of(tmp_path, images), module or module_of(ended), ended)
    return callback.results


def test_rows(tmp_path):
    ended, images = usual(), Images()
    rows = rows_of(tmp_path, ended, images=images)
    methods = ["cosine", "max softmax", "energy", "k-NN"]
    metrics = [*METRICS, "OSCR"]
    assert [(row.method, row.metric) for row in rows] == [(method, name) for method in methods for name in metrics]
    assert {row.protocol for row in rows} == {"ood"}
    assert {row.count for row in rows} == {40}
    assert (tmp_path / "results" / "ood.csv").is_file()
    figures = {(row.method, row.metric): row.value for row in rows}
    assert figures["cosine", "AUROC"] == 1  # features of sources lie apart


def test_oscr_asks_for_the_right_source_too(tmp_path):
    ended, images = usual(), Images()
    ended.logits[:10, :2] = ended.logits[:10, 1::-1]  # of ten images the classifier confuses the known sources
    found = {row.metric: row.value for row in rows_of(tmp_path, ended, images=images) if row.method == "cosine"}
    inside = images.truth < 2
    right = ended.logits.argmax(1)[inside] == images.truth[inside]
    assert 0 < right.mean() < 1
    scores = OutOfDistributionEvaluation().scores(module_of(ended), ended)["cosine"]
    assert found["OSCR"] == open_set_classification_rate(scores[inside], right, scores[~inside])
    assert (found["AUROC"], found["OSCR"]) == (1, right.mean())


def test_nearest_neighbours(tmp_path):
    ended, images = usual(), Images()
    distances = 1 - ended.features @ ended.labelled_features.T / np.outer(
        np.linalg.norm(ended.features, axis=1), np.linalg.norm(ended.labelled_features, axis=1)
    )
    inside = images.truth < 2
    expected = separation(-distances[inside].min(1), -distances[~inside].min(1))
    nearest = {row.metric: row.value for row in rows_of(tmp_path, ended, neighbours=1) if row.method == "k-NN"}
    assert nearest["AUPR out"] == pytest.approx(expected.aupr_out)


def test_clusters_that_were_found_do_not_count(tmp_path):
    ended = usual()
    assert rows_of(tmp_path, ended, module_of(ended, clusters=True)) == rows_of(tmp_path, ended)


def test_detectors_of_codes_are_called_wta(tmp_path):
    ended = usual()
    assert rows_of(tmp_path, ended, module_of(ended, "hamming"))[0].method == "WTA"


def test_fewer_references_are_searched(tmp_path):
    ended = usual()
    few = [row.value for row in rows_of(tmp_path, ended, reference=2) if row.method == "k-NN"]
    assert few == [row.value for row in rows_of(tmp_path, ended, reference=2) if row.method == "k-NN"]
    whole = OutOfDistributionEvaluation(reference=None).scores(module_of(ended), ended)
    one = OutOfDistributionEvaluation(reference=1).scores(module_of(ended), ended)
    assert (one["k-NN"] != whole["k-NN"]).any()


def test_the_first_round_alone(tmp_path):
    callback, trainer, first = OutOfDistributionEvaluation(odin=False), trainer_of(tmp_path), usual()
    callback.on_round_end(trainer, module_of(first), first)
    before = list(callback.results)
    callback.on_round_end(trainer, module_of(first), usual(number=2))
    assert callback.results == before
    assert len(trainer.loggers[0].rows) == 1


@pytest.mark.parametrize("images", [Images(with_truth=False), Images(sources=("one", "two"))])
def test_nothing_to_tell_apart(tmp_path, images):
    ended = round_of(("attribution", np.zeros(40, int)))
    assert rows_of(tmp_path, ended, images=images) == []
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("wrong", [{"neighbours": 0}, {"temperature": 0}, {"reference": 0}])
def test_settings(wrong):
    with pytest.raises(UserError, match=r"is 0; it has to be (at least 1|above 0)"):
        OutOfDistributionEvaluation(**wrong)


def test_odin_is_measured_on_the_images(tmp_path):
    """With a linear network ODIN's score can be computed by hand."""
    ended, images = usual(), Images()
    pictures = torch.from_numpy(np.stack([images.discovery_image(index) for index in range(40)]))
    pictures = pictures.permute(0, 3, 1, 2) / 255
    weight = torch.randn(3 * 24 * 24, 2, generator=torch.Generator().manual_seed(0))

    class Linear(torch.nn.Module):
        def forward(self, some):
            return some.flatten(1)

        def logits(self, features):
            return features @ weight

    order = torch.arange(39, -1, -1)
    batches = [{"image": pictures[part], "index": part} for part in order.split(16)]
    images.discovery_dataloader = lambda number: batches
    trainer, module = trainer_of(tmp_path, images), module_of(ended)
    trainer.strategy = SimpleNamespace(batch_to_device=lambda batch, device: batch)
    trainer.precision_plugin = SimpleNamespace(forward_context=contextlib.nullcontext)
    module.network, module.training, module.device = Linear(), True, torch.device("cpu")
    callback = OutOfDistributionEvaluation(odin=True)
    callback.on_round_end(trainer, module, ended)
    logits = pictures.flatten(1) @ weight
    better = logits.argmax(1)
    probability = (logits / 1000).softmax(1)
    gradient = (1 - probability[range(40), better])[:, None] * (weight[:, better] - weight[:, 1 - better]).T
    changed = pictures.flatten(1) + 0.0014 * gradient.sign()
    scores = ((changed @ weight) / 1000).softmax(1).amax(1).numpy()
    inside = images.truth < 2
    expected = separation(scores[inside], scores[~inside])
    found = {row.metric: row.value for row in callback.results if row.method == "ODIN"}
    assert found["AUROC"] == pytest.approx(expected.auroc)
    assert module.network.training
