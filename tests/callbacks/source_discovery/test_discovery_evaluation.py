import csv
import math
from io import StringIO

import numpy as np
import pytest
import torch
from rich.console import Console

from callbacks.source_discovery import discovery_evaluation
from callbacks.source_discovery.discovery_evaluation import DiscoveryEvaluation, show
from metrics.source_discovery import clustering_accuracy, nearest_centroids, scores_of_all, scores_of_clustered
from tests.callbacks.source_discovery.cases import SIZE, Images, labels_of, module_of, round_of, trainer_of, usual
from visionscapes.errors import UserError

SCORES = ["purity", "NMI", "ARI", "clustered", "sources", "clusters", "unknown sources"]
BESIDES = ["ACC", "ACC known", "ACC novel", "count error", "AUROC", "OSCR"]
STAGES = ["attribution", "clustering", "merge", "refine"]


def values(callback, method):
    return {row.metric: row.value for row in callback.results if row.method == method}


def end_round(callback, trainer, ended):
    callback.on_round_end(trainer, module_of(ended), ended)


def table(callback):
    text = StringIO()
    show(callback.results, Console(file=text, width=80))
    return text.getvalue()


def test_rows_of_stages_and_of_the_round(tmp_path):
    callback, images = DiscoveryEvaluation(), Images()
    ended = usual()
    end_round(callback, trainer_of(tmp_path, images), ended)
    methods = list(dict.fromkeys(row.method for row in callback.results))
    one_round = [*(f" {stage}" for stage in STAGES), ""]
    assert methods == [f"{name}{rest}" for name in ("round 1", "last") for rest in one_round]
    assert {(row.protocol, row.image_size) for row in callback.results} == {("sources", SIZE)}
    for stage in ended.stages:
        scores = scores_of_clustered(stage.labels, images.truth)
        found = values(callback, f"round 1 {stage.name}")
        assert [found[name] for name in ("purity", "NMI", "ARI")] == [scores.purity, scores.nmi, scores.ari]
        assert list(found)[:7] == SCORES
    everything = scores_of_all(ended.labels, images.truth, ended.features)
    found = values(callback, "round 1")
    assert list(found) == [*SCORES, "in", "out", "net", *BESIDES]
    assert (found["purity"], found["clustered"]) == (everything.purity, 32 / 40)
    assert (found["sources"], found["clusters"]) == (4, 4)
    assert found["unknown sources"] == 2
    assert values(callback, "last") == found
    counts = {row.metric: row.count for row in callback.results if row.method == "round 1"}
    assert (counts["sources"], counts["purity"], counts["in"], counts["out"]) == (4, 40, 20, 20)


def test_what_the_literature_reports_of_a_round(tmp_path):
    callback, images = DiscoveryEvaluation(), Images()
    # Every source is a cluster, but source 3 is two; of the last eight images, two of each source, none is clustered.
    labels = np.where((labels_of() == 3) & (np.arange(40) < 12), 4, labels_of())
    ended = round_of(("attribution", labels))
    ended.logits[:10, :2] = ended.logits[:10, 1::-1]  # of these the classifier confuses the known sources
    end_round(callback, trainer_of(tmp_path, images), ended)
    found = values(callback, "round 1")
    completed = clustering_accuracy(nearest_centroids(labels, ended.features), images.truth, 2)
    assert (found["ACC"], found["ACC known"], found["ACC novel"]) == (completed.all, completed.known, completed.novel)
    assert found["ACC known"] == 1 > found["ACC novel"] > 0.5
    assert found["count error"] == 1 / 4  # five clusters of four sources
    assert found["AUROC"] == 1
    assert found["OSCR"] == 14 / 20  # of the first ten images six are of known sources
    assert values(callback, "last") == found
    counts = {row.metric: row.count for row in callback.results if row.method == "round 1"}
    assert [counts[metric] for metric in BESIDES] == [40, 20, 20, 4, 40, 40]


def test_the_attribution_is_judged_where_there_is_one(tmp_path):
    callback = DiscoveryEvaluation()
    end_round(callback, trainer_of(tmp_path), usual())
    assert [row.method for row in callback.results if row.metric == "net"] == [
        *("round 1 attribution", "round 1", "last attribution", "last")
    ]
    again = DiscoveryEvaluation()
    end_round(again, trainer_of(tmp_path), round_of(("clustering", labels_of() + 2)))
    assert not [row for row in again.results if row.metric == "net"]


