from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.vit_analysis.linear_probe import LinearHeads, LinearProbe
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

KEYS = ("cls", "spatial", "cls_bn", "spatial_bn")


def blobs(count: int, classes: int, spread: float, seed: int, dim: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % classes
    centres = torch.randn(16, dim, generator=torch.Generator().manual_seed(0))[:classes]
    return centres[labels] + spread * torch.randn(count, dim, generator=generator), labels


def tasks_of(known: Tensor, asked: Tensor, size: int = 16) -> Batches:
    first, second = torch.arange(len(known)), torch.arange(len(asked))
    return {
        "knn-train": batches("knn-train", size, image=numbered(first), label=known, index=first),
        "knn-test": batches("knn-test", size, image=numbered(second + len(known)), label=asked, index=second),
    }


def probed(
    callback: LinearProbe, train: tuple[Tensor, Tensor], test: tuple[Tensor, Tensor], scale: float = 1.0
) -> dict[str, np.ndarray]:
    vit = Written([scale * torch.cat([train[0], test[0]])])
    return show(callback, vit, tasks_of(train[1], test[1])).compute()


def test_separable_features_are_classified_and_noise_is_not() -> None:
    train, test = blobs(200, 5, 0.1, seed=1), blobs(80, 5, 0.1, seed=2)
    arrays = probed(LinearProbe(batch_size=32), train, test)
    assert all(arrays[key] == 1 and arrays[key].shape == () for key in KEYS)
    assert all(arrays[key].dtype == np.float32 for key in arrays)
    generator = torch.Generator().manual_seed(9)
    blind = (torch.randn(200, 8, generator=generator), train[1]), (torch.randn(80, 8, generator=generator), test[1])
    assert max(float(probed(LinearProbe(batch_size=32), *blind)[key]) for key in KEYS) < 0.4


def test_layer_is_chosen_by_option_then_by_the_model_then_last() -> None:
    train, test = blobs(60, 3, 0.1, seed=1), blobs(30, 3, 0.1, seed=2)
    good = torch.cat([train[0], test[0]])
    vit = Written([torch.zeros_like(good), good, torch.zeros_like(good)])
    tasks = tasks_of(train[1], test[1])
    last = show(LinearProbe(), vit, tasks).compute()
    assert last["layer"] == 3
    assert last["cls"] == pytest.approx(1 / 3)
    vit.probe_layer = 2
    assert show(LinearProbe(), vit, tasks).compute()["layer"] == 2
    assert show(LinearProbe(), vit, tasks).compute()["cls"] == 1
    assert show(LinearProbe(layer=1), vit, tasks).compute()["layer"] == 1
    with pytest.raises(UserError, match="no block 4"):
        LinearProbe(layer=4).new_state(vit)


def test_batch_norm_makes_the_scale_irrelevant() -> None:
    train, test = blobs(150, 5, 1.0, seed=1), blobs(80, 5, 1.0, seed=2)
    callback = LinearProbe(batch_size=32, lrs=[0.01, 0.1])
    plain, tiny = (probed(callback, train, test, scale) for scale in (1.0, 0.05))
    for key in ("cls_bn", "spatial_bn", "cls_bn_lr"):
        assert plain[key] == tiny[key]
    assert plain["cls"] != tiny["cls"] or plain["cls_lr"] != tiny["cls_lr"]
    assert 0.4 < plain["cls_bn"] < 1


def test_heads_learn_as_if_each_were_alone() -> None:
    features, labels = blobs(64, 4, 1.0, seed=1)
    callback = LinearProbe(lrs=[0.01, 1.0], epochs=3, batch_size=16)
    generator = torch.Generator().manual_seed(0)
    both = callback._trained(features, labels, 4, True, [0.01, 1.0], generator)
    for number, lr in enumerate((0.01, 1.0)):
        alone = callback._trained(features, labels, 4, True, [lr], torch.Generator().manual_seed(0))
        torch.testing.assert_close(both.weights[number], alone.weights[0])
        torch.testing.assert_close(both.biases[number], alone.biases[0])
    assert not torch.allclose(both.weights[0], both.weights[1])


def test_one_head_is_a_linear_layer_under_sgd() -> None:
    """The same training with torch.nn.Linear, cosine by hand."""
    features, labels = blobs(48, 3, 1.0, seed=1)
    found = LinearProbe(epochs=4, batch_size=12)._trained(
        features, labels, 3, False, [0.3], torch.Generator().manual_seed(5)
    )
    layer = torch.nn.Linear(8, 3)
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimiser = torch.optim.SGD(layer.parameters(), lr=0.3, momentum=0.9)
    generator = torch.Generator().manual_seed(5)
    for epoch in range(4):
        for step, some in enumerate(torch.randperm(48, generator=generator).split(12)):
            optimiser.param_groups[0]["lr"] = 0.15 * (1 + np.cos(np.pi * (4 * epoch + step) / 16))
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(layer(features[some]), labels[some]).backward()
            optimiser.step()
    torch.testing.assert_close(found.weights[0].T, layer.weight, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found.biases[0, 0], layer.bias, rtol=1e-4, atol=1e-5)


def test_a_diverging_learning_rate_loses() -> None:
    train, test = blobs(100, 3, 0.1, seed=1), blobs(40, 3, 0.1, seed=2)
    arrays = probed(LinearProbe(lrs=[1e38, 0.1], batch_size=16), train, test, scale=100.0)
    assert arrays["cls_lr"] == pytest.approx(0.1)
    assert arrays["cls"] == 1
    with pytest.raises(UserError, match="diverges"):
        probed(LinearProbe(lrs=[1e38], batch_size=16), train, test, scale=100.0)


def test_the_learning_rate_is_chosen_without_the_test_samples() -> None:
    train, test = blobs(100, 4, 1.0, seed=1), blobs(40, 4, 1.0, seed=2)
    expected = probed(LinearProbe(), train, test)
    shuffled = probed(LinearProbe(), train, (test[0], test[1].roll(1)))
    assert all(expected[f"{key}_lr"] == shuffled[f"{key}_lr"] for key in KEYS)
    assert expected["cls_bn"] > 0.5 > shuffled["cls_bn"]


def test_runs_repeat_exactly() -> None:
    train, test = blobs(100, 4, 1.0, seed=1), blobs(40, 4, 1.0, seed=2)
    first = probed(LinearProbe(), train, test)
    torch.rand(3)
    second = probed(LinearProbe(), train, test)
    assert all(np.array_equal(first[key], second[key]) for key in first)


def test_accuracy_counts_classes_that_training_lacks_as_wrong() -> None:
    heads = LinearHeads(2, 2, 2, batch_norm=False)
    with torch.no_grad():
        heads.weights[0][:] = torch.eye(2)
        heads.weights[1][:] = -torch.eye(2)
    accuracy, loss = heads.evaluate(torch.tensor([[5.0, 0], [0, 5.0], [5.0, 0], [0, 5.0]]), torch.tensor([0, 1, 1, -1]))
    assert accuracy.tolist() == [0.5, 0.25]
    assert loss[0] < loss[1]


def test_mistakes_are_named() -> None:
    for wrong in ({"lrs": []}, {"lrs": [0.1, -1.0]}, {"epochs": 0}, {"batch_size": 1}, {"layer": 0}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            LinearProbe(**wrong)  # type: ignore[arg-type]
    few = blobs(9, 3, 0.1, seed=1)
    with pytest.raises(UserError, match=r"9 labelled samples .* at least 10"):
        probed(LinearProbe(), few, few)


def test_a_run_writes_arrays_and_figures(tmp_path: Path) -> None:
    labels, index = torch.arange(24) % 3, torch.arange(24)
    tasks = {
        task: batches(task, 10, image=pictures(24, seed), label=labels, index=index)
        for seed, task in enumerate(("knn-train", "knn-test"))
    }
    callback = LinearProbe(lrs=[0.1, 1.0], epochs=2)
    analyse(tmp_path, [callback], tasks, {"tiny": tiny_vit(), "Random": noise()})
    for name, depth in (("tiny", DEPTH), ("Random", 1)):
        with np.load(tmp_path / "arrays" / name / "probe.npz") as arrays:
            assert arrays["layer"] == depth
            assert all(0 <= arrays[key] <= 1 for key in KEYS)
    metrics = [row.metric for row in callback.results if row.method == "tiny"]
    assert metrics == ["probe CLS", "probe Spat.", "probe CLS+BN", "probe Spat.+BN"]
    assert (tmp_path / "results" / "probe.csv").is_file()
