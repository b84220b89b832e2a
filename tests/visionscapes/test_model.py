"""What a loaded model answers: what ``predict`` writes, whatever it is given and whatever else is in the list."""

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
from callbacks.generation.film_writer import PredictedFilm
from datamodules.procedural.scenes.object_classes import CLASSES
from tests.helpers.dubbing import person, speech, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import photograph, picture
from tests.helpers.image_files import pixels, save_photo
from tests.helpers.runs import ROOT
from tests.helpers.trained_runs import QUIET, trained
from visionscapes.errors import UserError
from visionscapes.loading import load
from visionscapes.results import Attribution, SyncResult, Translation

DETECTIONS = "--trainer.callbacks=callbacks.DetectionWriter"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def predict(run: Path, folder: Path, *words: str) -> Path:
    """Run ``predict`` on the checkpoint of a run as it was configured; return the run folder."""
    command = ["predict", f"--config={run / 'cli_config.yaml'}", f"--ckpt_path={run}", f"--runs_dir={folder / 'runs'}"]
    return cli.main([*command, *QUIET, "--trainer.limit_predict_batches=null", *words]).run_folder


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
        assert found.image.shape == (3, 20, 20)  # of the label map
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

    def test_an_untrained_attributor(self):
        model = load(trained("GANDiscovery"))
        model.module.attributor = None
        with pytest.raises(UserError, match="has finished no round"):
            model(pixels(8, 8))
