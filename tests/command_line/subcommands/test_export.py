"""Networks as files, end to end."""

import json

import pytest
import torch

import cli
from command_line.subcommands.export import choose_size, classes_of, export, preparation_of
from command_line.subcommands.table import OWN
from datamodules.detection.scenes import DetectionScenes
from tests.helpers.exported import Blurred, part
from tests.helpers.tiny import TinyModule
from tests.helpers.tiny_runs import ROOT, TINY, manifest, weights
from visionscapes.errors import UserError
from visionscapes.exporting import programs


class Offered(TinyModule):
    """A module that is trained and offers a network which says what it was trained to."""

    def exportable(self):
        torch.manual_seed(0)
        network = Blurred()
        network.layer.bias.data[:] = self.layer.bias[0]
        return [part(network.eval())]


@pytest.fixture
def offering(run, tmp_path, monkeypatch):
    """Return a function that exports the module of a run that was trained."""
    monkeypatch.chdir(ROOT)
    words = ["--model", f"{__name__}.Offered", *TINY[2:], f"--runs_dir={tmp_path}"]
    trained = cli.main(["fit", *words, "--trainer.max_epochs=1", "--name=trained"])
    return trained.run_folder, lambda *more: cli.main(["export", *words, *more])


def test_a_module_without_networks_to_export_says_so(fails, tmp_path):
    assert OWN["export"].load() is export
    assert "TinyModule offers no networks to export" in fails("--name=x", subcommand="export")
    assert not (tmp_path / "tinymodule" / "x").exists()


def test_the_files_hold_the_trained_weights_and_where_they_come_from(offering, capsys):
    trained, command = offering
    capsys.readouterr()
    folder = command("--ckpt_path=last", "--format=pt2").run_folder
    assert sorted(each.name for each in (folder / "exported").iterdir()) == ["blurred.json", "blurred.pt2"]
    about = json.loads((folder / "exported" / "blurred.json").read_text())
    assert about["method"] == "Offered"
    assert about["checkpoint"] == str(trained / "checkpoints" / "last.ckpt")
    assert about["code"] is None or len(about["code"]["commit"]) == 40
    assert "torch" in about["versions"]
    torch.manual_seed(0)
    network = Blurred().eval()
    network.layer.bias.data[:] = weights(trained)["layer.bias"][0]
    inputs = part(network).checks()[0]
    (maps, _) = programs.program_of(folder / "exported" / "blurred.pt2")(inputs)
    assert torch.allclose(maps, network(*inputs)[0], atol=1e-6)
    assert manifest(folder)["status"] == "finished"
    told = capsys.readouterr().out
    assert "blurred.pt2: 0.0 MB" in told
    assert "1 file in " in told


def test_another_folder_is_written_to(offering, tmp_path):
    _, command = offering
    command("--ckpt_path=last", "--format=onnx", f"--output={tmp_path / 'elsewhere'}")
    assert sorted(each.name for each in (tmp_path / "elsewhere").iterdir()) == ["blurred.json", "blurred.onnx"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--format=tflite"], "format: 'tflite' is not onnx or pt2 or both"),
        (["--opset=0"], "--opset is 0; it has to be at least 1"),
        (["--format=onnx", "--opset=3000"], "blurred.onnx cannot be exported: the exporter has no way to version 3000"),
    ],
)
def test_mistakes_end_with_one_line_and_status_2(offering, capsys, words, error):
    with pytest.raises(SystemExit) as caught:
        offering[1]("--name=x", *words)
    assert caught.value.code == 2
    assert error in capsys.readouterr().err.strip().splitlines()[-1]


@pytest.mark.parametrize("size", ["480", "480x", "0x3", "480 x 640", "-1x3"])
def test_a_size_that_is_none_is_refused(size):
    with pytest.raises(UserError, match="HEIGHTxWIDTH"):
        choose_size(None, size)


def test_a_size_is_for_modules_that_ask_for_one(fails):
    assert "--size is for detectors" in fails("--size=480x640", "--name=x", subcommand="export")

    class Sized:
        export_size = 640, 640

    module = Sized()
    choose_size(module, "480x320")
    assert module.export_size == (480, 320)


def test_names_of_classes_are_those_that_the_data_know():
    class Data:
        classes = ("cat", "dog")

    assert classes_of(Data()) == {"classes": ["cat", "dog"]}
    Data.classes = 19
    assert classes_of(Data()) == classes_of(None) == {}


def test_how_pictures_are_prepared_is_told():
    data = DetectionScenes(scenes=2, test_scenes=1, image_size=48)
    told = preparation_of(data)["prepared"]
    assert (told["as"], told["size"], told["longest"]) == ("GivenScenes", data.inputs.size, data.inputs.longest)
    assert "classes" not in told
    assert preparation_of(None) == {}
