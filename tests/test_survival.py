"""Bad input of every kind through the real entry point.

Every case ends with exit status 2 and one readable message that names the thing and the remedy, without a traceback,
and leaves what was saved before as it was.
"""

import contextlib
import errno
import io
import os
import pickle
import re
import resource
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

import cli
from callbacks.run_log import RunLogWriter
from tests.helpers.image_files import AWKWARD, save_awkward, save_photo, save_photos, truncate

VIT = {"img_size": 32, "patch_size": 8, "embed_dim": 16, "depth": 1, "num_heads": 2}
REPOSITORY = Path(__file__).parents[1]
CONFIG = {
    "model": {
        "class_path": "lightning_modules.LiFT",
        "init_args": {
            "backbone": {
                "class_path": "networks.ViTFeatures",
                "init_args": {"model": "vit_tiny_patch16_224", "weights": None, "model_args": VIT},
            }
        },
    },
    "data": {
        "class_path": "datamodules.ImageFolder",
        "init_args": {"root": "photos", "image_size": 32, "batch_size": 2, "num_workers": 0, "predict_size": 32},
    },
    "trainer": {"max_steps": 2, "accelerator": "cpu", "log_every_n_steps": 1},
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working directory with four photographs, a configuration of the real method, and nothing else."""
    monkeypatch.chdir(tmp_path)
    furnish()
    return tmp_path


def furnish():
    save_photos(Path("photos"), 4)
    Path("lift.yaml").write_text(yaml.safe_dump(CONFIG))


def run(*args):
    """Return the exit status of ``cli.py``."""
    try:
        cli.main([str(arg) for arg in args])
    except SystemExit as end:
        return end.code or 0
    return 0


def saved():
    """Return what the runs have saved so far."""
    return {path: path.read_bytes() for path in Path("runs").glob("**/*.ckpt")}


def step(checkpoint):
    return content(checkpoint)["global_step"]


@pytest.fixture
def refused(place, capsys):
    """Return what asserts that a command is refused with a message that has all these patterns."""

    def check(args, *patterns, after_steps=False):
        before = saved()
        capsys.readouterr()
        status = run(*args)
        output = capsys.readouterr().err
        assert status == 2, output
        assert "Traceback" not in output
        message = output.partition("error: ")[2]
        assert 0 < len(message) < 1500
        for pattern in patterns:
            assert re.search(pattern, message), f"{pattern!r} is not in: {message}"
        if not after_steps:  # else newer checkpoints may have taken the place of older ones
            assert saved().items() >= before.items()
        assert len(saved()) >= len(before)
        assert all(content(path) for path in saved())

    return check


def fit(*more, name="first"):
    return ["fit", "--config", "lift.yaml", "--name", name, *more]


# Images


@pytest.mark.parametrize("names", [["one_pixel.png"], AWKWARD])
def test_unusual_images_are_trained_on_like_any_other(place, names):
    for name in names:
        save_awkward(place / "odd" / name)
        save_awkward(place / "odd" / "again" / name)
    more = ("--data.root=odd", "--data.val_fraction=0", f"--trainer.max_steps={len(names)}")  # each image once
    assert run(*fit(*more)) == 0
    assert [step(path) for path in saved()] == [len(names)] * 2


def spoil(kind):
    path = Path("photos/spoilt.jpg")
    save_photo(path, 100, 100)
    if kind == "truncated":
        truncate(path)
    else:
        path.write_bytes({"zero-byte": b"", "text": b"<html>404</html>", "damaged": b"\xff" * 20}[kind])
    return path


SPOILT = ["truncated", "zero-byte", "text", "damaged"]


@pytest.mark.parametrize(("kind", "workers"), [*((kind, 0) for kind in SPOILT), ("truncated", 1)])
def test_a_spoilt_image_ends_training(place, refused, kind, workers):
    spoil(kind)
    more = (
        f"--data.num_workers={workers}",
        "--data.val_fraction=0",
        "--trainer.max_epochs=3",
        "--trainer.max_steps=-1",
    )
    refused(fit(*more), r"photos/spoilt\.jpg", "skip_unreadable=true")


def test_spoilt_images_are_skipped_on_demand_and_counted(place, caplog):
    for kind in SPOILT:
        spoil(kind).rename(f"photos/{kind}.jpg")
    assert run(*fit("--data.skip_unreadable=true")) == 0
    assert "Left out 4 of" in caplog.text
    for kind in SPOILT:
        assert f"{kind}.jpg" in caplog.text


def test_a_spoilt_image_ends_prediction(refused):
    spoil("truncated")
    refused(["predict", *fit()[1:]], r"photos/spoilt\.jpg", "skip_unreadable=true")


# Folders


def test_missing_folder(refused):
    refused(fit("--data.root=nowhere"), "nowhere", "the folder itself", r"--data\.init_args\.root")


def test_file_in_place_of_a_folder(refused):
    refused(fit("--data.root=lift.yaml"), "this is a file", r"--data\.init_args\.root")


def test_empty_folder(place, refused):
    (place / "empty").mkdir()
    refused(fit("--data.root=empty"), "it is empty", r"\.jpg", r"--data\.init_args\.root")


def test_folder_without_images(place, refused):
    (place / "notes").mkdir()
    (place / "notes" / "a.txt").write_text("x")
    refused(fit("--data.root=notes"), "1 other file", r"--data\.init_args\.root")


def test_unreadable_folder(refused, monkeypatch):
    scandir = os.scandir

    def refuse(folder="."):
        if Path(folder).name == "bucket1":  # root may list every folder, so the refusal is staged
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    refused(fit(), "Permission denied", "Make the folder .*bucket1 readable")


def test_fewer_images_than_a_batch(refused):
    refused(fit("--data.batch_size=64"), "3 samples", "lower batch_size")


def test_images_of_the_prediction_vanish(refused):
    for path in Path("photos").glob("**/*.png"):
        path.unlink()
    refused(["predict", *fit()[1:]], "it is empty", r"--data\.init_args\.root")


def test_missing_imagenet(refused):
    more = ["--data=datamodules.ImageNet", "--data.root=photos"]
    refused(["fit", "--config", "lift.yaml", *more], "ImageNet-1k", r"devkit", r"image-net\.org")


# Values


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--data.batch_size=0", "batch_size is 0.*at least 1"),
        ("--data.batch_size=-2", "batch_size is -2.*at least 1"),
        ("--data.batch_size=many", "batch_size.*'many' is not int"),
        ("--data.image_size=0", "image_size is 0.*at least 1"),
        ("--data.image_size=4", "smaller than a patch"),
        ("--data.num_workers=-1", "num_workers is -1.*at least 0"),
        ("--data.val_fraction=1.5", "val_fraction is 1.5.*below 1"),
        ("--data.crop=centre", "'centre' is not .*did you mean center"),
        ("--data.rooot=photos", "rooot.*did you mean .*root"),
        ("--model.lr=-1", "lr -1.0 is not positive"),
        ("--model.distance=cosinus", "'cosinus' is not .*did you mean cosine"),
        ("--model.backbone.init_args.facet=keys", "'keys'.*key"),
        ("--model.backbone.init_args.layer=7", "layer 7 .* 1 blocks"),
        ("--model.backbone.init_args.stride=9", "stride 9 .*patch size, 8"),
        ("--model.backbone.init_args.model=vit_tinny_patch16_224", "no model 'vit_tinny_patch16_224'.*vit_tiny"),
        ("--model.backbone.init_args.weights=nowhere.pth", "no weights at 'nowhere.pth'"),
        ("--model.weights=nowhere.pth", "no weights at 'nowhere.pth'"),
        ("--trainer.max_step=3", "max_step.*did you mean --trainer.max_steps"),
        ("--trainer.precision=31", "precision"),
        ("--trainer.accelerator=abacus", "abacus"),
        ("--config=nowhere.yaml", "no file .*nowhere.yaml"),
        ("--data=datamodules.ImageFolders", "no class datamodules.ImageFolders.*did you mean"),
        ("--ckpt_path=nowhere.ckpt", "nowhere.ckpt does not exist"),
        ("--name=a/b", "no name of a folder"),
        ("--runs_dir=lift.yaml", "cannot be created.*--runs_dir"),
    ],
)
def test_wrong_value(refused, option, message):
    refused(fit(option), message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: [unclosed", "no valid YAML"),
        ("trainer: {max_step: 3}", "max_step"),
        ("tariner: {max_steps: 3}", "tariner.*did you mean .*trainer"),
        ("just words", "(?i)config|yaml"),
    ],
)
def test_wrong_configuration_file(place, refused, text, message):
    (place / "more.yaml").write_text(text)
    refused(fit("--config=more.yaml"), message)


def test_binary_configuration_file(place, refused):
    (place / "more.yaml").write_bytes(bytes(range(256)))
    refused(fit("--config=more.yaml"), "more.yaml|YAML")


# Checkpoints


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished run; every test that needs one takes a copy."""
    folder = tmp_path_factory.mktemp("finished")
    with contextlib.chdir(folder):
        furnish()
        assert run(*fit()) == 0
    return folder / "runs"


@pytest.fixture
def checkpoint(place, finished):
    """The last checkpoint of a finished run."""
    shutil.copytree(finished, "runs")
    return Path("runs/lift/first/checkpoints/last.ckpt")


class Bomb:
    def __reduce__(self):
        return os.mkdir, ("exploded",)


def stored(content):
    """Return the bytes that torch stores."""
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def content(checkpoint):
    return torch.load(checkpoint, weights_only=True)


DAMAGED = {
    "truncated": (lambda path: path.read_bytes()[:-500], "incomplete or damaged"),
    "zero-byte": (lambda path: b"", "incomplete or damaged"),
    "text": (lambda path: b"<html>404</html>", "damaged or no checkpoint"),
    "pickle bomb": (lambda path: pickle.dumps(Bomb()), "holds Python objects"),
    "pickle bomb inside": (lambda path: stored(content(path) | {"extra": Bomb()}), "holds Python objects"),
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


def test_resuming_passes_over_a_truncated_checkpoint(checkpoint, capsys):
    others = [path for path in checkpoint.parent.glob("*.ckpt") if path != checkpoint]
    truncate(checkpoint)
    capsys.readouterr()
    assert run(*fit("--resume=true", "--trainer.max_steps=4")) == 0
    output = capsys.readouterr()
    assert "last.ckpt is incomplete or damaged" in output.out + output.err
    assert others
    assert step(checkpoint) == 4


def test_the_name_of_a_finished_run_is_not_taken_again(checkpoint, refused):
    refused(fit(), "exists already", "--resume", "--name")


# The configuration that is shipped


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], r"--data\.init_args\.root=<folder>"),
        (["--data.root=nowhere"], "the folder itself"),
        (["--data.root=photos"], r"spoilt\.jpg.*skip_unreadable=true"),
        (["--data.root=photos", "--data.tasks=[vidio]"], "vidio"),
        (["--data.root=photos", "--model.backbone.init_args.model_args={patch_size: 16}"], "patch|does not fit"),
    ],
)
def test_predicting_with_the_shipped_configuration(place, refused, more, message):
    spoil("truncated")
    (place / "weights").symlink_to(REPOSITORY / "weights")
    refused(["predict", "--config", REPOSITORY / "configs" / "lift.yaml", *more], message)


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
