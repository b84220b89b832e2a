"""Checkpoints, weights, and what goes wrong while a run saves."""

import errno
import io
import os
import pickle
import resource
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from callbacks.run.run_log import RunLogWriter
from tests.helpers.bomb import Bomb
from tests.helpers.image_files import save_photos, truncate
from tests.helpers.survival import content, fit, run, step

# Checkpoints


def stored(content):
    """Return the bytes that torch stores."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


DAMAGED = {
    "truncated": (lambda path: path.read_bytes()[:-500], "incomplete or damaged"),
    "zero-byte": (lambda path: b"", "incomplete or damaged"),
    "text": (lambda path: b"<html>404</html>", "damaged or no checkpoint"),
    "pickle bomb": (lambda path: pickle.dumps(Bomb("exploded")), "holds Python objects"),
    "pickle bomb inside": (lambda path: stored(content(path) | {"extra": Bomb("exploded")}), "holds Python objects"),
    "plain weights": (lambda path: stored(content(path)["state_dict"]), "no checkpoint of cli.py"),
    "other backbone": (lambda path: stored(content(path) | {"backbone": {}}), "another backbone"),
    "other weights": (lambda path: stored(content(path) | {"state_dict": {}}), "does not fit LiFT"),
    "tensor": (lambda path: stored(torch.zeros(3)), "no checkpoint of cli.py"),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_unusable_checkpoint(checkpoint, refused, kind):
    make, message = DAMAGED[kind]
    Path("bad.ckpt").write_bytes(make(checkpoint))
    refused(fit("--ckpt_path=bad.ckpt", name="second"), "bad.ckpt|checkpoint", message)
    assert not Path("exploded").exists()


@pytest.mark.parametrize("kind", ["truncated", "zero-byte", "other shapes"])
def test_unusable_weights(place, refused, kind):
    save_file({"up1.up.weight": torch.zeros(1, 2, 3)}, "bad.safetensors")
    if kind == "truncated":
        truncate(Path("bad.safetensors"))
    elif kind == "zero-byte":
        Path("bad.safetensors").write_bytes(b"")
    refused(
        fit("--model.weights=bad.safetensors"), "bad.safetensors|LiFT", "cut short" if kind != "other shapes" else ""
    )


def test_checkpoint_of_another_method(refused):
    tiny = ["--model=tests.helpers.tiny.TinyModule", "--data=tests.helpers.tiny.TinyData", "--trainer.max_steps=1"]
    assert run("fit", *tiny, "--trainer.accelerator=cpu", "--name=x") == 0
    refused(fit("--ckpt_path=runs/tinymodule/x/checkpoints/last.ckpt"), "of another method", "a LiFT run")


def test_checkpoint_of_another_architecture(checkpoint, refused):
    more = ["--model.backbone.init_args.model_args.embed_dim=32", "--ckpt_path", checkpoint]
    refused(fit(*more, name="second"), "checkpoint", "another backbone")


def test_resuming_passes_over_a_truncated_checkpoint_when_asked_to(checkpoint, capsys):
    others = [path for path in checkpoint.parent.glob("*.ckpt") if path != checkpoint]
    truncate(checkpoint)
    assert run(*fit("--resume=true", "--trainer.max_steps=4")) == 2
    assert "--resume=whole" in capsys.readouterr().err
    assert run(*fit("--resume=whole", "--trainer.max_steps=4")) == 0
    output = capsys.readouterr()
    assert "last.ckpt is incomplete or damaged" in output.out + output.err
    assert others
    assert step(checkpoint) == 4


def test_the_name_of_a_finished_run_is_not_taken_again(checkpoint, refused):
    refused(fit(), "exists already", "--resume", "--name")


# While it runs


def test_a_loss_that_is_not_finite(checkpoint, refused):
    more = ("--resume=true", "--model.lr=1e30", "--model.distance=l2", "--trainer.max_steps=9")
    refused(fit(*more), "loss is not finite at training batch", r"--model\.lr", after_steps=True)
    assert step(checkpoint) >= 2
    assert all(value.isfinite().all() for value in content(checkpoint)["state_dict"].values())


def no_space(content, file, *_, **__):
    file.write(b"the first bytes still fit")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize("way", ["no space", "size limit"])
def test_a_full_disk_while_saving(checkpoint, refused, way):
    more = fit("--resume=true", "--trainer.max_steps=6")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with pytest.MonkeyPatch.context() as patch:
        if way == "no space":
            patch.setattr(torch, "save", no_space)
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (checkpoint.stat().st_size // 2, limits[1]))
        try:
            refused(more, "could not be written .(No space left|File too large)", "untouched", "--resume --name first")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list(checkpoint.parent.glob(".*partial"))
    assert run(*more) == 0  # the remedy that the message names
    assert step(checkpoint) == 6


def test_a_full_disk_while_logging(refused, monkeypatch):
    def fail(writer):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(RunLogWriter, "save", fail)
    refused(fit(), "the disk is full", "--resume")


def test_images_that_spoil_between_two_runs_lose_nothing(checkpoint, refused):
    for path in Path("photos").glob("**/*.png"):
        path.write_bytes(b"")
    more = fit("--resume=true", "--trainer.max_steps=9")
    refused(more, "the file is empty", "skip_unreadable=true", after_steps=True)
    assert step(checkpoint) == 2
    save_photos(Path("photos"), 4)
    assert run(*more) == 0
    assert step(checkpoint) == 9
