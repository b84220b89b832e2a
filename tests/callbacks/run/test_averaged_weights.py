"""Exponential moving averages of LiFT, whose backbone is frozen, through the real entry point."""

import signal

import pytest
import torch
from torch.optim.swa_utils import get_ema_avg_fn

import cli
from callbacks.run.averaged_weights import exact_where_equal
from lightning_modules import LiFT
from tests.helpers.chains import differing, left_behind
from tests.helpers.runs import ROOT, lift_words, run_here

EMA = [
    "--trainer.callbacks=pytorch_lightning.callbacks.EMAWeightAveraging",
    "--trainer.callbacks.init_args.decay=0.9",
    "--data.init_args.num_workers=0",
    "--data.init_args.scenes=16",
]


def saved(run):
    return run / "checkpoints" / "last.ckpt"


@pytest.fixture(scope="module")
def averaged(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return run_here(lift_words(tmp_path_factory.mktemp("runs"), "averaged", *EMA))


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_frozen_backbone_is_left_out_of_both_copies(averaged, tmp_path):
    content = torch.load(saved(averaged), weights_only=True)
    for name in ("state_dict", "current_model_state"):
        assert content[name].keys() == content["state_dict"].keys()
        assert not [key for key in content[name] if key.startswith("backbone.")]
    assert any(not content["state_dict"][key].equal(value) for key, value in content["current_model_state"].items())
    plain = sum(value.numel() * value.element_size() for value in content["state_dict"].values())
    backbone = 826_496 * 4
    assert saved(averaged).stat().st_size < 6 * plain < backbone + 5 * plain


@pytest.mark.parametrize("moment", ["training", "validation"])
def test_an_interrupted_average_goes_on_exactly(averaged, tmp_path, monkeypatch, moment):
    """While it validates, the average stands in the place of the trained weights."""
    step = {"training": LiFT.training_step, "validation": LiFT.validation_step}[moment]

    def interrupted(module, *args):
        if module.trainer.global_step >= 3:
            signal.raise_signal(signal.SIGINT)
        return step(module, *args)

    words = lift_words(tmp_path, "averaged", *EMA, "--trainer.val_check_interval=2")
    whole = run_here(lift_words(tmp_path, "whole", *EMA, "--trainer.val_check_interval=2"))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:
        patch.setattr(LiFT, step.__name__, interrupted)
        with pytest.raises(SystemExit) as ended:
            run_here(words)
    signal.signal(signal.SIGINT, before)
    assert ended.value.code == 130
    resumed = run_here([*words, "--resume"])
    assert differing(left_behind(resumed), left_behind(whole)) == []


def test_the_average_is_what_is_evaluated(averaged):
    content = torch.load(saved(averaged), weights_only=True)
    words = lift_words(averaged.parents[1], "validated", *EMA, f"--ckpt_path={saved(averaged)}")
    command = cli.main(["validate", *words[1:]])
    state = command.model.state_dict()
    assert all(state[key].equal(value) for key, value in content["state_dict"].items())


def test_the_average_of_equal_numbers_is_that_number():
    average = get_ema_avg_fn(0.999)
    numbers = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    assert not average(numbers, numbers, 1).equal(numbers), "rounding"
    assert exact_where_equal(average)(numbers, numbers, 1).equal(numbers)
    others = numbers + 1
    assert exact_where_equal(average)(numbers, others, 1).equal(average(numbers, others, 1))
