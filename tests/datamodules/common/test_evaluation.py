import pytest
import torch
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from datamodules.common.evaluation import Evaluated, EvaluationLoaders, Stacked, known_tasks
from visionscapes.errors import UserError

sides = st.integers(3, 90)


class Numbers(EvaluationLoaders):
    def evaluated(self):
        return {
            f"{task}@8": Evaluated(
                TensorDataset(torch.arange(count)), lambda samples: [int(x) for (x,) in samples], size
            )
            for task, count, size in [("images", 5, 2), ("video", 3, 1)]
        }


def test_every_task_has_a_loader_with_its_own_batch_size():
    data = Numbers(num_workers=0)
    expected = {"images@8": [[0, 1], [2, 3], [4]], "video@8": [[0], [1], [2]]}
    for loaders in (data.test_dataloader(), data.val_dataloader()):
        assert list(loaders) == ["images@8", "video@8"]
        assert {name: list(loader) for name, loader in loaders.items()} == expected
    with pytest.raises(UserError, match=r"Numbers only evaluates: run `python cli\.py test`"):
        data.train_dataloader()


def test_stacked_keeps_lists_and_adds_what_is_alike():
    samples = [{"image": torch.full((1,), float(k)), "index": k, "easy": torch.arange(k)} for k in range(3)]
    batch = Stacked("retrieval-queries", ["easy"], dataset="X")(samples)
    assert list(batch) == ["task", "image", "index", "easy", "dataset"]
    assert (batch["task"], batch["dataset"]) == ("retrieval-queries", "X")
    assert batch["image"].tolist() == [[0.0], [1.0], [2.0]]
    assert batch["index"].tolist() == [0, 1, 2]
    assert [found.tolist() for found in batch["easy"]] == [[], [0], [0, 1]]


def test_tasks_come_in_the_order_of_the_loaders():
    assert known_tasks(["b", "a", "b"], ("a", "b", "c")) == ["a", "b"]
    with pytest.raises(UserError, match=r"tasks is \['d'\]; it has to name one or more of a, b, c"):
        known_tasks(["d"], ("a", "b", "c"))
    with pytest.raises(UserError, match=r"datasets is \[\]"):
        known_tasks([], ("a",), "datasets")
