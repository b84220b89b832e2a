import numpy as np
import pytest
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score

from callbacks.source_discovery.clustering_baseline import ClusteringBaseline
from metrics.clustering import purity
from metrics.source_discovery import clustering_accuracy
from tests.callbacks.source_discovery.cases import Images, trainer_of, usual
from visionscapes.errors import UserError


def values(callback, method):
    return {row.metric: row.value for row in callback.results if row.method == method}


def test_rows_are_those_of_k_means_on_the_features_of_round_1(tmp_path):
    callback, trainer = ClusteringBaseline(k=[3, 5]), trainer_of(tmp_path)
    first, second = usual(), usual(number=2)
    callback.on_round_end(trainer, None, first)
    callback.on_round_end(trainer, None, second)
    truth = trainer.datamodule.truth
    found = len(np.unique(second.labels[second.labels >= 0]))
    for method, k in [("k=3", 3), ("k=5", 5), ("round 2 k-means", found), ("last k-means", found)]:
        clusters = KMeans(k, n_init=1, random_state=0).fit_predict(first.features)
        row = values(callback, method)
        assert row["purity"] == pytest.approx(purity(truth, clusters))
        assert row["NMI"] == pytest.approx(normalized_mutual_info_score(truth, clusters))
        assert row["clusters"] == k
        assert row["ACC"] == clustering_accuracy(clusters, truth, 0).all


def test_a_resumed_run_finds_the_features_of_round_1(tmp_path):
    whole, trainer = ClusteringBaseline(), trainer_of(tmp_path)
    whole.on_round_end(trainer, None, usual())
    state = whole.state_dict()
    whole.on_round_end(trainer, None, usual(number=2))
    resumed = ClusteringBaseline()
    resumed.load_state_dict(state)
    resumed.on_round_end(trainer, None, usual(number=2))
    assert resumed.results == whole.results


def test_the_true_number_of_sources_unless_told(tmp_path):
    callback = ClusteringBaseline()
    callback.on_round_end(trainer_of(tmp_path), None, usual())
    assert values(callback, "k=4")


def test_without_truth_there_is_nothing_to_compare(tmp_path):
    callback = ClusteringBaseline()
    callback.on_round_end(trainer_of(tmp_path, Images(with_truth=False)), None, usual())
    assert callback.results == []


def test_numbers_that_are_none():
    with pytest.raises(UserError, match=r"k is \[0\]; each of its values has to be at least 1"):
        ClusteringBaseline(k=[0])
