"""A folder of some fifty odd files through ``predict`` of every method that reads pictures, by the real entry point."""

import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from networks.lift_block import LiFTBlock
from tests.helpers.image_files import save_photo
from tests.helpers.odd_files import READ, THIN, UNUSABLE, make_odd_folder
from tests.helpers.survival import REPOSITORY, run
from tests.helpers.tiny_vit import TINY
from tests.helpers.translation_runs import small

COUNT = len(READ) + len(UNUSABLE) + len(THIN)
OTHERS = "left out 6 files that are no images: 1 without a suffix, 1 .eps, 1 .h5, 1 .mp4, 1 .pdf, 1 .txt"
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--name=odd"]


@pytest.fixture
def odd(tmp_path, monkeypatch):
    """A working directory with the folder ``odd`` and a block of LiFT."""
    monkeypatch.chdir(tmp_path)
    make_odd_folder(Path("odd"))
    save_file(LiFTBlock(TINY["embed_dim"], TINY["patch_size"]).state_dict(), "block.safetensors")
    return tmp_path


def lift(*more):
    backbone = {"model": "vit_tiny_patch16_224", "weights": None, "model_args": TINY, "layer": 1}
    model = [
        f"--model.backbone={ {'class_path': 'networks.ViTFeatures', 'init_args': backbone} }".replace("None", "null")
    ]
    config = ["--config", str(REPOSITORY / "configs" / "lift.yaml"), *model, "--model.weights=block.safetensors"]
    return ["predict", *config, "--data.predict_size=32", *QUIET, *more]


def test_lift_writes_features_of_all_that_can_be_used(odd, caplog, capsys):
    assert run(*lift("--data.root=odd", "--data.skip_unreadable=true")) == 0
    features = Path("runs/lift/odd/features")
    written = {path.relative_to(features).as_posix().removesuffix(".safetensors") for path in features.rglob("*.safe*")}
    assert written == set(READ)
    assert all(load_file(path)["features"].isfinite().all() for path in features.rglob("*.safetensors"))
    assert f"odd: {OTHERS}" in caplog.messages
    assert f"left out {len(UNUSABLE) + 1} of {COUNT} files:" in caplog.text, "and the thin one, which has no patch"
    assert "cannot use the image odd/thin.png: an image of 32x1 pixels is smaller than a patch" in caplog.text
    assert f"{len(READ)} feature files" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["thin.png", "gone.jpg", "bomb.png"])
def test_without_being_asked_to_lift_ends_with_the_name_and_the_option(odd, capsys, name):
    assert run(*lift(f"--data.root=odd/{name}")) == 2
    message = capsys.readouterr().err
    assert f"odd/{name}" in message
    assert "skip_unreadable=true" in message
    assert "Traceback" not in message


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ("odd/plain.jpg", ["plain.jpg"]),
        ("odd/*.avif", ["modern.avif"]),
        ("odd/**/*n others.png", ["deep/er/than others.png"]),
        ("[odd/scan.jp2, odd/deep]", ["deep/er/than others.png", "scan.jp2"]),
        ("odd/two\nlines.png", ["two\nlines.png"]),
    ],
)
def test_files_are_given_in_every_way(odd, given, written):
    assert run(*lift(f"--data.root={given}")) == 0
    features = Path("runs/lift/odd/features")
    names = sorted(path.relative_to(features).as_posix() for path in features.rglob("*.safetensors"))
    assert names == [f"{name}.safetensors" for name in written]


def test_nothing_of_a_name_says_what_may_be_given(odd, capsys):
    assert run(*lift("--data.root=od/*.jpg")) == 2
    message = capsys.readouterr().err
    assert "od/*.jpg" in message
    assert "root" in message


