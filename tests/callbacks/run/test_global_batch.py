import pytest
import torch
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler

from callbacks.run.global_batch import GlobalBatch, batch_of, line_of
from callbacks.run.run_record import RunRecord
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.tiny import TinyData, TinyModule


def figures(batch: int, processes: int, accumulated: int, recipe: int | None) -> dict[str, int | None]:
    numbers = {"batch": batch, "processes": processes, "accumulated": accumulated, "recipe_batch": recipe}
    return numbers | {"global_batch": batch * processes * accumulated}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ((256, 1, 1, 256), "global batch 256 (256 x 1 process), that of lift.yaml"),
        ((16, 16, 1, 256), "global batch 256 (16 x 16 processes), that of lift.yaml"),
        ((4, 1, 4, 16), "global batch 16 (4 x 1 process x 4 accumulated), that of lift.yaml"),
        ((8, 2, 1, None), "global batch 16 (8 x 2 processes); the configuration names no recipe's"),
    ],
)
def test_the_line(given, line):
    assert line_of(figures(*given), "lift.yaml") == line


def test_sixteen_processes_are_warned():
    line = line_of(figures(256, 16, 1, 256), "lift.yaml")
    assert line.startswith("warning: global batch 4096 (256 x 16 processes), where lift.yaml has 256; ")
    assert "--data.batch_size" in line


def test_the_batch_of_loaders():
    data = torch.zeros(8)
    own = DataLoader(data, batch_sampler=BatchSampler(SequentialSampler(data), 3, False))
    assert batch_of(DataLoader(data, 4)) == 4
    assert batch_of(own) == 3
    assert batch_of({"a": DataLoader(data, 4), "b": [own]}) == 7
    assert [batch_of(each) for each in ([], [1, 2], [own, "x"], DataLoader(data, None))] == [None] * 4


def test_it_is_told_at_the_start_of_training_and_written_down(tmp_path, capsys):
    callback, record = GlobalBatch(recipe=8, source="tiny.yaml"), RunRecord([])
    trainer = quiet_trainer(
        tmp_path, callbacks=[record, callback], max_steps=1, accumulate_grad_batches=2, limit_val_batches=0
    )
    record.begin(tmp_path)
    data = TinyData()
    trainer.fit(TinyModule(), datamodule=data)
    batch = callback.figures["batch"]
    assert callback.figures == figures(batch, 1, 2, 8)
    assert [line for line in capsys.readouterr().out.splitlines() if "global batch" in line] == [
        line_of(callback.figures, "tiny.yaml")
    ]
    assert f'"global_batch": {2 * batch}' in (tmp_path / "manifest.json").read_text()
