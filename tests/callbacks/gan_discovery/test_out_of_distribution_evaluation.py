from types import SimpleNamespace

import numpy as np
import pytest

from callbacks.gan_discovery.out_of_distribution_evaluation import METRICS, OutOfDistributionEvaluation
from errors import UserError
from lightning_modules.gan_discovery.attributor import Attributor, Eye
from lightning_modules.gan_discovery.detectors import fit_detectors
from metrics.out_of_distribution import separation
from tests.callbacks.gan_discovery.cases import Images, round_of, trainer_of, usual


def module_of(ended, distance="cosine", clusters=False):
    """Return a module with detectors of the known sources, and of the clusters that the round has found."""
    features, labels = ended.labelled_features, ended.labelled_labels
    if clusters:
        found = ended.labels >= ended.known
        features = np.concatenate([features, ended.features[found]])
        labels = np.concatenate([labels, ended.labels[found]])
    classes = range(int(labels.max()) + 1)
    if distance == "cosine":
        eye, window = Eye(None, None), 2
    else:
        eye, window = Eye(np.array([[0, 1], [0, 2], [1, 2], [1, 3], [2, 3], [0, 3]]), None), 2
    detectors = fit_detectors(eye(features), labels, classes, distance=distance, window=window)
    return SimpleNamespace(attributor=Attributor(eye, detectors, ["one", "two"]))


def rows_of(tmp_path, ended, module=None, images=None, **settings):
    callback = OutOfDistributionEvaluation(**settings)
    callback.on_round_end(trainer_of(tmp_path, images), module or module_of(ended), ended)
    return callback.results


def test_rows(tmp_path):
    ended, images = usual(), Images()
    rows = rows_of(tmp_path, ended, images=images)
    methods = ["cosine", "max softmax", "energy", "k-NN"]
    assert [(row.method, row.metric) for row in rows] == [(method, name) for method in methods for name in METRICS]
    assert {row.protocol for row in rows} == {"ood"}
    assert {row.count for row in rows} == {40}
    assert (tmp_path / "results" / "ood.csv").is_file()
    figures = {(row.method, row.metric): row.value for row in rows}
    assert figures["cosine", "AUROC"] == 1  # features of sources lie apart


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
    callback, trainer, first = OutOfDistributionEvaluation(), trainer_of(tmp_path), usual()
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
    with pytest.raises(UserError, match="positive"):
        OutOfDistributionEvaluation(**wrong)
