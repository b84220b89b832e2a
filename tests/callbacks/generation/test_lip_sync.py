import csv
from datetime import timedelta

import pytest
import torch
from pytorch_lightning import LightningModule
from pytorch_lightning.strategies import DDPStrategy
from torch.utils.data import DataLoader

from callbacks.generation.lip_sync import LipSyncEvaluation
from networks.embedded_clip import EmbeddedClip
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError

SHIFTS = [0, 1, -2, 0, 5]


def clip(number, windows=40):
    """An embedded clip whose sound is late by ``SHIFTS[number]`` frames."""
    shift = SHIFTS[number]
    world = torch.nn.functional.normalize(
        torch.randn(windows + abs(shift), 32, generator=torch.Generator().manual_seed(number)), dim=1
    )
    video, audio = (world[shift:], world[:windows]) if shift >= 0 else (world[:windows], world[-shift:])
    known = torch.ones(windows, dtype=torch.bool)
    return EmbeddedClip(f"clip {number}", video, audio, known, threshold=0.5, frames=windows + 4, faces=1.0)


class Embedded(LightningModule):
    """Gives the clip of a batch's number."""

    def __init__(self, outputs=clip):
        super().__init__()
        self.outputs = outputs

    def training_step(self, batch, batch_idx):
        return None

    def test_step(self, batch, batch_idx):
        return self.outputs(batch["number"])

    validation_step = test_step

    def configure_optimizers(self):
        return None


def batches(numbers, task="clip"):
    return DataLoader([{"task": task, "number": number} for number in numbers], batch_size=None)


def values(callback):
    return {row.metric: row.value for row in callback.results}


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_figures_files_and_picture_of_a_test(tmp_path):
    callback = LipSyncEvaluation(reach=8)
    trainer = quiet_trainer(tmp_path, [callback])
    trainer.test(Embedded(), batches(range(5)), verbose=False)
    found = values(callback)
    assert found["offset"] == pytest.approx(8 / 5)
    assert found["within 1 frame"] == pytest.approx(3 / 5)
    assert found["Sync_d"] == pytest.approx(0, abs=1e-6)
    assert found["Sync_c"] > 1
    assert 0.5 < found["AUC"] < 1  # three of the clips fit nowhere without their offset
    assert float(trainer.callback_metrics["lip_sync/offset/video"]) == pytest.approx(8 / 5)
    assert len(rows_of(tmp_path / "results" / "lip_sync.csv")) == 1 + 6
    offsets = {int(offset): int(clips) for offset, clips in rows_of(tmp_path / "results" / "offsets.csv")[1:]}
    assert offsets == {k: SHIFTS.count(k) for k in range(-8, 9)}
    assert (tmp_path / "pictures" / "offsets.png").stat().st_size > 1000


@pytest.mark.parametrize("validate", [True, False])
def test_validation_is_measured_where_it_is_asked_for(tmp_path, validate):
    callback = LipSyncEvaluation(validate=validate)
    quiet_trainer(tmp_path, [callback]).validate(Embedded(), batches([0, 1]), verbose=False)
    assert bool(callback.results) == validate


def test_other_tasks_are_passed_over_and_other_modules_refused(tmp_path):
    callback = LipSyncEvaluation()
    quiet_trainer(tmp_path, [callback]).test(Embedded(), batches([0], "images"), verbose=False)
    assert callback.results == []
    assert not (tmp_path / "results").exists()
    with pytest.raises(UserError, match="needs embedded clips, which Embedded does not return"):
        quiet_trainer(tmp_path, [LipSyncEvaluation()]).test(Embedded(lambda number: None), batches([0]), verbose=False)


def test_clips_that_are_too_short_have_no_figures_and_are_told(tmp_path, capsys):
    def short(number):
        whole = clip(number)
        return whole._replace(video=whole.video[:3], audio=whole.audio[:3], known=whole.known[:3])

    callback = LipSyncEvaluation()
    quiet_trainer(tmp_path, [callback]).test(Embedded(short), batches([0, 1]), verbose=False)
    assert callback.results == []
    assert "lip_sync: no clip has enough windows with a face and sound to be judged" in capsys.readouterr().out


def one_rank(rank, root):
    callback = LipSyncEvaluation()
    strategy = DDPStrategy(process_group_backend="gloo", timeout=timedelta(seconds=60))  # rather fail than hang
    trainer = quiet_trainer(root, [callback], strategy=strategy, devices=2, use_distributed_sampler=False)
    trainer.test(Embedded(), batches([[0, 1, 2, 3], [4]][rank]), verbose=False)
    torch.save(values(callback), f"{root}/{rank}.pt")


@pytest.mark.slow
def test_two_processes_give_the_figures_of_one(tmp_path):
    alone = LipSyncEvaluation()
    quiet_trainer(tmp_path / "one", [alone]).test(Embedded(), batches(range(5)), verbose=False)
    two_processes(one_rank, str(tmp_path))
    for rank in (0, 1):
        assert torch.load(tmp_path / f"{rank}.pt") == pytest.approx(values(alone), rel=1e-5, abs=1e-6)
    one, two = (rows_of(folder / "results" / "offsets.csv") for folder in (tmp_path / "one", tmp_path))
    assert one == two
