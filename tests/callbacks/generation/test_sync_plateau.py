import pytest
import torch
from pytorch_lightning import LightningModule
from torch.utils.data import DataLoader

from callbacks.generation.sync_plateau import SyncPlateau, better_than_chance, still_at_chance
from tests.helpers.quiet_trainer import quiet_trainer


class Told(LightningModule):
    """Logs an AUC for each epoch, of 2 steps each."""

    def __init__(self, areas, objective="pair"):
        super().__init__()
        self.areas, self.objective = areas, objective
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        return self.weight.square()

    def validation_step(self, batch, batch_idx):
        figures = {"bce": 0.693, "accuracy": 0.5, "accuracy_error": 0.01, "auc_error": 0.01}
        figures["auc"] = self.areas[min(self.current_epoch, len(self.areas) - 1)]
        for name, value in figures.items():
            self.log(f"val/{name}", value, batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def lines(tmp_path, capsys, areas, callback, objective="pair"):
    data = DataLoader([0, 1], batch_size=None)
    quiet_trainer(tmp_path, [callback], max_epochs=len(areas)).fit(Told(areas, objective), data, data)
    return [line for line in capsys.readouterr().out.splitlines() if line.startswith("step ")]


def test_it_speaks_when_the_steps_have_doubled_and_when_the_plateau_is_left(tmp_path, capsys):
    told = lines(tmp_path, capsys, [0.51] * 9 + [0.6, 0.5, 0.5], SyncPlateau(after_steps=4))
    assert [line.partition(":")[0] for line in told] == ["step 4", "step 8", "step 16", "step 20"]
    assert "still at chance, BCE 0.693, accuracy 0.500 ± 0.030, AUC 0.510 ± 0.030" in told[0]
    assert "normal with the pair loss until about step 150,000" in told[0]
    assert "--model.objective=contrastive_then_pair" in told[0]
    assert "the plateau is left" in told[-1]


def test_a_run_that_learns_at_once_hears_nothing(tmp_path, capsys):
    assert lines(tmp_path, capsys, [0.7, 0.8, 0.5], SyncPlateau(after_steps=1)) == []


def test_a_resumed_run_goes_on_as_it_was(tmp_path, capsys):
    first, second = SyncPlateau(after_steps=2), SyncPlateau(after_steps=2)
    lines(tmp_path, capsys, [0.5], first)
    second.load_state_dict(first.state_dict())
    assert lines(tmp_path, capsys, [0.5], second) == []  # step 2 was told; 4 is next


@pytest.mark.parametrize(
    ("area", "error", "better"), [(0.54, 0.01, True), (0.52, 0.01, False), (0.9, float("nan"), False)]
)
def test_chance_is_judged_by_three_standard_errors(area, error, better):
    figures = {"val/auc": area, "val/auc_error": error, "val/accuracy": 0.5, "val/accuracy_error": 0.01}
    assert better_than_chance(figures) == better


def test_advice_depends_on_step_and_objective():
    figures = {"val/auc": 0.5, "val/auc_error": 0.01, "val/accuracy": 0.5, "val/accuracy_error": 0.01, "val/bce": 0.7}
    assert "longer than the 150,000 steps" in still_at_chance(400_000, figures, "pair")
    assert "not usual with a contrastive start" in still_at_chance(2000, figures, "contrastive_then_pair")
