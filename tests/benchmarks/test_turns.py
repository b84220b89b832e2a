import pytest
import torch
from pytorch_lightning import LightningModule
from torch.utils.data import DataLoader

from benchmarks.turns import TakingTurns, bare_trainer

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:pytorch_lightning", "ignore:.*does not have many workers")
SEEN = []


class Steps(LightningModule):
    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch, batch_idx):
        SEEN.append("ours")
        self.log("train/loss", 4.0)
        return self.weight

    def configure_optimizers(self):
        return torch.optim.SGD([self.weight], 0.1)


class Loop:
    steps = 0

    def step(self):
        SEEN.append("plain")
        self.steps += 1
        return {"loss": 3.0 + self.steps, "other": 1.0}


def test_steps_take_turns_and_the_first_round_does_not_count():
    SEEN.clear()
    turns = TakingTurns(Loop(), 3, compared=["loss"], device="cpu")
    bare_trainer(9, turns, device="cpu", optimizers=1).fit(Steps(), DataLoader(torch.zeros(20, 1)))
    assert SEEN == ["ours", "plain"] * 9
    result = turns.result(reach=0.5)
    assert result["rounds"] == 2
    assert result["difference"] == 0  # 4 and 3 + 1
    assert result["reach"] == 0.5
    assert result["ours_s"] > 0


def test_the_first_losses_are_compared():
    turns = TakingTurns(Loop(), 1, compared=["loss"], device="cpu")
    turns.bare.steps = 1  # so that its first loss is another
    turns.bare.step = lambda: setattr(turns.bare, "steps", 1) or {"loss": 5.0}
    bare_trainer(2, turns, device="cpu", optimizers=1).fit(Steps(), DataLoader(torch.zeros(2, 1)))
    assert turns.result(reach=1.0)["difference"] == pytest.approx(0.2)
