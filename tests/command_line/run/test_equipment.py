import os

import pytest
from pytorch_lightning.callbacks import LambdaCallback
from pytorch_lightning.plugins import TorchCheckpointIO

from callbacks.run.checkpointing import SafeCheckpointIO
from callbacks.run.configured_optimizer import ConfiguredOptimizer
from callbacks.run.exact_batch_norm import ExactBatchNorm
from callbacks.run.finite_loss import FiniteLoss
from callbacks.run.interruption import Interruption
from callbacks.run.progress_lines import ProgressLines
from callbacks.run.requeue import Requeue
from callbacks.run.run_record import RunRecord
from command_line.run.equipment import place_wandb, with_callbacks, with_plugins


@pytest.fixture
def record():
    return RunRecord(["cli.py", "fit"])


def equipped(record, *chosen, progress=True, reconfigured=False):
    return with_callbacks(chosen, record, files=[], progress=progress, reconfigured=reconfigured)


def test_a_chosen_plugin_takes_the_place_of_the_standard_one():
    assert [type(plugin) for plugin in with_plugins([])] == [SafeCheckpointIO, ExactBatchNorm]
    own = TorchCheckpointIO()
    plugins = with_plugins([own])
    assert plugins[0] is own
    assert [type(plugin) for plugin in plugins] == [TorchCheckpointIO, ExactBatchNorm]


def test_the_record_comes_first_and_who_saves_comes_last(record):
    own = LambdaCallback()
    callbacks = equipped(record, own)
    assert callbacks[0] is record
    assert [type(each) for each in callbacks[-3:]] == [LambdaCallback, Interruption, Requeue]
    assert len({type(each) for each in callbacks}) == len(callbacks)


def test_a_chosen_callback_takes_the_place_of_the_standard_one(record):
    own = FiniteLoss(skips=3)
    assert [each for each in equipped(record, own) if isinstance(each, FiniteLoss)] == [own]


def test_progress_and_the_configured_optimizer_are_there_where_they_are_wanted(record):
    kinds = {type(each) for each in equipped(record)}
    assert ProgressLines in kinds
    assert ConfiguredOptimizer not in kinds
    kinds = {type(each) for each in equipped(record, progress=False, reconfigured=True)}
    assert ProgressLines not in kinds
    assert ConfiguredOptimizer in kinds


def test_wandb_goes_on_with_the_same_run(tmp_path, monkeypatch):
    for name in ["WANDB_DIR", "WANDB_NAME", "WANDB_RUN_ID", "WANDB_RUN_GROUP", "WANDB_SWEEP_ID"]:
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    folder = tmp_path / "lift/first"
    folder.mkdir(parents=True)
    place_wandb(folder)
    identity = os.environ["WANDB_RUN_ID"]
    assert (os.environ["WANDB_DIR"], os.environ["WANDB_NAME"]) == (str(folder), "lift/first")
    assert os.environ["WANDB_RUN_GROUP"] == "lift"
    monkeypatch.delenv("WANDB_RUN_ID")
    place_wandb(folder)
    assert os.environ["WANDB_RUN_ID"] == identity
    monkeypatch.delenv("WANDB_RUN_ID")
