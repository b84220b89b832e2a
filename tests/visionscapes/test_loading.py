"""What `load` gives: the module of a run, whose answers are those that ``predict`` writes."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import cli
import visionscapes
from callbacks.generation.film_writer import PredictedFilm
from datamodules.procedural.scenes.object_classes import CLASSES
from lightning_modules.method import MADE_OF
from tests.helpers.dubbing import person, speech, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import photograph, picture
from tests.helpers.image_files import pixels, save_photo
from tests.helpers.runs import ROOT
from tests.helpers.trained_runs import QUIET, trained
from tests.helpers.translation_runs import SIZE
from visionscapes.errors import UserError
from visionscapes.loading import Model, load
from visionscapes.results import Attribution, SyncResult, Translation

DETECTIONS = "--trainer.callbacks=callbacks.DetectionWriter"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def predict(run: Path, folder: Path, *words: str) -> Path:
    """Run ``predict`` on the checkpoint of a run as it was configured; return the run folder."""
    command = ["predict", f"--config={run / 'cli_config.yaml'}", f"--ckpt_path={run}", f"--runs_dir={folder / 'runs'}"]
    return cli.main([*command, *QUIET, "--trainer.limit_predict_batches=null", *words]).run_folder


def test_the_package_offers_it():
    assert visionscapes.load is load
    assert visionscapes.Model is Model
    assert visionscapes.UserError is UserError


class TestAsPredict:
    def test_lift(self, tmp_path):
        photo = save_photo(tmp_path / "photos" / "a.png", 50, 30)
        words = [f"--data.root={photo.parent}", "--trainer.callbacks=callbacks.FeatureWriter"]
        run = predict(trained("LiFT"), tmp_path, *words, "--trainer.callbacks.dtype=float32")
        written = load_file(run / "features" / "a.png.safetensors")["features"]
        assert torch.equal(load(trained("LiFT"))(photo), written)

    def test_gan_discovery(self, tmp_path):
        photos = [save_photo(tmp_path / "photos" / f"{k}.png", 40 + k, 30, seed=k) for k in range(3)]
        words = [f"--data.root={photos[0].parent}", "--trainer.callbacks=callbacks.AttributionWriter"]
        run = predict(trained("GANDiscovery"), tmp_path, *words, "--trainer.precision=32-true")
        with (run / "attributions.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        found = load(trained("GANDiscovery"))(photos)
        assert all(isinstance(each, Attribution) for each in found)
        assert [row["source"] for row in rows] == [each.source for each in found]
        for row, each in zip(rows, found, strict=True):
            for key in ("distance", "margin", "probability"):
                assert float(row[key]) == pytest.approx(getattr(each, key), rel=1e-5)

    def test_grit(self, tmp_path):
        style = save_photo(tmp_path / "styles" / "b.png")
        labels = tmp_path / "labels" / "a.png"
        labels.parent.mkdir()
        Image.fromarray(pixels(20, 20, 1)[..., 0] % 19).save(labels)
        run = without_noise(trained("GRIT"), tmp_path / "run")  # so that there is one answer
        found = load(run)(labels, style)
        words = [f"--data.labels={labels.parent}", f"--data.styles={style.parent}"]
        run = predict(run, tmp_path, *words, "--trainer.callbacks=callbacks.TranslationWriter")
        written = np.asarray(Image.open(run / "translations" / "a__b.png"))
        assert isinstance(found, Translation)
        assert found.parts.keys() == {"reconstruction", "residual"}
        assert found.image.shape == (3, SIZE, SIZE)
        assert np.array_equal(written, (found.image * 255).round().byte().permute(1, 2, 0))

    @pytest.mark.parametrize("name", ["Detector", pytest.param("SparseDet", marks=pytest.mark.slow)])
    def test_detectors(self, name, tmp_path):
        photos = [save_photo(tmp_path / "photos" / f"{k}.png", 40 + 30 * k, 64, seed=k) for k in range(2)]
        alone = "--data.batch_size=1"  # a picture that is padded beside a larger one is seen a little differently
        run = predict(trained(name), tmp_path, f"--data.pictures={photos[0].parent}", DETECTIONS, alone)
        written = json.loads((run / "detections.json").read_text())
        for number, found in enumerate(load(trained(name))(photos)):
            expected = [each for each in written if each["file_name"] == f"{number}.png"]
            assert len(found) == len(expected) > 0
            assert found.scores.tolist() == pytest.approx([each["score"] for each in expected], abs=1e-4)
            x1, y1, x2, y2 = found.boxes.T
            boxes = torch.stack([x1, y1, x2 - x1, y2 - y1], 1)
            assert torch.allclose(boxes, torch.tensor([each["bbox"] for each in expected]), atol=0.02)
            assert found.names == [CLASSES[each["category_id"] - 1].name for each in expected]

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["DINO", "BEiT", "CLIP", "DenseContrastive", "MAE", "MoCo", "Supervised"])
    def test_supervised_vits(self, name, tmp_path):
        photo = save_photo(tmp_path / "photos" / "a.png", 90, 70)
        words = ["--data=ImageFolder", f"--data.root={photo.parent}", "--data.predict_size=128"]
        writer = ["--trainer.callbacks=callbacks.FeatureWriter", "--trainer.callbacks.dtype=float32"]
        run = predict(trained(name), tmp_path, *words, *writer)
        written = load_file(run / "features" / "a.png.safetensors")["features"]
        model = load(trained(name), longer_side=128)
        assert torch.equal(model(photo), written)
        if name != "DenseContrastive":  # whose data say how large photographs are
            assert load(trained(name)).inputs.longer_side == 128

    @pytest.mark.slow
    @needs_face_files
    def test_heads(self, tmp_path, shown):
        photo, talk = photograph(tmp_path / "me.png"), video_of(tmp_path / "talk.mp4", person(0))
        words = [f"--data.source={photo}", f"--data.driving={talk}", "--trainer.callbacks=callbacks.ReenactmentWriter"]
        predict(trained("LSR"), tmp_path, *words, "--trainer.callbacks.height=32")
        found = load(trained("LSR"))(photo, talk)
        assert np.array_equal(found.frames, shown)
        assert any("drawn faces only" in note for note in found.notes)
        assert torch.equal(load(trained("LSR"))(Image.open(photo), talk).frames, found.frames)

    @pytest.mark.slow
    @needs_face_files
    def test_one_person_does_not_stay_for_the_next(self, tmp_path):
        talk, model = video_of(tmp_path / "talk.mp4", person(0), sound=None), load(trained("LSR"))
        one, other = (model(picture(number), talk).frames for number in (1, 2))
        assert not torch.equal(one, other)
        assert torch.equal(model(picture(1), talk).frames, one)

    @pytest.mark.slow
    @needs_face_files
    @pytest.mark.parametrize("name", ["Diff2Lip", "Wav2Lip"])
    def test_dubbing(self, name, tmp_path, shown):
        talk, sound = video_of(tmp_path / "talk.mp4", person(0)), speech(tmp_path / "new.wav", 0.3)
        words = [f"--data.video={talk}", f"--data.audio={sound}", "--trainer.callbacks=callbacks.DubWriter"]
        predict(trained(name), tmp_path, *words)
        found = load(trained(name))(talk, sound)
        assert np.array_equal(found.frames, shown)
        assert found.sound == str(sound)
        assert found.save(tmp_path / "dubbed.mp4").stat().st_size > 0

    @pytest.mark.slow
    @needs_face_files
    def test_syncnet(self, tmp_path):
        talk = video_of(tmp_path / "clips" / "talk.mp4", person(0, 40))
        words = ["--data=datamodules.Clips", f"--data.root={talk.parent}", "--data.face_size=24"]
        run = predict(trained("SyncNet"), tmp_path, *words, "--trainer.callbacks=callbacks.SyncWriter")
        with (run / "sync.csv").open(newline="") as file:
            (row,) = csv.DictReader(file)
        found = load(trained("SyncNet"))(talk)
        assert isinstance(found, SyncResult)
        assert int(row["offset frames"]) == found.offset
        assert float(row["confidence"]) == pytest.approx(found.confidence, abs=1e-3)
        assert int(row["windows"]) == found.windows > 0


@pytest.fixture
def shown(monkeypatch):
    """Return the pictures that go into the films that are written, before they are compressed."""
    pictures = []
    write = PredictedFilm.write

    def kept(film, frames, batch, part):
        frames = list(frames)
        pictures.extend(frames)
        write(film, frames, batch, part)

    monkeypatch.setattr(PredictedFilm, "write", kept)
    return pictures


def without_noise(run: Path, copy: Path) -> Path:
    """Return a copy of a run of GRIT whose networks do not use their noise."""
    shutil.copytree(run, copy)
    path = copy / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    names = [name for name, module in load(run).module.named_modules() if type(module).__name__ == "NoiseInjection"]
    for name in names:
        checkpoint["state_dict"][f"{name}.weight"].zero_()
    assert names
    torch.save(checkpoint, path)
    return copy


class TestModel:
    def test_results_do_not_depend_on_what_else_is_in_the_list(self):
        model = load(trained("LiFT"))
        images = [pixels(30, 50), pixels(50, 30, seed=1), pixels(30, 50, seed=2), pixels(30, 50, seed=3)]
        alone = [model(image) for image in images]
        assert all(torch.equal(one, other) for one, other in zip(model(images), alone, strict=True))
        assert all(torch.equal(one, other) for one, other in zip(model(images[::-1]), alone[::-1], strict=True))
        model.batch_size = 3
        assert all(torch.allclose(one, other, atol=1e-4) for one, other in zip(model(images), alone, strict=True))

    def test_batches_are_no_larger_than_asked_for(self, monkeypatch):
        model, seen = load(trained("LiFT"), batch_size=2), []
        answers = type(model.module).answers
        spy = lambda module, batch: seen.append(len(batch["image"])) or answers(module, batch)  # noqa: E731
        monkeypatch.setattr(type(model.module), "answers", spy)
        assert len(model([pixels(30, 50)] * 5)) == 5
        assert seen == [2, 2, 1]

    def test_all_kinds_of_one_picture_have_one_answer(self, tmp_path):
        model, path = load(trained("LiFT")), save_photo(tmp_path / "a.png", 50, 30)
        image = Image.open(path)
        array = np.array(image)
        tensor = torch.from_numpy(array).permute(2, 0, 1)
        expected = model(path)
        for given in (str(path), image, array, array / 255, tensor, tensor / 255):
            assert torch.equal(model(given), expected)
        assert all(torch.equal(each, expected) for each in model(tensor.expand(2, -1, -1, -1)))

    def test_answers_may_be_trained_on(self):
        features = load(trained("LiFT"))(pixels(30, 50))
        layer = nn.Conv2d(len(features), 2, 1)
        layer(features[None]).sum().backward()
        assert layer.weight.grad is not None
        assert not features.requires_grad

    def test_the_module_is_as_it_was_and_may_be_trained_on(self):
        model = load(trained("LiFT"))
        model.module.train()
        model(pixels(30, 50))
        assert not model.module.block.training
        assert all(each.grad is None for each in model.module.parameters())
        assert any(each.requires_grad for each in model.module.parameters())

    def test_it_moves(self):
        model = load(trained("LiFT"), device="cpu")
        assert model.to("cpu") is model
        assert model.device == torch.device("cpu")
        assert model.to("meta").device.type == "meta"

    def test_a_tensor_on_another_device_is_named(self):
        model = load(trained("LiFT"))

        class Elsewhere(torch.Tensor):
            device = torch.device("cuda", 1)

        with pytest.raises(UserError, match=r"lies on cuda:1 and the model on cpu: give tensor\.cpu\(\)"):
            model([torch.zeros(3, 8, 8).as_subclass(Elsewhere)])

    def test_a_picture_that_the_network_does_not_take_is_named(self, tmp_path):
        model = load(trained("LiFT"), longer_side=None)
        path = save_photo(tmp_path / "tiny.png", 4, 4)
        with pytest.raises(UserError, match=r"the picture .*tiny\.png: an image of 4x4 pixels is smaller than a patch"):
            model([pixels(30, 30), path])

    def test_it_says_what_it_is(self):
        said = repr(load(trained("LiFT")))
        assert said.startswith("LiFT from ")
        assert "model(pictures) -> lifted features (C, 2h, 2w)" in said
        assert "model(labels, style, seed=None) -> Translation" in repr(load(trained("GRIT")))

    def test_too_many_or_too_few_inputs(self):
        with pytest.raises(UserError, match=r"LiFT is called as model\(pictures\)"):
            load(trained("LiFT"))()
        with pytest.raises(UserError, match=r"'style': GRIT is called as model\(labels, style, seed=None\)"):
            load(trained("GRIT"))(pixels(8, 8))

    def test_a_seed_decides_the_noise_of_every_image(self):
        model = load(trained("GRIT"))
        for module in model.module.modules():
            if type(module).__name__ == "NoiseInjection":
                module.weight.data.fill_(1)
        labels, style = pixels(8, 8, 1)[..., 0] % 19, pixels(8, 8)
        one, again, other = (model(labels, style, seed=seed).image for seed in (3, 3, 4))
        assert torch.equal(one, again)
        assert not torch.equal(one, other)
        model.batch_size = 4
        assert all(torch.equal(each.image, one) for each in model([labels] * 3, style, seed=3))
        assert not torch.equal(model(labels, style).image, model(labels, style).image)


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
            ("pytorch_lightning.LightningModule", "is no Method"),
        ],
    )
    def test_an_unknown_class(self, class_path, said, tmp_path):
        checkpoint = {"state_dict": {}, "global_step": 1, "loops": {}, MADE_OF: {"class_path": class_path}}
        torch.save(checkpoint, tmp_path / "a.ckpt")
        with pytest.raises(UserError, match=said):
            load(tmp_path / "a.ckpt")

    def test_an_untrained_attributor(self):
        model = load(trained("GANDiscovery"))
        model.module.attributor = None
        with pytest.raises(UserError, match="has finished no round"):
            model(pixels(8, 8))
