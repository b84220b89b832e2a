"""Commands that are to survive bad input: a place with photographs and a configuration of the real method."""

from pathlib import Path

import torch
import yaml

import cli
from tests.helpers.image_files import save_photo, save_photos, truncate
from tests.helpers.tiny_vit import TINY

VIT = TINY | {"depth": 1}
REPOSITORY = Path(__file__).parents[2]
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


def content(checkpoint):
    return torch.load(checkpoint, weights_only=True)


def fit(*more, name="first"):
    return ["fit", "--config", "lift.yaml", "--name", name, *more]


def spoil(kind):
    path = Path("photos/spoilt.jpg")
    save_photo(path, 100, 100)
    if kind == "truncated":
        truncate(path)
    else:
        path.write_bytes({"zero-byte": b"", "text": b"<html>404</html>", "damaged": b"\xff" * 20}[kind])
    return path
