from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from callbacks.vit_analysis.feature_bank import (
    INTEGER,
    NAME,
    Column,
    FeatureBank,
    class_numbers,
    decoded_names,
    encoded_name,
    first_of_each,
    positions,
)
from callbacks.vit_analysis.feature_clustering import FeatureClustering
from callbacks.vit_analysis.feature_similarity import KINDS, FeatureSimilarity
from callbacks.vit_analysis.image_retrieval import ImageRetrieval
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from callbacks.vit_analysis.linear_probe import LinearProbe
from callbacks.vit_analysis.nearest_neighbours import NearestNeighbours
from tests.callbacks.vit_analysis.feature_helpers import Batches, analyse, batches, noise, pictures, tiny_vit
from tests.helpers.processes import two_processes
from visionscapes.errors import UserError

FEATURES = Column((3,), torch.float16)


def bank(**options: Any) -> FeatureBank:
    def summary(own: FeatureBank) -> dict[str, Any]:
        rows = own.rows("a")
        return {name: own.raw("a", name)[rows] for name in ("index", "x")}

    return FeatureBank({"a": {"index": INTEGER, "x": FEATURES, "name": NAME}}, summary, **options)


def test_rows_are_sorted_and_each_is_taken_once() -> None:
    own = bank()
    for index in ([7, 2], [5], [2, 9]):
        own.update("a", {"index": torch.tensor(index)})
        own.update("a", {"x": torch.tensor(index)[:, None] * torch.ones(3)})
    found = own.compute()
    assert found["index"].tolist() == [2, 5, 7, 9]
    assert found["x"].dtype == torch.float16
    assert found["x"][:, 1].tolist() == [2, 5, 7, 9]
    assert bank().raw("a", "x").shape == (0, 3)
    assert first_of_each(torch.tensor([3, 1, 3, 1])).tolist() == [1, 0]


def test_merging_puts_rows_together() -> None:
    parts = [bank() for _ in range(2)]
    for number, part in enumerate(parts):
        part.update("a", {"index": torch.tensor([3 - number]), "x": torch.full((1, 3), float(number))})
    parts[0].merge_state(parts[1])
    assert parts[0].compute()["x"][:, 0].tolist() == [1, 0]


def test_a_process_without_rows_sends_columns_of_the_right_shape_and_type() -> None:
    sent = []

    def gather(tensor: torch.Tensor, group: Any = None) -> list[torch.Tensor]:
        sent.append(tensor)
        other = torch.ones(2, *tensor.shape[1:], dtype=tensor.dtype)
        return [tensor, other]

    own = bank(dist_sync_fn=gather, distributed_available_fn=lambda: True)
    own._update_count = 1  # so that torchmetrics does not warn
    found = own.compute()
    assert [(tuple(one.shape), one.dtype) for one in sent] == [
        ((0,), torch.int64),
        ((0, 3), torch.float16),
        ((0, 64), torch.uint8),
    ]
    assert found["x"].tolist() == [[1, 1, 1]]


def test_features_that_are_not_finite_are_named() -> None:
    with pytest.raises(UserError, match=r"features x of task a .*full precision"):
        bank().update("a", {"x": torch.tensor([[1.0, 1e6, 0.0]])})  # beyond half precision


def test_names_survive() -> None:
    codes = torch.cat([encoded_name("ROxford5k", 2), encoded_name("Pariser Straße", 1)])
    assert decoded_names(codes) == ["ROxford5k", "ROxford5k", "Pariser Straße"]
    assert encoded_name("x", 0).shape == (0, 64)


def test_classes_are_numbered_through() -> None:
    known, asked, count = class_numbers(torch.tensor([40, 7, 40]), torch.tensor([7, 8, 99, 40, 1]))
    assert (known.tolist(), asked.tolist(), count) == ([1, 0, 1], [0, -1, -1, 1, -1], 2)


def test_positions_are_those_of_the_data_set() -> None:
    assert positions({"index": torch.tensor([4, 9])}, 100, 2).tolist() == [4, 9]
    assert positions({}, 3, 2).tolist() == [3, 4]


def everything() -> list[LayerEvaluation]:
    return [
        FeatureSimilarity(),
        FeatureClustering(),
        NearestNeighbours(k=5),
        ImageRetrieval(),
        LinearProbe(lrs=[0.1, 1.0], epochs=3),
    ]


def all_tasks() -> Batches:
    labels, index = torch.arange(16) % 4, torch.arange(16)
    tasks = {
        task: batches(task, 4, image=pictures(16, seed), label=labels, index=index)
        for seed, task in enumerate(("images", "knn-train", "knn-test"))
    }
    regions = pictures(8, 9)
    generator = torch.Generator().manual_seed(1)
    for task in ("objects", "parts"):
        tasks[task] = [
            {
                "task": task,
                "image": torch.nn.functional.interpolate(regions[i : i + 1], (36, 50)),
                "masks": torch.rand(2, 36, 50, generator=generator) > 0.8,
                "label": torch.tensor([i % 3, (i + 1) % 3]),
            }
            for i in range(8 if task == "parts" else 1)  # fewer objects than processes
        ]
    tasks["retrieval-database"] = batches("retrieval-database", 4, image=pictures(12, 5), index=torch.arange(12))
    ragged = [torch.arange(i % 3) for i in range(4)]
    asked = {"easy": [r + 3 for r in ragged], "hard": ragged, "junk": [torch.tensor([11])] * 4}
    tasks["retrieval-queries"] = batches("retrieval-queries", 1, image=pictures(4, 6), index=torch.arange(4), **asked)
    for task in ("retrieval-database", "retrieval-queries"):
        tasks[task] = [batch | {"dataset": "scenes"} for batch in tasks[task]]
    return tasks


def one_rank(rank: int, root: str) -> None:
    tasks = {task: own[rank::2] for task, own in all_tasks().items()}
    tasks["knn-train"] = all_tasks()["knn-train"][slice(3) if rank == 0 else slice(3, 4)]
    callbacks = everything()
    analyse(Path(root), callbacks, tasks, {"tiny": tiny_vit(), "Random": noise()}, strategy="ddp", devices=2)
    torch.save({c.protocol: c.arrays for c in callbacks}, f"{root}/{rank}.pt")


def in_order(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Sort batches, which come in the order of the processes."""
    order = np.argsort(arrays["index"][:, 0])
    return {key: value[order] if key in ("index", *KINDS) else value for key, value in arrays.items()}


@pytest.mark.slow
def test_two_processes_give_the_arrays_of_one(tmp_path: Path) -> None:
    callbacks = everything()
    analyse(tmp_path / "one", callbacks, all_tasks(), {"tiny": tiny_vit(), "Random": noise()})
    (tmp_path / "two").mkdir()
    two_processes(one_rank, str(tmp_path / "two"))
    for rank in range(2):
        found = torch.load(tmp_path / "two" / f"{rank}.pt", weights_only=False)
        for callback in callbacks:
            assert found[callback.protocol].keys() == callback.arrays.keys()
            for name, arrays in callback.arrays.items():
                own = found[callback.protocol][name]
                assert own.keys() == arrays.keys()
                if callback.protocol == "similarity":
                    own, arrays = in_order(own), in_order(arrays)
                for key in arrays:
                    np.testing.assert_allclose(own[key], arrays[key], rtol=1e-4, atol=1e-5, err_msg=key)
