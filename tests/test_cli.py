"""The command line end to end, in this process, with a module and data that take milliseconds."""

import builtins
import csv
import errno
import functools
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import torch
import yaml

import cli
from command_line import termination
from tests.helpers.bomb import Bomb
from tests.helpers.tiny import TinyData, TinyModule

ROOT = Path(__file__).parent.parent
TINY = [
    "--model",
    "tests.helpers.tiny.TinyModule",
    "--data",
    "tests.helpers.tiny.TinyData",
    "--trainer.accelerator=cpu",
]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Return a function that runs a command on the tiny module, with its runs in a temporary folder."""
    monkeypatch.chdir(ROOT)
    for name in [name for name in os.environ if name.startswith(("SLURM_", "WANDB_", "TORCHELASTIC"))]:
        monkeypatch.delenv(name)

    def command(*args: str, subcommand: str = "fit", tiny: tuple[str, ...] = tuple(TINY), epochs: int = 2):
        common = [f"--runs_dir={tmp_path}", f"--trainer.max_epochs={epochs}", "--trainer.enable_model_summary=false"]
        return cli.main([subcommand, *tiny, *common, "--trainer.log_every_n_steps=1", *args])

    return command


@pytest.fixture
def fails(run, capsys):
    """Return a function that runs a command which has to fail, and gives its one line on stderr."""

    def command(*args: str, status: int = 2, **kwargs) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as caught:
            run(*args, **kwargs)
        assert caught.value.code == status
        lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
        assert len(lines) == (1 if status == 2 else 0)
        return lines[0] if lines else ""

    return command


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def manifest(folder: Path) -> dict:
    return json.loads((folder / "manifest.json").read_text())


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


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


def test_resume_equals_the_uninterrupted_run(run):
    run("--name", "whole", epochs=4)
    run("--name", "parts", epochs=2)
    command = run("--name", "parts", "--resume", epochs=4)
    whole, parts = command.run_folder.with_name("whole"), command.run_folder
    for name, weight in weights(whole).items():
        assert torch.equal(weight, weights(parts)[name])
    assert [row["train/loss"] for row in rows(parts)] == [row["train/loss"] for row in rows(whole)]
    record = manifest(parts)
    assert [session["status"] for session in record["earlier"]] == ["finished"]
    assert record["resumed_from"].endswith("last.ckpt")


@pytest.mark.parametrize("words", [("--name=whole", "--resume"), ("--name=new", "--ckpt_path=last")])
def test_a_run_that_has_come_to_its_end_says_so(run, capsys, words):
    run("--name", "whole")
    assert "nothing was trained" not in capsys.readouterr().out
    run(*words)
    assert "note: nothing was trained" in (out := capsys.readouterr().out)
    assert "raise --trainer.max_epochs" in out
    run(*words, "--resume", epochs=3)
    assert "nothing was trained" not in capsys.readouterr().out


def test_resume_begins_a_run_that_has_no_checkpoint(run):
    assert run("--name", "new", "--resume").trainer.global_step == 8


def test_resume_needs_a_name(fails):
    assert "--name" in fails("--resume")


@pytest.mark.parametrize("words", [["--resume=whole"], ["--resume", "whole"]], ids=" ".join)
def test_resume_passes_over_a_damaged_checkpoint_when_asked_to(run, fails, capsys, words):
    folder = run("--name", "torn").run_folder
    last = folder / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:500])
    error = fails("--name", "torn", "--resume", epochs=3)
    assert "last.ckpt is incomplete or damaged" in error
    assert f"{folder / 'checkpoints' / 'epoch=1-step=8.ckpt'} (step 8): --resume=whole" in error
    assert run("--name", "torn", *words, epochs=3).trainer.global_step == 12
    assert "last.ckpt is incomplete or damaged" in capsys.readouterr().out


def test_a_flipped_bit_is_told(run, fails):
    last = run("--name", "flipped").run_folder / "checkpoints" / "last.ckpt"
    content = bytearray(last.read_bytes())
    content[content.index(b"global_step") + 3] ^= 4  # of a name that Lightning would not miss before it fails
    last.write_bytes(content)
    for words in (["--name", "flipped", "--resume"], ["--ckpt_path", str(last)]):
        error = fails(*words, epochs=3)
        assert "is damaged (the checksum of" in error
        assert "--resume=whole" in error


def test_what_a_killed_session_left_is_swept(run):
    folder = run("--name", "killed").run_folder
    (folder / "checkpoints" / "last.ckpt").unlink()  # killed when its epoch's file was whole and this one was not
    (folder / "checkpoints" / ".last.ckpt.123.partial").write_bytes(b"half")
    (folder / "checkpoints" / "mine.partial").write_bytes(b"kept")
    run("--name", "killed", "--resume", epochs=3)
    names = {path.name for path in (folder / "checkpoints").iterdir()}
    assert names == {"last.ckpt", "epoch=2-step=12.ckpt", "mine.partial"}


def test_a_run_that_begins_again_begins_its_log_again(run):
    folder = run("--name", "new", epochs=1).run_folder
    for path in (folder / "checkpoints").iterdir():
        path.unlink()
    run("--name", "new", "--resume", epochs=1)
    assert [int(row["step"]) for row in rows(folder) if row["train/loss"]] == [0, 1, 2, 3]


def test_a_moved_run_keeps_as_many_checkpoints_as_are_wanted(run):
    folder = run("--name", "before").run_folder
    folder.rename(folder.with_name("after"))
    command = run("--name", "after", "--resume", epochs=3)
    names = {path.name for path in (command.run_folder / "checkpoints").iterdir()}
    assert names == {"last.ckpt", "epoch=2-step=12.ckpt"}


def test_a_run_starts_from_another_one_and_goes_on_with_its_own(run, capsys):
    """As a job of SLURM does: the same words, whether it is requeued or not."""
    start = run("--name", "pretrained").run_folder / "checkpoints" / "last.ckpt"
    words = ("--name", "tuned", "--resume", "--ckpt_path", str(start))
    assert run(*words, epochs=3).trainer.global_step == 12
    assert manifest(start.parents[2] / "tuned")["resumed_from"] == str(start)
    command = run(*words, epochs=4)
    assert command.trainer.global_step == 16
    own = command.run_folder / "checkpoints" / "last.ckpt"
    assert manifest(command.run_folder)["resumed_from"] == str(own)
    assert f"resuming {command.run_folder} from {own} (step 12)" in capsys.readouterr().out
    assert len([row for row in rows(command.run_folder) if row["train/loss"]]) == 8, "its own log begins at step 8"


@pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
@pytest.mark.parametrize("name", ["last", "best", "folder"])
def test_checkpoints_by_name(run, tmp_path, subcommand, name):
    monitored = ("--checkpoint.monitor=val/loss", "--checkpoint.mode=max")  # a loss that falls: the first epoch's
    folder = run("--name", "trained", *monitored).run_folder
    given = str(folder) if name == "folder" else name
    command = run("--ckpt_path", given, subcommand=subcommand, epochs=3)
    expected = "epoch=0-step=4.ckpt" if name == "best" else "last.ckpt"
    assert command.checkpoint == folder / "checkpoints" / expected
    assert command.trainer.global_step == (12 if subcommand == "fit" else 0)


def test_checkpoints_of_a_method_that_has_none(fails):
    assert "has no run with a checkpoint yet" in fails("--ckpt_path", "last", "--name", "x")


def test_configuration_beats_checkpoint(run, capsys):
    """Lightning takes the checkpoint's learning rate over the command line's: as argument, and in the optimiser."""
    checkpoint = run("--model.lr=0.5").run_folder / "checkpoints" / "last.ckpt"
    changed = run("--model.lr=0.123", "--ckpt_path", str(checkpoint), epochs=3)
    assert changed.model.hparams["lr"] == 0.123
    assert changed.trainer.optimizers[0].param_groups[0]["lr"] == 0.123
    assert changed.trainer.global_step == 12
    reports = [line for line in capsys.readouterr().out.splitlines() if "lr 0.5 there, 0.123 here" in line]
    assert len(reports) == 1
    same = run("--model.lr=0.5", "--ckpt_path", str(checkpoint), epochs=3)
    assert same.trainer.optimizers[0].param_groups[0]["lr"] == 0.5
    assert "there" not in capsys.readouterr().out


def test_checkpoint_gives_its_weights_to_test(run):
    folder = run("--name", "trained").run_folder
    command = run("--ckpt_path", str(folder / "checkpoints" / "last.ckpt"), subcommand="test")
    for name, weight in weights(folder).items():
        assert torch.equal(weight, command.model.state_dict()[name])
    assert command.run_folder.name.endswith("-test")


def test_checkpoints_hold_plain_values_only(run):
    path = run().run_folder / "checkpoints" / "last.ckpt"
    assert torch.load(path, weights_only=True)["hyper_parameters"]["lr"] == 0.1


def damaged(kind: str, folder: Path) -> Path:
    path, good = folder / f"{kind}.ckpt", folder / "good.ckpt"
    torch.save({"state_dict": {"a": torch.zeros(1000)}}, good)
    if kind == "truncated":
        path.write_bytes(good.read_bytes()[:900])
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("not a checkpoint")
    elif kind == "bomb":
        torch.save({"state_dict": Bomb("exploded"), "global_step": 0, "loops": {}}, path)
    elif kind == "weights":
        good.rename(path)
    return path


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("missing", ("does not exist", "good.ckpt")),
        ("truncated", ("incomplete or damaged", "good.ckpt")),
        ("empty", ("incomplete or damaged",)),
        ("text", ("damaged",)),
        ("bomb", ("refused", "can run any code")),
        ("weights", ("no checkpoint of cli.py", "weights")),
    ],
)
def test_unusable_checkpoints(fails, tmp_path, kind, words):
    path = damaged(kind, tmp_path)
    error = fails("--ckpt_path", str(path), "--name", "never")
    assert all(word in error for word in (path.name, *words)), error
    assert not (tmp_path / "tinymodule" / "never").exists(), "a run that did not begin leaves no folder"
    assert not Path("exploded").exists()


def test_checkpoint_of_another_method(run, fails):
    path = run().run_folder / "checkpoints" / "last.ckpt"
    other = ("--model", "tests.helpers.tiny.OtherModule", *TINY[2:])
    error = fails("--ckpt_path", str(path), tiny=other)
    assert "does not fit OtherModule" in error
    assert "TinyModule there" in error
    error = fails("--ckpt_path", str(path), "--model.width=3")
    assert "size mismatch" in error
    assert "width 2 there, 3 here" in error


def test_nan_loss_keeps_the_last_good_checkpoint(run, fails, tmp_path):
    before = weights(run("--name", "good", epochs=1).run_folder)
    error = fails("--name", "bad", "--model.bad_step=5")
    assert "not finite at training batch 5" in error
    assert "--model.lr" in error
    after = weights(tmp_path / "tinymodule" / "bad")
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert manifest(tmp_path / "tinymodule" / "bad")["status"].startswith("failed: the loss is not finite")


def test_determinism_that_cannot_be_had_names_the_operator(fails, monkeypatch):
    def step(self, batch, batch_idx):  # what torch says of a GPU's operators
        raise RuntimeError(
            "reflection_pad2d_backward_cuda does not have a deterministic implementation, but you set "
            "'torch.use_deterministic_algorithms(True)'."
        )

    monkeypatch.setattr(TinyModule, "training_step", step)
    error = fails("--name", "bad", "--trainer.deterministic=true")
    torch.use_deterministic_algorithms(False)
    assert "reflection_pad2d_backward_cuda has no deterministic implementation" in error
    assert "--trainer.deterministic=warn" in error


def test_full_disk_keeps_the_last_good_checkpoint(fails, tmp_path, monkeypatch):
    saved = torch.save
    calls = []

    def full_at_the_third(checkpoint, file):
        calls.append(file)
        saved(checkpoint, file)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full_at_the_third)
    error = fails("--name", "full", epochs=3)
    folder = tmp_path / "tinymodule" / "full" / "checkpoints"
    assert "No space left on device" in error
    assert "--resume --name full" in error
    assert sorted(path.name for path in folder.iterdir()) == ["epoch=0-step=4.ckpt", "last.ckpt"]
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 4


def after_the_first_epoch(monkeypatch, spoil) -> None:
    """Call ``spoil`` with the run folder when one epoch is saved."""
    original = TinyModule.on_train_epoch_start

    def hook(self):
        original(self)
        if self.current_epoch == 1:
            spoil(Path(self.trainer.default_root_dir))

    monkeypatch.setattr(TinyModule, "on_train_epoch_start", hook)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("what", ["metrics.csv", "checkpoints"])
def test_a_file_system_that_refuses_is_one_line(fails, tmp_path, monkeypatch, what, number):
    opened = io.open

    def refuse(path, *args, **kwargs):
        mode = args[0] if args else kwargs.get("mode", "r")
        if what in str(path) and mode[0] in "wa":
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, *args, **kwargs)

    def spoil(_: Path) -> None:
        for module in (io, builtins):
            monkeypatch.setattr(module, "open", refuse)

    after_the_first_epoch(monkeypatch, spoil)
    error = fails("--name", "refused")
    folder = tmp_path / "tinymodule" / "refused"
    assert os.strerror(number) in error
    assert str(folder / what) in error
    assert ".partial" not in error
    assert ("free some space" if number == errno.ENOSPC else "make the folder writable") in error
    assert error.endswith("go on with --resume --name refused")
    assert (
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 4 or what != "checkpoints"
    )
    assert manifest(folder)["status"].startswith("failed: ")


@pytest.mark.parametrize("logged", ["1", "1000"])
def test_a_deleted_folder_is_one_line_and_is_not_made_anew(fails, tmp_path, monkeypatch, logged):
    after_the_first_epoch(monkeypatch, shutil.rmtree)
    error = fails("--name", "deleted", f"--trainer.log_every_n_steps={logged}")
    folder = tmp_path / "tinymodule" / "deleted"
    assert f"{folder} was deleted while the run wrote" in error or "the folder of the run was deleted" in error
    assert not folder.exists()


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


def test_a_failed_restore_does_not_touch_the_checkpoint(run, tmp_path, monkeypatch):
    last = run("--name", "whole").run_folder / "checkpoints" / "last.ckpt"
    before = last.read_bytes()

    def refuse(*_: object) -> None:
        raise RuntimeError("half of the state is there")

    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", refuse)
    with pytest.raises(RuntimeError, match="half of the state"):
        run("--name", "whole", "--resume", epochs=4)
    assert last.read_bytes() == before


@pytest.mark.parametrize("place", ["__init__", "prepare_data", "setup"])
def test_sigterm_at_start_up(fails, tmp_path, monkeypatch, place):
    """While the data module is built, which ends the process, and while data are prepared and read."""

    def leave(status: int) -> None:
        raise termination.Terminated(status)

    monkeypatch.setattr(termination.os, "_exit", leave)
    original = getattr(TinyData, place)

    def end(*args, **kwargs):
        signal.raise_signal(signal.SIGTERM)
        return original(*args, **kwargs)

    # The parser reads the signature of a constructor; Lightning takes a wrapped hook for its own.
    monkeypatch.setattr(TinyData, place, functools.wraps(original)(end) if place == "__init__" else end)
    fails("--name", "ended", status=143)
    folder = tmp_path / "tinymodule" / "ended"
    assert manifest(folder)["status"] == "interrupted"
    assert not (folder / "checkpoints").exists()
    monkeypatch.undo()
    monkeypatch.chdir(ROOT)
    assert main_of(tmp_path, "--name", "ended", "--resume").trainer.global_step == 8


def main_of(runs_dir: Path, *args: str):
    return cli.main(["fit", *TINY, f"--runs_dir={runs_dir}", "--trainer.max_epochs=2", *args])


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


def test_user_error_has_no_traceback(fails):
    assert fails("--data.root=missing").startswith("error: no data set in 'missing'")


def test_bug_keeps_its_traceback(run, monkeypatch):
    monkeypatch.setattr(TinyModule, "training_step", lambda self, batch, batch_idx: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run()


def test_sigterm_saves_and_exits_143(fails, run, tmp_path):
    fails("--name", "ended", "--model.term_step=5", status=143)
    folder = tmp_path / "tinymodule" / "ended"
    assert torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 6
    assert manifest(folder)["status"] == "interrupted"


def test_ctrl_c_exits_130(fails, tmp_path, monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(
        TinyModule, "validation_step", lambda self, batch, batch_idx: signal.raise_signal(signal.SIGINT)
    )
    fails("--name", "stopped", "--trainer.num_sanity_val_steps=0", status=130)
    assert signal.getsignal(signal.SIGINT) == handler
    assert (tmp_path / "tinymodule" / "stopped" / "checkpoints" / "last.ckpt").exists()
    assert manifest(tmp_path / "tinymodule" / "stopped")["status"] == "interrupted"


def test_callbacks_of_a_configuration_are_added(run, tmp_path):
    config = tmp_path / "stopping.yaml"
    config.write_text(
        "trainer:\n  callbacks:\n  - class_path: pytorch_lightning.callbacks.EarlyStopping\n"
        "    init_args: {monitor: val/loss}\n"
    )
    names = {type(each).__name__ for each in run("--config", str(config)).trainer.callbacks}
    assert {"EarlyStopping", "Checkpointing", "RunRecord", "ReproducibleSteps", "FiniteLoss"} <= names


def test_checkpoint_interval(run):
    command = run("--checkpoint.every_n_train_steps=3", "--checkpoint.save_top_k=-1")
    names = sorted(path.name for path in (command.run_folder / "checkpoints").iterdir())
    assert names == ["epoch=0-step=3.ckpt", "epoch=1-step=6.ckpt", "last.ckpt"]


def test_wandb_is_added_to_the_csv_log(run, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    command = run("--config", "configs/logging/wandb.yaml")
    import wandb

    wandb.finish()
    assert [type(logger).__name__ for logger in command.trainer.loggers] == ["RunLog", "WandbLogger"]
    assert rows(command.run_folder)
    assert list(command.run_folder.glob("wandb/offline-run-*")), "W&B writes inside the run folder"
    identity = (command.run_folder / "wandb_run_id").read_text()
    assert list(command.run_folder.glob(f"wandb/offline-run-*-{identity}"))


def test_environment_is_left_alone(run):
    before = dict(os.environ)
    run()
    assert dict(os.environ) == before


def test_the_handler_of_ctrl_c_is_left_alone_by_a_fit_that_cannot_begin(fails):
    before = signal.getsignal(signal.SIGINT)
    fails("--trainer.val_check_interval=1000000")
    assert signal.getsignal(signal.SIGINT) == before


def test_ranks_are_looked_at_before_lightning_is_imported(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "abc")
    monkeypatch.setattr(cli.quick_imports, "import_lightning", lambda: pytest.fail("imported"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["fit"])
    assert ended.value.code == 2
    assert "RANK of the environment is 'abc'" in capsys.readouterr().err


def test_impossible_hardware_is_one_line(fails):
    assert "the trainer needs the package torch_xla" in fails("--trainer.accelerator=tpu")


def start(tmp_path: Path, *args: str) -> subprocess.Popen:
    command = [sys.executable, "cli.py", "fit", *TINY, f"--runs_dir={tmp_path}", "--name=child", *args]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, cwd=ROOT, env=environment, text=True, stderr=subprocess.PIPE)


def wait_for(path: Path, seconds: float = 120) -> None:
    until = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < until:
        time.sleep(0.05)
    assert path.exists()


@pytest.mark.slow
@pytest.mark.parametrize("devices", [1, 2])
def test_sigterm_from_outside(tmp_path, devices):
    process = start(tmp_path, "--model.pause=0.05", "--trainer.max_epochs=200", f"--trainer.devices={devices}")
    last = tmp_path / "tinymodule" / "child" / "checkpoints" / "last.ckpt"
    wait_for(last)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert json.loads((last.parent.parent / "manifest.json").read_text())["status"] == "interrupted"
    assert json.loads((last.parent.parent / "manifest.json").read_text())["world_size"] == devices


@pytest.mark.slow
def test_ranks_share_one_folder_and_one_error(tmp_path):
    process = start(tmp_path, "--trainer.devices=2", "--trainer.max_epochs=2", "--model.bad_step=2")
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 2
    assert "error: the loss is not finite" in stderr
    assert [path.name for path in (tmp_path / "tinymodule").iterdir()] == ["child"]