def test_a_supervised_vit_writes_features_of_all_that_can_be_used(odd, caplog):
    config = [
        "--config",
        str(REPOSITORY / "configs" / "supervision" / "dino.yaml"),
        f"--model.model_args={TINY}",
        *QUIET[:2],
    ]
    small = ["--data.subjects=4", "--data.held_out=0", "--data.batch_size=4", "--trainer.max_steps=1"]
    assert run("fit", *config, *small, "--trainer.precision=32-true", "--trainer.callbacks=[]", "--name=first") == 0
    folder = ["--data=ImageFolder", "--data.root=odd", "--data.num_workers=0", "--data.predict_size=32"]
    more = ["--data.skip_unreadable=true", "--trainer.callbacks=callbacks.FeatureWriter", "--name=odd"]
    words = ["predict", "--config", "runs/dino/first/cli_config.yaml", "--ckpt_path=runs/dino/first", *folder, *more]
    assert run(*words) == 0
    features = Path("runs/dino/odd/features")
    written = {path.relative_to(features).as_posix().removesuffix(".safetensors") for path in features.rglob("*.safe*")}
    assert written == set(READ)
    assert "cannot use the image odd/thin.png: an image of 32x1 pixels is smaller than a patch" in caplog.text
    assert f"left out {len(UNUSABLE) + 1} of {COUNT} files:" in caplog.text


SOURCES = ["--data.images=2", "--data.discovery_images=2", "--data.image_size=16", "--data.batch_size=4"]
NETWORK = ["--model.network.hidden=8", "--model.network.most_classes=30", "--trainer.precision=32-true"]


@pytest.fixture
def discovered(odd):
    """A run of discovery of a single round, from which pictures are attributed."""
    config = ["--config", str(REPOSITORY / "configs" / "gan_discovery.yaml"), *SOURCES, *NETWORK, *QUIET[:2]]
    more = [
        "--model.rounds=1",
        "--model.epochs=1",
        "--model.stages.k=4",
        "--trainer.callbacks=callbacks.AttributionWriter",
    ]
    assert run("fit", *config, *more, "--name=first") == 0
    return ["predict", *config, *more, "--name=odd"]


def test_discovery_attributes_all_that_can_be_read(discovered, caplog):
    assert run(*discovered, "--data.root=odd", "--data.skip_unreadable=true") == 0
    with Path("runs/gan_discovery/odd/attributions.csv").open(newline="") as file:
        named = [row["image"] for row in csv.DictReader(file)]
    assert named == sorted([*READ, *THIN]), "of a thin picture the middle is enlarged"
    assert f"left out {len(UNUSABLE)} of {COUNT} files:" in caplog.text
    assert f"odd: {OTHERS}" in caplog.messages


def grit(tmp_path, *more):
    label_map = np.arange(64, dtype=np.uint8).reshape(8, 8) % 19
    Path("labels").mkdir()
    Image.fromarray(label_map).save("labels/a.png")
    Image.fromarray(label_map + 100).save("labels/b.png")
    save_photo(Path("labels/c.jpg"))
    faces = ["--data.images=4", "--data.test_images=2", "--data.batch_size=4", "--data.texture_draws=0"]
    config = [*small(str(REPOSITORY / "configs" / "grit.yaml")), "--data.image_size=32"]
    assert run("fit", *config, *faces, "--test_after_fit=false", "--trainer.callbacks=[]") == 0
    return [
        *("predict", *config, "--name=odd"),
        *("--trainer.callbacks=callbacks.TranslationWriter", *more),
    ]


def test_grit_combines_all_that_can_be_read(odd, caplog):
    words = grit(odd, "--data.labels=labels", "--data.styles=odd", "--data.skip_unreadable=true")
    assert run(*words) == 0
    written = sorted(path.name for path in Path("runs/grit/odd/translations").iterdir())
    assert len(written) == len(READ) + len(THIN)
    assert all(name.startswith("a__") for name in written)
    assert {"a__plain.jpg.png", "a__thin.png", "a__UPPER.JPG.png", "a__upper.jpg-2.png"} <= set(written)
    assert f"left out {len(UNUSABLE) + 2} of {COUNT + 3} files:" in caplog.text
    assert "labels/b.png holds the labels 100" in caplog.text
    assert "labels/c.jpg is a JPEG" in caplog.text


def test_grit_takes_a_single_map_and_a_single_style(odd):
    assert run(*grit(odd, "--data.labels=labels/a.png", "--data.styles=odd/modern.avif")) == 0
    assert [path.name for path in Path("runs/grit/odd/translations").iterdir()] == ["a__modern.png"]


def test_grit_ends_with_the_file_and_the_option(odd, capsys):
    assert run(*grit(odd, "--data.labels=labels/a.png", "--data.styles=odd")) == 2
    message = capsys.readouterr().err
    assert "odd/bomb.png" in message
    assert "skip_unreadable=true" in message