def test_file_and_log(tmp_path):
    callback, trainer = DiscoveryEvaluation(), trainer_of(tmp_path)
    end_round(callback, trainer, usual())
    with (tmp_path / "results" / "sources.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["metric"], row["method"]) for row in rows] == [(row.metric, row.method) for row in callback.results]
    [(step, logged)] = trainer.loggers[0].rows
    assert step == 7
    assert logged["sources/purity"] == values(callback, "round 1")["purity"]
    assert logged["sources/purity/merge"] == values(callback, "round 1 merge")["purity"]
    second = trainer_of(tmp_path / "other", rank=1)
    end_round(callback, second, usual())
    assert not (tmp_path / "other").exists(), "the first rank writes"


def test_rounds_outlive_a_resume(tmp_path):
    whole, first = DiscoveryEvaluation(), DiscoveryEvaluation()
    for callback in (whole, first):
        end_round(callback, trainer_of(tmp_path), usual())
    resumed, file = DiscoveryEvaluation(), tmp_path / "state.pt"
    torch.save(first.state_dict(), file)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert repr(resumed.results) == repr(first.results)  # NaN is not equal to itself
    for callback in (whole, resumed):
        end_round(callback, trainer_of(tmp_path), usual(number=2))
    assert repr(resumed.results) == repr(whole.results)
    assert {row.method.split()[1] for row in whole.results if row.method.startswith("round")} == {"1", "2"}
    assert values(whole, "last") == values(whole, "round 2")


def test_a_round_that_runs_again_replaces_its_rows(tmp_path):
    callback = DiscoveryEvaluation()
    for number in (1, 2, 2):
        end_round(callback, trainer_of(tmp_path), usual(number=number))
    assert len([row for row in callback.results if (row.method, row.metric) == ("round 2", "NMI")]) == 1
    end_round(callback, trainer_of(tmp_path), usual(number=1))
    assert not [row for row in callback.results if row.method.startswith("round 2")]


def test_rounds_count_the_images_present(tmp_path):
    """Table 4.7: metrics are those of the sources that have arrived."""
    images = Images(late=10)
    images.truth = np.repeat([0, 1, 2, 3], 10)
    callback, trainer = DiscoveryEvaluation(), trainer_of(tmp_path, images)
    for number, count in ((1, 30), (2, 40)):
        ended = round_of(("attribution", images.truth[:count] * 0), number=number)
        end_round(callback, trainer, ended)
    sources = [row for row in callback.results if row.metric == "sources" and row.method in ("round 1", "round 2")]
    assert [(row.value, row.count) for row in sources] == [(1, 3), (1, 4)]
    assert "30" in table(callback)
    assert "1/3" in table(callback)


def test_table(tmp_path, capsys):
    callback, trainer = DiscoveryEvaluation(), trainer_of(tmp_path)
    callback.on_train_end(trainer, None)
    assert not capsys.readouterr().out, "nothing to show"
    for number in (1, 2):
        end_round(callback, trainer, usual(number=number))
    lines = table(callback).splitlines()
    header = ["round", "images", "purity", "NMI", "ARI", "ACC", "clustered", "sources", "new", "groups"]
    assert lines[2].split() == header
    assert [line.split()[0] for line in lines[4:6]] == ["1", "2"]
    assert lines[4].split()[1:] == ["40", "100.0", "100.0", "100.0", "100.0", "80.0", "4/4", "2/2", "4"]
    callback.on_train_end(trainer, None)
    assert "groups: known sources and clusters that have images" in " ".join(capsys.readouterr().out.split())
    callback.on_train_end(trainer_of(tmp_path, rank=1), None)
    assert not capsys.readouterr().out


def test_rounds_of_an_older_version_are_shown_too(tmp_path):
    """A checkpoint from before there was an ACC, which the next round has."""
    callback = DiscoveryEvaluation()
    for number in (1, 2):
        end_round(callback, trainer_of(tmp_path), usual(number=number))
    callback.results = [row for row in callback.results if (row.method, row.metric) != ("round 1", "ACC")]
    lines = table(callback).splitlines()
    assert lines[4].split()[1:] == ["40", "100.0", "100.0", "100.0", "–", "80.0", "4/4", "2/2", "4"]
    assert lines[5].split()[5] == "100.0"


def test_without_truth_there_are_sizes(tmp_path):
    callback = DiscoveryEvaluation()
    callback.on_round_end(trainer_of(tmp_path, Images(with_truth=False)), None, usual())
    assert {row.metric for row in callback.results} == {"clustered", "clusters"}
    assert values(callback, "last") == {"clustered": 0.8, "clusters": 4}
    assert table(callback).splitlines()[2].split() == ["round", "images", "clustered", "groups"]


def test_nothing_is_clustered(tmp_path):
    callback = DiscoveryEvaluation()
    end_round(callback, trainer_of(tmp_path), round_of(("attribution", np.full(40, -1))))
    found = values(callback, "last")
    assert math.isnan(found["purity"])
    assert (found["sources"], found["out"], found["net"]) == (0, 1, 0.5)
    assert table(callback).splitlines()[4].split() == ["1", "40", "–", "–", "–", "0.0", "0.0", "0/4", "0/2", "0"]


def test_an_unknown_source_inside_a_known_class_is_not_found(tmp_path):
    """Of source 2 most lies in the class of source 1, of source 3 in a cluster of its own."""
    images = Images(count=8)
    images.truth = np.array([0, 0, 1, 2, 2, 3, 3, 2])
    callback = DiscoveryEvaluation()
    end_round(callback, trainer_of(tmp_path, images), round_of(("refine", np.array([0, 0, 1, 1, 1, 2, 2, 2]))))
    found = values(callback, "last")
    assert (found["sources"], found["unknown sources"]) == (3, 1)


def test_other_data(tmp_path):
    with pytest.raises(UserError, match="SourceImages"):
        DiscoveryEvaluation().on_round_end(trainer_of(tmp_path, object()), None, usual())


def test_names_of_sources_and_clusters_become_labels():
    names = ["b", "cluster 7", "unknown", "a", "cluster 12", "cluster 7"]
    assert discovery_evaluation.labels_of(names, ("a", "b")).tolist() == [1, 3, -1, 0, 2, 3]


def attributed(folder, names, images, batches=2, of=None, known=None, margins=None):
    """Return the callback after a test in which images, all or those ``of``, were attributed in some other order."""
    known = torch.zeros(len(names), dtype=torch.int64) if known is None else torch.tensor(known)
    margins = torch.zeros(len(names), dtype=torch.float64) if margins is None else torch.tensor(margins).double()
    callback, trainer = DiscoveryEvaluation(), trainer_of(folder, images)
    callback.on_test_start(trainer, None)
    order = torch.randperm(len(names), generator=torch.Generator().manual_seed(0)) if of is None else torch.tensor(of)
    for number, index in enumerate(order.chunk(batches)):
        batch = {"task": "discovery", "index": index}
        outputs = {"name": [names[i] for i in index.tolist()], "known": known[index], "known_margin": margins[index]}
        callback.on_test_batch_end(trainer, None, outputs, batch, number)
    callback.on_test_epoch_end(trainer, None)
    return callback


def test_attribution_of_new_images_is_measured(tmp_path, capsys):
    images = Images(count=8)  # of the sources 0, 1, 2, 3, 0, 1, 2, 3, of which 0 and 1 are known
    names = ["one", "two", "cluster 2", "unknown", "two", "unknown", "cluster 2", "one"]
    found = values(attributed(tmp_path, names, images), "attributed")
    assert found["named"] == 2 / 4  # images 0 and 1
    assert (found["in"], found["out"], found["net"]) == (3 / 4, 3 / 4, 6 / 8)
    assert found["clustered"] == 6 / 8
    assert found["clusters"] == 3
    assert found["purity"] == pytest.approx((1 + 1 + 2) / 6)  # one: 0 and 3; two: 1 and 0; cluster 2: both of source 2
    assert found["unknown sources"] == 1
    assert "8 images attributed" in capsys.readouterr().out
    lines = (tmp_path / "results" / "sources.csv").read_text().splitlines()
    assert any(line.startswith("sources,named,attributed") for line in lines)


def test_attribution_is_measured_as_open_set_recognition_and_by_matched_clusters(tmp_path, capsys):
    images = Images(count=8)
    names = ["one", "two", "cluster 2", "unknown", "two", "unknown", "cluster 2", "one"]
    known, margins = [0, 1, 0, 0, 1, 1, 0, 0], [9, 8, 1, 7, 6, -1, -2, 5]
    found = values(attributed(tmp_path, names, images, known=known, margins=margins), "attributed")
    # "one" may stand for source 0 or 3, "two" for 1 or 0; in the best assignment one image of each is right.
    assert (found["ACC"], found["ACC novel"]) == (4 / 8, 2 / 4)
    assert found["count error"] == 1 / 4
    # Known: margins 9, 8, 6, -1, the third wrongly classified; unknown: 1, 7, -2, 5.
    assert found["AUROC"] == (4 + 4 + 3 + 1) / 16
    assert found["OSCR"] == (4 + 4 + 1) / 16
    assert "ACC 50.0 %, AUROC 75.0 %, OSCR 56.2 %" in capsys.readouterr().out
    assert {"ACC", "ACC known", "AUROC"} <= {
        line.split(",")[1] for line in (tmp_path / "results" / "sources.csv").read_text().splitlines()
    }


def test_a_test_of_some_batches_is_about_their_images(tmp_path, capsys):
    names = ["one", "two", "cluster 2", "unknown", "two", "unknown", "cluster 2", "one"]
    callback = attributed(tmp_path, names, Images(count=8), of=[6, 1, 4])  # --trainer.limit_test_batches
    found = values(callback, "attributed")
    assert (found["named"], found["in"], found["clustered"]) == (1 / 2, 2 / 2, 1)
    assert {row.metric: row.count for row in callback.results}["named"] == 2
    assert "3 of 8 images attributed" in capsys.readouterr().out


def test_a_test_without_a_truth_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match="for each source"):
        DiscoveryEvaluation().on_test_start(trainer_of(tmp_path, Images(with_truth=False)), None)
