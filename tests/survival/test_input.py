"""Images, folders, values and configurations."""

import os
from pathlib import Path

import pytest
from safetensors.torch import save_file

from networks.lift_block import LiFTBlock
from tests.helpers.image_files import AWKWARD, save_awkward
from tests.helpers.survival import REPOSITORY, fit, run, saved, spoil, step

# Images


@pytest.mark.parametrize("names", [["one_pixel.png"], AWKWARD])
def test_unusual_images_are_trained_on_like_any_other(place, names):
    for name in names:
        save_awkward(place / "odd" / name)
        save_awkward(place / "odd" / "again" / name)
    more = ("--data.root=odd", "--data.val_fraction=0", f"--trainer.max_steps={len(names)}")  # each image once
    assert run(*fit(*more)) == 0
    assert [step(path) for path in saved()] == [len(names)] * 2


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


def test_a_spoilt_image_ends_prediction(checkpoint, refused):
    spoil("truncated")
    refused(["predict", *fit(name="second")[1:]], r"photos/spoilt\.jpg", "skip_unreadable=true")


def test_an_untrained_block_does_not_predict(place, refused):
    refused(["predict", *fit()[1:]], "untrained", "--ckpt_path")


# Folders


def test_missing_folder(refused):
    refused(fit("--data.root=nowhere"), "nowhere", "a file or folder of this name", r"--data\.init_args\.root")


def test_a_file_that_is_no_image(checkpoint, refused):
    refused(["predict", *fit("--data.root=lift.yaml", name="second")[1:]], "lift.yaml: its content is not an image")


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
        ("--data.image_size=0", "image_size is 0; it has to be between 1 and"),
        ("--data.image_size=4", "smaller than a patch"),
        ("--data.num_workers=-1", "num_workers is -1; it has to be between 0 and"),
        ("--data.val_fraction=1.5", "val_fraction is 1.5.*below 1"),
        ("--data.crop=centre", "'centre' is not .*did you mean center"),
        ("--data.rooot=photos", "rooot.*did you mean .*root"),
        ("--model.lr=-1", "lr is -1.0; it has to be above 0"),
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


# The configuration that is shipped


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], r"--data\.init_args\.root=<folder>"),
        (["--data.root=nowhere"], "a file or folder of this name"),
        (["--data.root=photos", "--model.weights=block.safetensors"], r"spoilt\.jpg.*skip_unreadable=true"),
        (["--data.root=photos", "--data.tasks=[vidio]"], "vidio"),
        (["--data.root=photos", "--model.backbone.init_args.model_args={patch_size: 16}"], "patch|does not fit"),
    ],
)
def test_predicting_with_the_shipped_configuration(place, refused, more, message):
    spoil("truncated")
    (place / "weights").symlink_to(REPOSITORY / "weights")
    save_file(LiFTBlock(128, 8).state_dict(), "block.safetensors")
    refused(["predict", "--config", REPOSITORY / "configs" / "lift.yaml", *more], message)
