from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor
from torch.nn import functional as F

from callbacks.vit_analysis.nearest_neighbours import NearestNeighbours, vote
from tests.callbacks.vit_analysis.feature_helpers import (
    DEPTH,
    Batches,
    Written,
    analyse,
    batches,
    noise,
    numbered,
    pictures,
    show,
    tiny_vit,
)
from visionscapes.errors import UserError


def blobs(count: int, classes: int, spread: float, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(10, 8, generator=torch.Generator().manual_seed(0))
    return centres[labels] + spread * torch.randn(count, 8, generator=generator), labels


def tasks_of(known: Tensor, asked: Tensor, size: int = 7) -> Batches:
    """Batches for ``Written`` whose features are those of the training samples, then those of the test samples."""
    first, second = torch.arange(len(known)), torch.arange(len(asked))
    return {
        "knn-train": batches("knn-train", size, image=numbered(first), label=known, index=first),
        "knn-test": batches("knn-test", size, image=numbered(second + len(known)), label=asked, index=second),
    }


@pytest.mark.parametrize("chunk", [3, 2**26])
def test_equals_scikit_learn(monkeypatch: pytest.MonkeyPatch, chunk: int) -> None:
    monkeypatch.setattr("callbacks.vit_analysis.nearest_neighbours._SIMILARITIES_AT_ONCE", chunk)
    train, known = blobs(60, 7, 1.0, seed=1)
    test, asked = blobs(31, 7, 1.0, seed=2)
    k = 40  # so many that every class has a vote: the order of classes without any is nobody's
    theirs = KNeighborsClassifier(k, weights=lambda far: np.exp((1 - far) / 0.2), metric="cosine").fit(train, known)
    chances = theirs.predict_proba(test)
    order = np.argsort(-chances, axis=1)
    expected = [(order[:, :number] == asked.numpy()[:, None]).any(1).mean() for number in (1, 5)]
    assert 0.3 < expected[0] < expected[1] < 1
    found = vote(F.normalize(train, dim=1), known, F.normalize(test, dim=1), asked, 7, k, 0.2)
    assert found == pytest.approx(expected)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_fewer_than_five_neighbours_name_no_more_than_k_classes(k: int) -> None:
    train, known = blobs(60, 9, 3.0, seed=1)
    test, asked = blobs(41, 9, 3.0, seed=2)
    train, test = F.normalize(train, dim=1), F.normalize(test, dim=1)
    expected, of_five = np.zeros(2), 0
    for query, label in zip(test, asked.tolist(), strict=True):  # the official code's own words, sample by sample
        similarity, nearest = (train @ query).topk(k)
        votes = torch.zeros(9).index_add_(0, known[nearest], (similarity / 0.2).exp())
        ranked = votes.sort(descending=True).indices.tolist()
        expected += [ranked[0] == label, label in ranked[: min(5, k)]]
        of_five += label in ranked[:5]
    found = vote(train, known, test, asked, 9, k, 0.2)
    assert found == pytest.approx(expected / 41)
    assert found[1] < of_five / 41  # classes without any vote would raise it


def test_layers_are_judged_by_their_own_class_tokens() -> None:
    train, known = blobs(40, 4, 0.1, seed=1)
    test, asked = blobs(20, 4, 0.1, seed=2)
    good = torch.cat([train, test])
    blind = torch.randn(60, 8, generator=torch.Generator().manual_seed(5))
    known, asked = known * 10 + 3, asked * 10 + 3  # labels need not be numbered through
    arrays = show(NearestNeighbours(k=5), Written([blind, 100 * good]), tasks_of(known, asked)).compute()
    assert arrays["top1"].dtype == np.float32
    assert arrays["top1"][1] == 1
    assert arrays["top1"][0] < 0.6
    assert arrays["top5"].tolist() == [1, 1]  # of four classes
    assert int(arrays["k"]) == 5


def test_samples_without_label_and_classes_that_training_lacks() -> None:
    train, known = blobs(30, 3, 0.01, seed=1)
    test, asked = blobs(12, 4, 0.01, seed=2)  # a fourth class
    known[0], asked[1] = -1, -1
    arrays = show(NearestNeighbours(k=5), Written([torch.cat([train, test])]), tasks_of(known, asked)).compute()
    # Centres of classes are the same; eight of eleven labelled test samples have a class that is known.
    assert (asked >= 0).sum() == 11
    assert float(arrays["top1"][0]) == pytest.approx(8 / 11)


def test_order_duplicates_and_half_precision_do_not_matter() -> None:
    train, known = blobs(40, 4, 1.0, seed=1)
    test, asked = blobs(20, 4, 1.0, seed=2)
    vit, tasks = Written([torch.cat([train, test])]), tasks_of(known, asked)
    expected = show(NearestNeighbours(k=5), vit, tasks).compute()
    again = {task: [*reversed(own), own[0]] for task, own in tasks.items()}
    assert show(NearestNeighbours(k=5), vit, again).compute()["top1"] == expected["top1"]
    state = show(NearestNeighbours(k=5, half=True), vit, tasks)
    assert state.raw("knn-train", "cls0").dtype == torch.float16
    assert state.compute()["top1"] == pytest.approx(expected["top1"], abs=0.051)


def test_mistakes_are_named() -> None:
    with pytest.raises(UserError, match="k is 0; it has to be at least 1"):
        NearestNeighbours(k=0)
    train, known = blobs(8, 2, 0.1, seed=1)
    tasks = tasks_of(known, known)
    vit = Written([torch.cat([train, train])])
    with pytest.raises(UserError, match=r"8 labelled samples.* at least k=9"):
        show(NearestNeighbours(k=9), vit, tasks).compute()
    assert show(NearestNeighbours(k=8), vit, tasks).compute()["top1"] >= 0.5
    with pytest.raises(UserError, match="both tasks"):
        show(NearestNeighbours(k=8), vit, {"knn-train": tasks["knn-train"]}).compute()
    with pytest.raises(UserError, match="infinite or not a number"):
        show(NearestNeighbours(), Written([torch.full((16, 8), torch.nan)]), tasks)


def test_a_run_writes_arrays_and_figures(tmp_path: Path) -> None:
    labels = torch.arange(24) % 3
    index = torch.arange(24)
    tasks = {
        task: batches(task, 10, image=pictures(24, seed), label=labels, index=index)
        for seed, task in enumerate(("knn-train", "knn-test"))
    }
    callback = NearestNeighbours(k=4)
    analyse(tmp_path, [callback], tasks, {"tiny": tiny_vit(), "Random": noise()})
    for name, depth in (("tiny", DEPTH), ("Random", 1)):
        with np.load(tmp_path / "arrays" / name / "knn.npz") as arrays:
            assert arrays["top1"].shape == arrays["top5"].shape == (depth,)
            assert (arrays["top5"] == 1).all()  # of three classes
    rows = {(row.method, row.metric): row.value for row in callback.results}
    assert {"k-NN top-1", "k-NN top-1 layer", "k-NN top-1 @2", "k-NN top-5"} <= {metric for _, metric in rows}
    assert rows["Random", "k-NN top-1"] < 0.8
    assert (tmp_path / "results" / "knn.csv").is_file()
