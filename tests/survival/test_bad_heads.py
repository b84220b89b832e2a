"""People that cannot be reenacted, through the real entry point and `HeadWorld`, before anything is trained.

Each ends with status 2 and a message that says what is wrong and what to do; no run folder is left.
"""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import cli
from datamodules.clips.heads.motion import write_motion
from tests.helpers.dubbing import nobody
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import motion, photograph, turning
from tests.helpers.survival import REPOSITORY

MODEL = ["--model=tests.helpers.tiny.TinyModule", "--trainer.accelerator=cpu"]
WORLD = ["--data=datamodules.HeadWorld", "--data.people=2", "--data.image_size=32"]


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(REPOSITORY))
    monkeypatch.chdir(tmp_path)
    photograph(Path("me.png"))
    write_motion(Path("turn.npz"), motion(turning(4)))

    def check(words, *patterns):
        given = [*MODEL, *WORLD, "--data.source=me.png", "--data.driving=turn.npz", *words]
        with pytest.raises(SystemExit) as caught:
            cli.main(["predict", *given])
        error = capsys.readouterr().err
        assert caught.value.code == 2, error
        assert "Traceback" not in error
        message = error.partition("error: ")[2]
        assert 0 < len(message) < 1200
        for pattern in patterns:
            assert pattern in message, error
        assert list(tmp_path.glob("runs/*/*")) == []

    return check


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("most_shots", "0"),
        ("most_shots", "1.5"),
        ("crop", "0.4"),
        ("crop", "nan"),
        ("landmarks", "half"),
        ("finetune", "maybe"),
        ("sound", "5"),
        ("faces.choose", "smallest"),
        ("faces.least_score", "2"),
        ("faces.detector", "nowhere.tflite"),
    ],
)
def test_options(refused, option, value):
    refused([f"--data.{option}={value}"], option.rpartition(".")[2] if option != "faces.detector" else value)


PLACES = ["", "nowhere", "empty", "a" * 300, "*.nothing", "["]


@needs_face_files
@pytest.mark.parametrize("option", ["source", "driving"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[:40])
def test_places(tmp_path, refused, option, place):
    (tmp_path / "empty").mkdir()
    named = "The source" if option == "source" else "The driver"
    refused([f"--data.{option}={place}"], "its name is longer than the file system allows" if "aaa" in place else named)


CONTENTS = {
    "empty": b"",
    "zeros": bytes(5000),
    "noise": np.random.default_rng(0).bytes(20000),
    "web page": b"<html>404 Not Found</html>",
    "half a picture": None,
}


@needs_face_files
@pytest.mark.parametrize("suffix", [".jpg", ".mp4", ""])
@pytest.mark.parametrize("kind", CONTENTS)
def test_files_that_are_no_source(tmp_path, refused, kind, suffix):
    content = CONTENTS[kind]
    whole = photograph(tmp_path / "whole.png").read_bytes()
    path = tmp_path / f"a b{suffix}"
    path.write_bytes(whole[: len(whole) // 2] if content is None else content)
    refused([f"--data.source={path.name}"], path.name)


@needs_face_files
def test_nobody_and_no_picture_of_several(tmp_path, refused):
    Image.fromarray(nobody(1)[0]).save("wall.png")
    refused(["--data.source=wall.png"], "wall.png shows no face", "name a picture in which")
    refused(["--data.source=[wall.png,wall.png,nowhere.png]"], "nowhere.png")
    (tmp_path / "walls").mkdir()
    for name in "ab":
        Image.fromarray(nobody(1)[0]).save(f"walls/{name}.webp")
    refused(["--data.source=walls"], "None of 2 pictures of the source can be used. The first: ")


@needs_face_files
def test_one_without_the_other(refused):
    refused(["--data.source=null"], "Name pictures of a person as --data.source too")
    refused(["--data.driving=null"], "Name a video of a driver as --data.driving too")
