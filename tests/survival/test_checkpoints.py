"""What a run goes on from: its own checkpoints, those of others, and files that are none."""

from pathlib import Path

import pytest
import torch

from tests.helpers.bomb import Bomb
from tests.helpers.tiny_runs import TINY, manifest, rows, weights


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


@pytest.mark.parametrize("words", [["--resume"], ["--resume=whole"]], ids=" ".join)
@pytest.mark.parametrize(
    ("name", "put", "said"),
    [
        ("metrics.csv", Path.mkdir, "is a folder, and the run keeps a file there: move it away"),
        ("metrics.csv", lambda path: path.write_text("a,b\n1,2\n"), "is no log of a run"),
        ("metrics.csv", lambda path: path.symlink_to("/gone/there.csv"), "is a link to /gone/there.csv, which is not"),
        ("manifest.json", Path.mkdir, "is a folder, and the run keeps a file there: move it away"),
        ("cli_config.yaml", Path.mkdir, "is a folder, and the run keeps a file there: move it away"),
    ],
)
def test_what_is_in_the_place_of_a_file_of_the_run_is_told(run, fails, words, name, put, said):
    folder = run("--name", "taken").run_folder
    (folder / name).unlink()
    put(folder / name)
    error = fails("--name", "taken", *words, epochs=3)
    assert f"{folder / name} {said}" in error
    assert error.rstrip().endswith("go on with --resume --name taken")
    assert "whole" not in error, "which would not help"
    (folder / name).rename(folder / "moved away")
    assert run("--name", "taken", "--resume", epochs=3).trainer.global_step == 12


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


def test_a_failed_restore_does_not_touch_the_checkpoint(run, tmp_path, monkeypatch):
    last = run("--name", "whole").run_folder / "checkpoints" / "last.ckpt"
    before = last.read_bytes()

    def refuse(*_: object) -> None:
        raise RuntimeError("half of the state is there")

    monkeypatch.setattr(torch.optim.Optimizer, "load_state_dict", refuse)
    with pytest.raises(RuntimeError, match="half of the state"):
        run("--name", "whole", "--resume", epochs=4)
    assert last.read_bytes() == before


def test_checkpoint_interval(run):
    command = run("--checkpoint.every_n_train_steps=3", "--checkpoint.save_top_k=-1")
    names = sorted(path.name for path in (command.run_folder / "checkpoints").iterdir())
    assert names == ["epoch=0-step=3.ckpt", "epoch=1-step=6.ckpt", "last.ckpt"]
