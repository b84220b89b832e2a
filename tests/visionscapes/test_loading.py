"""What `load` takes: the places that a module is found at, and how its inputs are prepared."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import visionscapes
from lightning_modules.method import MADE_OF
from tests.helpers.image_files import pixels
from tests.helpers.runs import ROOT
from tests.helpers.trained_runs import trained
from tests.helpers.translation_runs import SIZE
from visionscapes.errors import UserError
from visionscapes.loading import load
from visionscapes.model import Model


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_the_package_offers_it():
    assert visionscapes.load is load
    assert visionscapes.Model is Model
    assert visionscapes.UserError is UserError


class TestPlaces:
    def test_a_run_a_checkpoint_and_the_newest_run_are_one(self):
        run = trained("LiFT")
        last = run / "checkpoints" / "last.ckpt"
        for place in (run, str(run), run / "checkpoints", last, run / "last", run.parent, run.parent / "last"):
            assert load(place).source == str(last)

    def test_the_best(self):
        run = trained("LiFT")
        assert Path(load(run / "best").source).name.startswith("epoch=")
        assert load(run.parent / "best").source == load(run / "best").source

    def test_a_checkpoint_alone_knows_how_inputs_are_prepared(self, tmp_path):
        path = shutil.copy(trained("LiFT") / "checkpoints" / "last.ckpt", tmp_path / "alone.ckpt")
        assert load(path).inputs == load(trained("LiFT")).inputs

    def test_an_earlier_checkpoint_asks_the_data_of_its_run(self, tmp_path):
        run = tmp_path / "run"
        shutil.copytree(trained("LiFT"), run)
        path = run / "checkpoints" / "last.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        del checkpoint[MADE_OF]
        torch.save(checkpoint, path)
        assert load(path).inputs == load(trained("LiFT")).inputs
        assert torch.equal(load(path)(pixels(30, 50)), load(trained("LiFT"))(pixels(30, 50)))

    def test_data_that_cannot_be_made_again_are_told(self, tmp_path, capsys):
        run = tmp_path / "run"
        shutil.copytree(trained("LiFT"), run)
        path = run / "checkpoints" / "last.ckpt"
        checkpoint = torch.load(path, weights_only=True)
        checkpoint[MADE_OF]["inputs"] = None
        torch.save(checkpoint, path)
        config = (run / "cli_config.yaml").read_text()
        (run / "cli_config.yaml").write_text(config.replace("datamodules.SceneWorld", "gone.Data"))
        assert load(path).inputs.longer_side == 448
        assert "inputs are prepared by default" in capsys.readouterr().out

    def test_inputs_may_be_prepared_otherwise(self):
        assert load(trained("LiFT"), longer_side=64)(pixels(30, 60)).shape[1:] == (8, 16)
        with pytest.raises(UserError, match="no option long_side of the inputs: there are longer_side, upright"):
            load(trained("LiFT"), long_side=64)
        with pytest.raises(UserError, match=r"GivenPhotographs\.upright is 'yes'; it has to be True or False"):
            load(trained("LiFT"), upright="yes")

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (
                {"image_size": SIZE + 1},
                rf"image_size of the inputs is {SIZE}, as GRIT was trained, and cannot be {SIZE + 1}",
            ),
            ({"classes": 30}, "classes of the inputs is 19, as GRIT was trained, and cannot be 30"),
            ({"channels": 1}, "cannot be 1: of others there are ignore_label, keep_aspect"),
            ({"size": 64}, "there is no option size of the inputs: there are ignore_label, keep_aspect"),
        ],
    )
    def test_what_the_training_has_decided_stays(self, options, said):
        with pytest.raises(UserError, match=said):
            load(trained("GRIT"), **options)
        assert load(trained("GRIT"), image_size=SIZE, classes=19).inputs == load(trained("GRIT")).inputs

    def test_what_else_can_be_given_is_said(self):
        place, weights = "configs/syncnet.yaml", "weights/syncnet.safetensors"
        with pytest.raises(
            UserError, match=r"face_size of the inputs is 48, .* cannot be 96: of others there are faces"
        ):
            load(place, weights=weights, face_size=96)
        with pytest.raises(UserError, match=r"faces has no option chose: it has detector, .*choose"):
            load(place, weights=weights, faces={"chose": 0})
        with pytest.raises(
            UserError, match=r"faces is 'first'; it has to be a FaceOptions, or a dictionary of detector"
        ):
            load(place, weights=weights, faces="first")

    def test_a_configuration_with_weights(self, tmp_path):
        model = load("configs/syncnet.yaml", weights="weights/syncnet.safetensors")
        state = load_file("weights/syncnet.safetensors")
        found = model.module.network.state_dict()
        assert all(torch.equal(found[name], value.to(found[name].dtype)) for name, value in state.items())
        assert model.inputs.face_size == 48
        for place, said in (
            (trained("LiFT") / "checkpoints" / "last.ckpt", "cannot be read|no configuration of a method"),
            ("configs/supervision/dino.yaml", "of DINO, which has no such option"),
        ):
            with pytest.raises(UserError, match=said):
                load(place, weights="weights/syncnet.safetensors")
        for weights, said in (
            (5, "weights are named by their path, and 5 is of class int"),
            ("x" * 5000, "has 5000 characters"),
            ("https://example.org/a.safetensors", "is an address"),
            ("gone.safetensors", "no weights at 'gone.safetensors'"),
        ):
            with pytest.raises(UserError, match=said):
                load("configs/syncnet.yaml", weights=weights)
        with pytest.raises(UserError, match="holds weights alone: name the configuration"):
            load("weights/syncnet.safetensors")

    def test_what_trains_nothing_needs_no_checkpoint(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)  # configurations of ours are found from any folder
        model = load("configs/vit_analysis.yaml", shorter_side=64)
        image = pixels(70, 90)
        found = model(image)
        expected = model.module.dense_features()["DINO"](model.inputs.sample(Image.fromarray(image))["image"][None])
        assert set(found) == set(model.module.names)
        assert found["DINO"].keys() == {"1", "2", "3", "4", "5", "6"}
        assert all(torch.equal(maps, expected[layer][0]) for layer, maps in found["DINO"].items())


class TestErrors:
    def test_nothing_there(self, tmp_path):
        (tmp_path / "other").mkdir()
        with pytest.raises(UserError, match=r"nothing at .*gone: give a run folder.*where there are other"):
            load(tmp_path / "gone")

    def test_a_folder_without_a_checkpoint(self, tmp_path):
        with pytest.raises(UserError, match="holds no checkpoint: give the folder of a run"):
            load(tmp_path)
        with pytest.raises(UserError, match=r"name one of the runs below it, such as .*LiFT/lift/tiny"):
            load(trained("LiFT").parents[1])
        run = tmp_path / "run"
        run.mkdir()
        shutil.copy(trained("LiFT") / "cli_config.yaml", run)
        with pytest.raises(UserError, match="the run ended before it saved one"):
            load(run)
        (run / "manifest.json").write_text(json.dumps({"resumed_from": "runs/lift/x/checkpoints/last.ckpt"}))
        with pytest.raises(UserError, match=r"started from another, runs/lift/x/checkpoints/last\.ckpt; give that"):
            load(run)

    @pytest.mark.parametrize(
        ("place", "said"),
        [
            ("x" * 5000, "has 5000 characters, more than the file system allows"),
            ("x/" * 2500 + "last", "has 5004 characters"),
            ("https://example.org/a.ckpt", "is an address.*download it"),
            ("", "the run is an empty path"),
        ],
    )
    def test_a_path_that_cannot_be_looked_up(self, place, said):
        with pytest.raises(UserError, match=said):
            load(place)

    def test_a_link_to_what_is_gone(self, tmp_path):
        (tmp_path / "last.ckpt").symlink_to(tmp_path / "gone.ckpt")
        with pytest.raises(UserError, match=r"last\.ckpt is a link to .*gone\.ckpt, which is not there"):
            load(tmp_path / "last.ckpt")
        (tmp_path / "runs").symlink_to(tmp_path / "away")
        with pytest.raises(UserError, match=r"runs is a link to .*away, which is not there"):
            load(tmp_path / "runs")

    @pytest.mark.parametrize("kept", [0.0, 0.3, 0.999])
    def test_a_checkpoint_that_was_cut_off(self, kept, tmp_path):
        content = (trained("LiFT") / "checkpoints" / "last.ckpt").read_bytes()
        (tmp_path / "a.ckpt").write_bytes(content[: int(kept * len(content))])
        with pytest.raises(UserError, match=r"a\.ckpt is .*damaged"):
            load(tmp_path / "a.ckpt")

    @pytest.mark.parametrize("place", [None, 5, b"runs"])
    def test_a_run_is_named_by_its_path(self, place):
        with pytest.raises(UserError, match="a run is named by its path"):
            load(place)

    @pytest.mark.parametrize("size", ["8", None, 0, 2.5, True])
    def test_a_batch_has_a_whole_number_of_inputs(self, size, tmp_path):
        with pytest.raises(UserError, match=r"batch_size is .*whole number above 0"):
            load(tmp_path, batch_size=size)

    @pytest.mark.parametrize("device", ["gpu", "cuda:7"])
    def test_a_device_that_is_not_there(self, device, tmp_path):
        with pytest.raises(UserError, match=rf"device is '{device}', which is not there .*give cpu"):
            load(tmp_path, device=device)

    def test_a_configuration_of_what_has_to_be_trained(self):
        with pytest.raises(UserError, match="a configuration of what has to be trained"):
            load("configs/lift.yaml")

    def test_a_checkpoint_of_another_program(self, tmp_path):
        torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
        with pytest.raises(UserError, match=r"is no checkpoint of cli\.py"):
            load(tmp_path / "a.ckpt")
        torch.save({"state_dict": {}, "global_step": 1, "loops": {}}, tmp_path / "a.ckpt")
        with pytest.raises(UserError, match="does not say which class it is of"):
            load(tmp_path / "a.ckpt")
        (tmp_path / "a.ckpt").write_bytes(b"text")
        with pytest.raises(UserError, match=r"a\.ckpt is .*damaged"):
            load(tmp_path / "a.ckpt")

    @pytest.mark.parametrize(
        ("class_path", "said"),
        [
            ("lightning_modules.LIFT", "there is no class LIFT in lightning_modules: did you mean LiFT"),
            ("mine.Net", r"class mine\.Net is not to be found.*PYTHONPATH"),
            ("pytorch_lightning.LightningModule", "a.ckpt is of LightningModule, which answers nothing by itself"),
        ],
    )
    def test_an_unknown_class(self, class_path, said, tmp_path):
        checkpoint = {"state_dict": {}, "global_step": 1, "loops": {}, MADE_OF: {"class_path": class_path}}
        torch.save(checkpoint, tmp_path / "a.ckpt")
        with pytest.raises(UserError, match=said):
            load(tmp_path / "a.ckpt")
