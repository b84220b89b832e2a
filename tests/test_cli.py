"""The command line end to end, in this process, with a module and data that take milliseconds."""

import os
import tempfile
from pathlib import Path

import pytest
import torch
import yaml

import cli
from tests.helpers.tiny_runs import TINY, after_the_first_epoch, manifest, rows, weights
from tests.helpers.wandb_files import configuration_in


def test_a_run_leaves_its_record(run, tmp_path):
    command = run("--name", "first", "--test_after_fit")
    folder = tmp_path / "tinymodule" / "first"
    assert command.run_folder == folder == Path(command.trainer.default_root_dir)
    assert {path.name for path in folder.iterdir()} == {
        "checkpoints",
        "cli_config.yaml",
        "manifest.json",
        "metrics.csv",
    }
    assert {path.name for path in (folder / "checkpoints").iterdir()} == {"last.ckpt", "epoch=1-step=8.ckpt"}
    record = manifest(folder)
    assert record["status"] == "finished"
    assert record["seed"] == 0
    assert record["world_size"] == 1
    assert record["command"][:2] == ["cli.py", "fit"]
    assert record["versions"]["torch"] == torch.__version__.split("+")[0]
    assert record["hardware"]["cores"] >= 1
    assert record["earlier"] == []
    assert record["resumed_from"] is None
    steps = [int(row["step"]) for row in rows(folder) if row["train/loss"]]
    assert steps == list(range(8))
    assert [row["test/loss"] for row in rows(folder)][-1], "--test_after_fit logs the test"


def test_a_training_of_no_step_leaves_the_network_as_it_began(run, tmp_path, capsys):
    """What asks for it may have been loaded, and is used like any other run."""
    command = run("--name", "none", "--trainer.max_steps=0", "--test_after_fit")
    folder = command.run_folder
    assert "note: nothing was trained, no step was asked for: the network is as it began" in capsys.readouterr().out
    assert [path.name for path in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert manifest(folder)["status"] == "finished"
    kept = weights(folder)
    assert all(torch.equal(value, kept[name]) for name, value in command.model.state_dict().items())
    whole = run("--name", "whole")
    again = run("--name", "none", "--resume")
    assert again.trainer.global_step == whole.trainer.global_step == 8
    for name, weight in weights(whole.run_folder).items():
        assert torch.equal(weight, weights(again.run_folder)[name]), "it goes on as if it had begun with these steps"
    assert "nothing was trained" not in capsys.readouterr().out


def test_saved_config_starts_a_new_run_of_the_same_method(run, tmp_path):
    config = tmp_path / "linear.yaml"
    config.write_text(yaml.safe_dump({"model": {"class_path": TINY[1], "init_args": {"lr": 0.03}}, "data": TINY[3]}))
    first = run("--config", str(config), "--name", "a", tiny=())
    saved = first.run_folder / "cli_config.yaml"
    assert first.run_folder == tmp_path / "linear" / "a"
    second = run("--config", str(saved), tiny=())
    assert second.run_folder.parent == first.run_folder.parent
    assert second.run_folder != first.run_folder
    assert second.model.hparams["lr"] == 0.03
    for name, weight in weights(first.run_folder).items():
        assert torch.equal(weight, weights(second.run_folder)[name])


def test_folders_are_never_shared(run, fails, tmp_path):
    first, second = run(), run()
    assert first.run_folder != second.run_folder
    taken = first.run_folder.name
    error = fails("--name", taken)
    assert taken in error
    assert "--resume" in error
    assert "--name" in error


def test_one_command_at_a_time(run, fails, tmp_path, monkeypatch):
    """The second one is refused while the first trains, and the first neither sees nor suffers it."""
    folder = tmp_path / "tinymodule" / "shared"
    errors = []

    def second(_: Path) -> None:
        monkeypatch.undo()
        errors.append(fails("--name", "shared", "--resume"))

    after_the_first_epoch(monkeypatch, second)
    run("--name", "shared")
    assert f"{folder} is in use by process {os.getpid()} on " in errors[0]
    assert manifest(folder)["status"] == "finished"
    assert manifest(folder)["earlier"] == []
    assert len(rows(folder)) == len(rows(run("--name", "alone").run_folder))
    run("--name", "shared", "--resume")


def test_fast_dev_run_leaves_nothing(run, tmp_path, monkeypatch):
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    run("--name", "taken")
    before = sorted(tmp_path.rglob("*"))
    for subcommand in ("fit", "test"):
        command = run("--name", "taken", "--trainer.fast_dev_run", "true", subcommand=subcommand)
        assert not command.run_folder.exists()
    run("--name", "new", "--trainer.fast_dev_run=2")
    assert sorted(tmp_path.rglob("*")) == before


def test_each_command_of_a_job_has_its_folder_and_a_requeued_one_goes_on(run, monkeypatch):
    """SLURM's variables are looked at by Lightning too: one task, as in a batch script without srun."""
    monkeypatch.setenv("SLURM_JOB_ID", "42")
    monkeypatch.setenv("SLURM_JOB_NAME", "visionscapes")
    first, second = run("--model.lr=0.1"), run("--model.lr=0.2")
    assert [first.run_folder.name, second.run_folder.name] == ["job-42", "job-42-2"]
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = run("--model.lr=0.2")
    assert again.run_folder == second.run_folder
    assert manifest(again.run_folder)["resumed_from"].endswith("last.ckpt")
    assert [each["status"] for each in manifest(again.run_folder)["earlier"]] == ["finished"]


def test_callbacks_of_a_configuration_are_added(run, tmp_path):
    config = tmp_path / "stopping.yaml"
    config.write_text(
        "trainer:\n  callbacks:\n  - class_path: pytorch_lightning.callbacks.EarlyStopping\n"
        "    init_args: {monitor: val/loss}\n"
    )
    names = {type(each).__name__ for each in run("--config", str(config)).trainer.callbacks}
    assert {"EarlyStopping", "Checkpointing", "RunRecord", "ReproducibleSteps", "FiniteLoss"} <= names


def test_wandb_is_added_to_the_csv_log(run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    command = run("--config", "configs/logging/wandb.yaml", "--model.lr=0.02", "--seed_everything=3")
    import wandb

    wandb.finish()
    assert [type(logger).__name__ for logger in command.trainer.loggers] == ["RunLog", "WandbLogger"]
    assert rows(command.run_folder)
    assert list(command.run_folder.glob("wandb/offline-run-*")), "W&B writes inside the run folder"
    identity = (command.run_folder / "wandb_run_id").read_text()
    (written,) = command.run_folder.glob(f"wandb/offline-run-*-{identity}/run-*.wandb")
    known, group = configuration_in(written)
    saved = yaml.safe_load((command.run_folder / "cli_config.yaml").read_text())
    assert {name: known[name] for name in saved} == saved, "all of it, as nested dictionaries"
    assert known["model"]["init_args"]["lr"] == 0.02
    assert known["seed_everything"] == 3
    assert group == command.run_folder.parent.name


def test_environment_is_left_alone(run):
    before = dict(os.environ)
    run()
    assert dict(os.environ) == before


def test_ranks_are_looked_at_before_lightning_is_imported(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "abc")
    monkeypatch.setattr(cli.quick_imports, "import_lightning", lambda: pytest.fail("imported"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["fit"])
    assert ended.value.code == 2
    assert "RANK of the environment is 'abc'" in capsys.readouterr().err


def test_impossible_hardware_is_one_line(fails):
    assert "the trainer needs the package torch_xla" in fails("--trainer.accelerator=tpu")
