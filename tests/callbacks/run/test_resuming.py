import os
import random
from pathlib import Path

import pytest
import torch

from callbacks.run.checkpoint_files import read_checkpoint
from callbacks.run.checkpointing import SafeCheckpointIO
from callbacks.run.resuming import best_of, checkpoint_to_resume, named_checkpoint, sweep, tidy_up
from visionscapes.errors import UserError


def save(path: Path, step: int, best: str = "", ranked: tuple[str, ...] = (), age: int | None = None) -> Path:
    """Write a checkpoint as a run does; a larger age is older."""
    state = {
        "best_model_path": best and f"/elsewhere/{best}",
        "best_k_models": {f"/elsewhere/{k}": 1.0 for k in ranked},
    }
    content = {"state_dict": {"a": torch.randn(2000)}, "global_step": step, "loops": {}}
    SafeCheckpointIO().save_checkpoint(content | {"callbacks": {"Checkpointing{...}": state}}, path)
    time = 10**18 + 10**9 * step if age is None else 10**18 - age
    os.utime(path, ns=(time, time))
    return path


@pytest.fixture
def run(tmp_path):
    """A run that was killed after it had saved a ranked checkpoint of step 4, before last.ckpt followed."""
    folder = tmp_path / "method" / "run" / "checkpoints"
    save(folder / "last.ckpt", 2, best="epoch=0-step=2.ckpt")
    save(folder / "epoch=0-step=2.ckpt", 2, best="epoch=0-step=2.ckpt", age=5)
    save(folder / "epoch=1-step=4.ckpt", 4, best="epoch=1-step=4.ckpt")
    return folder.parent


def names(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def test_the_newest_becomes_the_last_and_takes_the_place_of_the_one_before(run):
    newest = checkpoint_to_resume(run)
    assert newest == run / "checkpoints" / "epoch=1-step=4.ckpt"
    assert tidy_up(run, newest) == run / "checkpoints" / "last.ckpt"
    assert names(run) == ["epoch=1-step=4.ckpt", "last.ckpt"]
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == newest.read_bytes()
    assert checkpoint_to_resume(run) == run / "checkpoints" / "last.ckpt"


def test_files_that_are_to_be_kept_are_kept(run):
    (run / "checkpoints" / "mine.ckpt").write_bytes(b"")
    os.utime(run / "checkpoints" / "mine.ckpt", ns=(1, 1))
    tidy_up(run, checkpoint_to_resume(run), keep=-1)
    assert names(run) == ["epoch=0-step=2.ckpt", "epoch=1-step=4.ckpt", "last.ckpt", "mine.ckpt"]


def test_a_ranking_keeps_what_is_ranked(run):
    folder = run / "checkpoints"
    two, three = ("epoch=0-step=2.ckpt", "epoch=0-step=3.ckpt"), ("epoch=0-step=3.ckpt", "epoch=1-step=4.ckpt")
    save(folder / "epoch=0-step=3.ckpt", 3, age=4)
    save(folder / "last.ckpt", 3, best=two[0], ranked=two)
    save(folder / "epoch=1-step=4.ckpt", 4, best=three[0], ranked=three)
    tidy_up(run, checkpoint_to_resume(run), keep=2)
    assert names(run) == [*three, "last.ckpt"]


def test_a_run_without_a_last_one_gets_none(run):
    newest = checkpoint_to_resume(run)
    before = (run / "checkpoints" / "last.ckpt").read_bytes()
    assert tidy_up(run, newest, last=False) == newest
    assert (run / "checkpoints" / "last.ckpt").read_bytes() == before


def test_unfinished_files_are_swept_and_no_others(run):
    mine = [".notes", "notes.partial", ".a.partial", "a.12.partial", ".a.12.partial.txt"]
    for name in [*mine, ".last.ckpt.123.partial", "rounds/1/.merge.npz.7.partial"]:
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("x")
    neighbour = run.with_name("other")
    neighbour.mkdir()
    (neighbour / ".b.1.partial").write_text("x")
    sweep(run)
    assert all((run / name).exists() for name in mine)
    assert not (run / ".last.ckpt.123.partial").exists()
    assert not list((run / "rounds" / "1").iterdir())
    assert (neighbour / ".b.1.partial").exists()


def test_a_run_without_checkpoints_has_none(tmp_path):
    assert checkpoint_to_resume(tmp_path) is None
    assert tidy_up(tmp_path, None) is None


def test_forty_flipped_bits_are_found_and_the_whole_one_is_named(run):
    folder, chance = run / "checkpoints", random.Random(0)
    path = save(folder / "last.ckpt", 5)
    whole, content = path.read_bytes(), read_checkpoint(path)
    content = {"state": content["state_dict"]["a"].clone(), "step": content["global_step"]}
    messages = []
    for _ in range(40):
        damaged = bytearray(whole)
        bit = chance.randrange(8 * len(whole))
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            read = read_checkpoint(path)
        except UserError as error:
            messages.append(str(error))
        else:  # alignment
            assert read["state_dict"]["a"].equal(content["state"])
            assert read["global_step"] == content["step"]
    assert len(messages) >= 35
    whole_one = f"the newest whole one of its run is {folder / 'epoch=1-step=4.ckpt'} (step 4): --resume=whole"
    assert [message for message in messages if whole_one not in message] == []


def test_a_damaged_one_is_passed_over_when_asked_to(run, capsys):
    last = save(run / "checkpoints" / "last.ckpt", 5)
    os.truncate(last, 500)
    with pytest.raises(UserError, match=r"last.ckpt is (incomplete or )?damaged.*step=4.ckpt.*--resume=whole"):
        checkpoint_to_resume(run)
    with pytest.raises(UserError, match=r"goes on from it, and what does not train takes it by this path$"):
        read_checkpoint(last)
    assert checkpoint_to_resume(run, whole=True) == run / "checkpoints" / "epoch=1-step=4.ckpt"
    assert "skipped" in capsys.readouterr().out
    for path in (run / "checkpoints").iterdir():
        os.truncate(path, 500)
    with pytest.raises(UserError, match=r"no checkpoint of .* is whole"):
        checkpoint_to_resume(run, whole=True)


def test_names_of_checkpoints(run):
    method = run.parent
    save(method / "older" / "checkpoints" / "last.ckpt", 1)
    assert named_checkpoint("last", method) == run / "checkpoints" / "last.ckpt"
    assert named_checkpoint("best", method) == run / "checkpoints" / "epoch=0-step=2.ckpt"
    assert named_checkpoint(str(run), method) == run / "checkpoints" / "epoch=1-step=4.ckpt"
    assert named_checkpoint(str(run / "checkpoints"), method) == run / "checkpoints" / "epoch=1-step=4.ckpt"
    assert named_checkpoint("a/file.ckpt", method) == Path("a/file.ckpt")


def test_names_of_nothing(run, tmp_path):
    with pytest.raises(UserError, match="no run with a checkpoint yet"):
        named_checkpoint("last", tmp_path / "other")
    with pytest.raises(UserError, match="no run with a checkpoint"):
        named_checkpoint(str(tmp_path), run.parent)
    (run / "checkpoints" / "epoch=0-step=2.ckpt").unlink()
    with pytest.raises(UserError, match=r"keeps no best checkpoint.*--ckpt_path last"):
        best_of(run)
