from dataclasses import replace
from pathlib import Path

import pytest

from experiments.records import run_id
from experiments.runs import launch
from visionscapes.errors import UserError


def test_run_is_done_once_and_recorded(world):
    record = world.runner().ensure(world.runs["default"], seed=1)
    (call,) = world.calls
    assert call[:4] == ["fit", "--config", "configs/m.yaml", "--seed_everything=1"]
    assert "--resume=true" in call
    assert world.runner().ensure(world.runs["default"], seed=1) == record
    assert world.runner().ensure(world.runs["default again"], seed=1) == record
    assert len(world.calls) == 1
    world.runner().ensure(world.runs["default"], seed=2)
    world.runner().ensure(world.runs["variant"], seed=1)
    assert len(world.calls) == 3


def test_failed_run_leaves_no_record_and_is_gone_on_with(world):
    world.failing = {"--model.distance=l1"}
    world.runner().ensure(world.runs["default"], seed=0)
    with pytest.raises(UserError, match="ended with status 1"):
        world.runner().ensure(world.runs["variant"], seed=0)
    assert world.records.seeds(world.runs["variant"], "embedded") == set()
    assert world.records.seeds(world.runs["default"], "embedded") == {0}
    world.failing = set()
    world.runner().ensure(world.runs["variant"], seed=0)
    first, second = (call for call in world.calls if "--model.distance=l1" in call)
    assert first == second  # the same folder, with --resume
    assert world.records.seeds(world.runs["variant"], "embedded") == {0}


def test_failed_run_is_tried_once_for_all_tables(world):
    world.failing, runner = {"fit"}, world.runner()
    for name in ("default", "default again", "elsewhere"):
        with pytest.raises(UserError, match="ended with status 1"):
            runner.ensure(world.runs[name], seed=0)
    assert len(world.calls) == 1


def test_launcher_returns_the_exit_status_of_the_command_line(capfd):
    assert launch(["--version"]) == 0
    assert launch(["fitt"]) == 2
    assert "fit" in capfd.readouterr().err


@pytest.mark.parametrize("status", [130, 143, -15])
def test_interrupted_run_stops_everything(world, status):
    world.failing, world.status = {"fit"}, status
    with pytest.raises(KeyboardInterrupt):
        world.runner().ensure(world.runs["default"], seed=0)


def test_run_without_a_folder_is_an_error(world):
    runner = world.runner()
    runner.launcher = lambda arguments: 0
    with pytest.raises(UserError, match="left no folder"):
        runner.ensure(world.runs["default"], seed=0)


def test_run_starts_from_the_checkpoint_of_another_with_the_same_seed(world):
    record = world.runner().ensure(world.runs["elsewhere"], seed=3)
    fit, test = world.calls
    assert "--seed_everything=3" in fit
    (checkpoint,) = (word.split("=", 1)[1] for word in test if word.startswith("--ckpt_path="))
    assert checkpoint.endswith("checkpoints/last.ckpt")
    assert "--resume=true" not in test  # names a checkpoint too
    assert f"--ckpt_path={run_id(world.runs['default'], 'embedded', 3)}" in record.command
    assert world.records.seeds(world.runs["default"], "embedded") == {3}
    assert "configs/m.yaml" in record.inputs


def test_checkpoint_that_lies_on_another_machine_is_made_again(world):
    world.runner().ensure(world.runs["default"], seed=0)
    next(world.root.glob("runs/experiments/m/*/checkpoints/last.ckpt")).unlink()
    world.runner().ensure(world.runs["default"], seed=0)
    assert len(world.calls) == 1
    world.runner().ensure(world.runs["elsewhere"], seed=0)
    assert [call[0] for call in world.calls] == ["fit", "fit", "test"]


def test_run_takes_a_file_that_another_has_left(world):
    record = world.runner().ensure(world.runs["on made"], seed=2)
    assert [call[0] for call in world.calls] == ["fit", "predict", "fit"]
    (path,) = (word.split("=", 1)[1] for word in world.calls[-1] if word.startswith("--data.root="))
    assert Path(path).is_file()
    assert path.endswith("made/set.json")
    assert f"--data.root={run_id(world.runs['made'], 'embedded', 2)}/made/set.json" in record.command
    assert run_id(world.runs["on made"], "embedded", 2) != run_id(world.runs["default"], "embedded", 2)
    assert "configs/other.yaml" in record.inputs
    world.runner().ensure(world.runs["on made"], seed=2)
    assert len(world.calls) == 3


def test_run_says_itself_which_arguments_take_the_seed(world):
    deep = world.runs["deep"]
    world.runner().ensure(deep, seed=2)
    assert [word for word in world.calls[-1] if word.endswith("=2")] == ["--seed_everything=2", "--data.real.seed=2"]
    assert run_id(deep, "embedded", 2) != run_id(replace(deep, seeded=()), "embedded", 2)
    assert run_id(replace(deep, seeded=()), "embedded", 2) == run_id(world.runs["default"], "embedded", 2)


def test_file_that_lies_on_another_machine_is_made_again(world, capsys):
    world.runner().ensure(world.runs["made"], seed=0)
    next(world.root.glob("runs/experiments/m/*/made/set.json")).unlink()
    world.runner().ensure(world.runs["on made"], seed=0)
    assert [call[0] for call in world.calls] == ["fit", "predict", "predict", "fit"]
    assert "made/set.json is not on this machine; running it again" in capsys.readouterr().out


def test_attempt_at_a_test_is_put_aside(world):
    world.failing = {"test"}
    with pytest.raises(UserError):
        world.runner().ensure(world.runs["elsewhere"], seed=0)
    world.failing = set()
    world.runner().ensure(world.runs["elsewhere"], seed=0)
    assert len(list(world.root.glob("runs/experiments/m/*.until-*"))) == 1


def test_force_repeats_every_run_once_and_keeps_the_old_folder(world):
    world.runner().ensure(world.runs["elsewhere"], seed=0)
    runner = world.runner(force=True)
    runner.ensure(world.runs["default"], seed=0)
    runner.ensure(world.runs["elsewhere"], seed=0)
    runner.ensure(world.runs["elsewhere"], seed=0)
    assert [call[0] for call in world.calls] == ["fit", "test", "fit", "test"]
    assert len(list(world.root.glob("runs/experiments/m/*.until-*"))) == 2
