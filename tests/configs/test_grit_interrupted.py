"""GRIT's training killed, interrupted and resumed, and in two processes: the same weights."""

import signal
import subprocess
import time

import pytest
import torch

from lightning_modules.grit.module import GRIT
from tests.helpers.runs import ROOT, run_apart, run_here, start
from tests.helpers.translation_runs import FACES, FEW_FACES, small, words


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


def training(runs, name, *more):
    """Return the words of a training of two epochs of four batches, with noise that is soon strong."""
    few = words(FEW_FACES | {"images": 16, "flip": "true"}, "data")
    more = [
        "--model.optimizer.lr=0.01",
        "--model.adversarial.penalty_every=3",
        "--trainer.max_epochs=2",
        "--test_after_fit=false",
        "--trainer.callbacks=[]",
        *more,
    ]
    return ["fit", *small(FACES, *few, *more), f"--runs_dir={runs}", f"--name={name}"]


def checkpoint(run):
    return torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)


def tensors(content, prefix=""):
    """Return all tensors of a nested structure by their places."""
    if isinstance(content, torch.Tensor):
        return {prefix: content}
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    return {name: each for key, value in items for name, each in tensors(value, f"{prefix}/{key}").items()}


def assert_same_training(ours, theirs):
    """Hold weights, moving averages, both optimisers and the log of two runs against each other, bit for bit."""
    assert (ours / "metrics.csv").read_bytes() == (theirs / "metrics.csv").read_bytes()
    ours, theirs = checkpoint(ours), checkpoint(theirs)
    for part in ("state_dict", "optimizer_states", "lr_schedulers"):
        found, expected = tensors(ours[part]), tensors(theirs[part])
        assert found.keys() == expected.keys()
        assert [name for name in expected if not found[name].equal(expected[name])] == [], part
    assert ours["lr_schedulers"] == theirs["lr_schedulers"]
    assert len(theirs["optimizer_states"]) == 2
    state = theirs["state_dict"]
    assert any(name.startswith("average.") for name in state)
    strengths = [float(value.abs().mean()) for name, value in state.items() if name.endswith("noise.weight")]
    assert max(strengths) > 0.01


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    runs = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        return run_here(training(runs, "whole"))


def stopped_before_step(number, monkeypatch, words):
    """Run a training that is interrupted where it is about to step for the (number + 1)-th time."""
    true = GRIT.step

    def interrupted(module):
        if module.trainer.global_step == 2 * number:
            raise KeyboardInterrupt
        true(module)

    with monkeypatch.context() as patch:
        patch.setattr(GRIT, "step", interrupted)
        with pytest.raises(SystemExit) as stopped:
            run_here(words)
    assert stopped.value.code == 130


@pytest.mark.parametrize("step", [2, 5])
def test_interrupted_in_an_epoch_and_resumed(uninterrupted, tmp_path, monkeypatch, step):
    stopped_before_step(step, monkeypatch, training(tmp_path, "stopped"))
    assert checkpoint(tmp_path / "grit" / "stopped")["global_step"] == 2 * step
    assert_same_training(run_here(training(tmp_path, "stopped", "--resume=true")), uninterrupted)


def test_interrupted_between_accumulated_batches_and_resumed(tmp_path, monkeypatch):
    words = training(tmp_path, "stopped", "--model.optimizer.accumulate=2")
    stopped_before_step(3, monkeypatch, words)
    whole = run_here(training(tmp_path, "whole", "--model.optimizer.accumulate=2"))
    assert_same_training(run_here([*words, "--resume=true"]), whole)


@pytest.mark.slow
def test_killed_in_an_epoch_and_resumed(uninterrupted, tmp_path):
    words = training(tmp_path, "killed", "--checkpoint.every_n_train_steps=1", "--data.num_workers=2")
    folder = tmp_path / "grit" / "killed"
    with start(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while not list(folder.glob("checkpoints/*step=10.ckpt")) and process.poll() is None:
            time.sleep(0.001)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    assert_same_training(run_here([*words, "--resume=true"]), uninterrupted)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["ddp", "ddp_find_unused_parameters_true"])
def test_two_processes_train_as_one_with_their_batches_together(tmp_path, strategy):
    """Without what depends on a process' own samples or random numbers."""
    exact = [
        "--model.generator.noise=false",
        "--model.discriminator.architecture=residual",
        "--model.discriminator.stddev_group=null",
    ]
    exact += ["--model.optimizer.lr=0.001", "--model.adversarial.penalty_every=2"]
    one = run_here(training(tmp_path, "one", *exact))
    shared = ["--trainer.devices=2", f"--trainer.strategy={strategy}", "--data.batch_size=2"]
    status, errors = run_apart(training(tmp_path, "two", *exact, *shared))
    assert status == 0, errors
    expected, found = (checkpoint(run)["state_dict"] for run in (one, tmp_path / "grit" / "two"))
    # An instance norm takes these away: they have no gradient but rounding, of which Adam makes full steps.
    idle = [name for name in expected if "content_encoder.blocks" in name and name.endswith("first.bias")]
    for name in expected.keys() - set(idle):
        # Adam divides by tiny gradients, too.
        torch.testing.assert_close(found[name], expected[name], atol=2e-4, rtol=0, msg=lambda text, name=name: name)
    begun = weights_at_the_start(tmp_path, *exact)
    assert max(float((expected[name] - begun[name]).abs().max()) for name in begun) > 3e-3


def weights_at_the_start(runs, *more):
    """Return the weights of a training that has almost no learning rate."""
    return checkpoint(run_here(training(runs, "start", *more, "--model.optimizer.lr=1e-12", "--trainer.max_epochs=1")))[
        "state_dict"
    ]
