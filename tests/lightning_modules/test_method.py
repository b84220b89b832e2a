import shutil
from importlib import import_module

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_modules.detector import Detector
from lightning_modules.grit.module import GRIT
from lightning_modules.lift.module import LiFT
from lightning_modules.method import MADE_OF, Method, class_path_of, made_as
from lightning_modules.supervision.visual_tokens import Codebook, CodebookFile, KMeansTokens
from networks.vit_features import ViTFeatures
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.tiny_vit import MODEL, TINY_64
from tests.helpers.trained_runs import QUICK, trained
from visionscapes.errors import UserError

OF_SETS = {"LayoutInpainting", "GeneratedPictureFilter"}  # which work through sets of training pictures in files
PARTS = {"BoxDiffusionTraining"}  # which leave a network that others use
NAMES = [name for name in import_module("lightning_modules").EXPORTS if name not in OF_SETS | PARTS]
UNTRAINED = {"ViTAnalysis", "Copying"}  # which learn nothing, and have no checkpoints
TRAINED = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in NAMES if name not in UNTRAINED
]


def alone(run, folder):
    """Return a copy of a run's checkpoint beside which there is nothing."""
    return shutil.copy(run / "checkpoints" / "last.ckpt", folder / "alone.ckpt")


def lift(**options) -> LiFT:
    return LiFT(ViTFeatures(MODEL, weights=None, model_args=TINY_64), **options)


def saved(module, path):
    trainer = quiet_trainer(path.parent, [])
    trainer.strategy.connect(module)
    trainer.save_checkpoint(path)
    return path


@pytest.mark.parametrize("name", NAMES)
def test_every_module_says_what_it_takes_and_gives(name):
    cls = getattr(import_module("lightning_modules"), name)
    assert issubclass(cls, Method)
    assert cls.gives
    package, _, inputs = cls.takes.rpartition(".")
    assert getattr(import_module(package), inputs)()


@pytest.mark.parametrize("name", TRAINED)
def test_a_checkpoint_is_enough(name, tmp_path, monkeypatch):
    run, cls = trained(name), getattr(import_module("lightning_modules"), name)
    path = alone(run, tmp_path)
    monkeypatch.chdir(tmp_path)
    module = cls.load_from_checkpoint(path)
    checkpoint = torch.load(path, weights_only=True)
    state = module.state_dict()
    assert type(module) is cls
    assert checkpoint["state_dict"]
    assert all(torch.equal(state[key], value) for key, value in checkpoint["state_dict"].items())
    told = checkpoint[MADE_OF]["class_path"]
    package, _, called = told.rpartition(".")
    assert getattr(import_module(package), called) is cls


def test_what_was_made_in_python_comes_back_alone(tmp_path):
    module = lift(distance="l1")
    module.backbone.vit.load_state_dict(torch.load(vit_file(module, tmp_path), weights_only=True))
    module.backbone.options["weights"] = str(tmp_path / "vit.pt")
    found = LiFT.load_from_checkpoint(saved(module, tmp_path / "one.ckpt"))
    image = torch.rand(1, 3, 64, 64)
    assert found.hparams["distance"] == "l1"
    assert torch.equal(found.predict_step({"image": image}, 0), module.predict_step({"image": image}, 0))


def vit_file(module, folder):
    torch.save(module.backbone.vit.state_dict(), folder / "vit.pt")
    return folder / "vit.pt"


def test_an_earlier_checkpoint_is_read_in_its_run_folder_and_nowhere_else(tmp_path):
    run = trained("LiFT")
    copy = tmp_path / "run"
    (copy / "checkpoints").mkdir(parents=True)
    checkpoint = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    del checkpoint[MADE_OF]
    torch.save(checkpoint, copy / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match="did not keep how its backbone is made: leave it in its run folder"):
        LiFT.load_from_checkpoint(copy / "checkpoints" / "last.ckpt")
    shutil.copy(run / "cli_config.yaml", copy)
    assert LiFT.load_from_checkpoint(copy / "checkpoints" / "last.ckpt").backbone.dim == 128


def test_a_file_of_a_network_that_is_gone_is_named(tmp_path):
    module = lift()
    module.backbone.options["weights"] = str(tmp_path / "gone.pt")
    with pytest.raises(UserError, match=r"backbone of the checkpoint .* cannot be made again: .*gone\.pt"):
        LiFT.load_from_checkpoint(saved(module, tmp_path / "one.ckpt"))


def test_files_that_the_training_started_from_may_be_gone(tmp_path):
    module = lift()
    path = saved(module, tmp_path / "one.ckpt")
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["hyper_parameters"]["weights"] = "gone.safetensors"
    torch.save(checkpoint, path)
    assert LiFT.load_from_checkpoint(path, backbone=module.backbone).hparams["weights"] is None


def test_a_loaded_module_predicts_under_a_trainer(tmp_path):
    module = lift()
    found = LiFT.load_from_checkpoint(saved(module, tmp_path / "one.ckpt"), backbone=module.backbone)
    loader = DataLoader([{"image": torch.rand(1, 3, 64, 64)}], batch_size=None)
    trainer = quiet_trainer(tmp_path, [])
    assert len(trainer.predict(found, loader)) == 1
    with pytest.raises(UserError, match="untrained"):
        trainer.predict(module, loader)


def test_the_class_is_told_by_the_file_or_by_the_run_folder(tmp_path):
    run = trained("LiFT")
    path = run / "checkpoints" / "last.ckpt"
    checkpoint = torch.load(path, weights_only=True)
    assert class_path_of(checkpoint, tmp_path / "x.ckpt") == "lightning_modules.lift.module.LiFT"
    assert class_path_of({"hyper_parameters": {"_class_path": "a.B"}}, tmp_path / "x.ckpt") == "a.B"
    assert class_path_of({}, path) == "lightning_modules.LiFT"
    assert class_path_of({}, tmp_path / "x.ckpt") is None


class TestRefusals:
    """What ``load_from_checkpoint`` says of what cannot be loaded: in one line, with what to do."""

    @pytest.fixture(scope="class")
    def lift_run(self):
        return trained("LiFT")

    @pytest.fixture
    def last(self, lift_run):
        return lift_run / "checkpoints" / "last.ckpt"

    @pytest.mark.parametrize(
        ("option", "said"),
        [
            ({"lrr": 0.5}, r"^LiFT has no option lrr: did you mean lr\?$"),
            ({"nonsense": 1}, "^LiFT has no option nonsense: it has backbone, .*lr"),
            ({"lr": "a"}, r"LiFT\.lr is 'a'; it has to be a number, above 0"),
            ({"lr": -1}, r"LiFT\.lr is -1; it has to be above 0"),
        ],
    )
    def test_options(self, last, option, said):
        with pytest.raises(UserError, match=said):
            LiFT.load_from_checkpoint(last, **option)
        assert LiFT.load_from_checkpoint(last, "cpu", strict=True, lr=0.5).hparams["lr"] == 0.5

    def test_options_of_groups(self):
        path = trained("GRIT") / "checkpoints" / "last.ckpt"
        with pytest.raises(UserError, match=r"GRIT\.optimizer has no option lrr: it has .*lr"):
            GRIT.load_from_checkpoint(path, optimizer={"lrr": 0.5})
        with pytest.raises(UserError, match="GRIT has no option lambda_glob: did you mean"):
            GRIT.load_from_checkpoint(path, lambda_glob=0.5)
        assert GRIT.load_from_checkpoint(path, lr=0.5).hparams["optimizer"]["lr"] == 0.5, "as it was called first"

    @pytest.mark.parametrize("kept", [0.0, 0.5, 0.999])
    def test_a_file_that_was_cut_off(self, last, kept, tmp_path):
        path, content = tmp_path / "a.ckpt", last.read_bytes()
        path.write_bytes(content[: int(kept * len(content))])
        with pytest.raises(UserError, match=r"a\.ckpt is incomplete or damaged: give another one of its run"):
            LiFT.load_from_checkpoint(path)
        with (
            path.open("rb") as file,
            pytest.raises(UserError, match=r"open file .*a\.ckpt is no checkpoint, is damaged"),
        ):
            LiFT.load_from_checkpoint(file)

    def test_an_open_file_is_a_checkpoint(self, last):
        with last.open("rb") as file:
            found = LiFT.load_from_checkpoint(file)
        expected = LiFT.load_from_checkpoint(last).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())

    def test_places(self, lift_run, last, tmp_path):
        (tmp_path / "weights.ckpt").write_bytes(b"")
        torch.save({"a": torch.zeros(2)}, tmp_path / "weights.ckpt")
        for place, said in (
            (lift_run, rf"there is no checkpoint '{lift_run}': give {last}$"),
            (lift_run / "checkpoints", rf"give {last}$"),
            (tmp_path, "give <run folder>/checkpoints/last.ckpt"),
            (tmp_path / "gone.ckpt", "there is no checkpoint .*gone.ckpt"),
            (tmp_path / "weights.ckpt", "no checkpoint of a module: it has no state_dict"),
            ("x" * 5000, "has 5000 characters"),
            ("https://example.org/a.ckpt", "is an address"),
            (None, "is of class NoneType: give <run folder>"),
        ):
            with pytest.raises(UserError, match=said):
                LiFT.load_from_checkpoint(place)

    def test_the_checkpoint_of_another_module(self, last, tmp_path):
        said = r"is a checkpoint of LiFT, not of GRIT: call LiFT\.load_from_checkpoint, or visionscapes\.load"
        with pytest.raises(UserError, match=said):
            GRIT.load_from_checkpoint(last)
        with last.open("rb") as file, pytest.raises(UserError, match=said):
            GRIT.load_from_checkpoint(file)

        class Mine(LiFT):
            pass

        module = lift()
        assert type(Mine.load_from_checkpoint(saved(module, tmp_path / "a.ckpt"), backbone=module.backbone)) is Mine

    def test_a_checkpoint_that_does_not_say_its_options(self, tmp_path):
        torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
        said = r"does not say config, without .*Detector\.load_from_checkpoint\(path, config=\.\.\.\)"
        with pytest.raises(UserError, match=said):
            Detector.load_from_checkpoint(tmp_path / "a.ckpt")

    def test_options_that_do_not_fit_the_weights(self, tmp_path):
        path = trained("GRIT") / "checkpoints" / "last.ckpt"
        said = r"do not fit GRIT as its options make it: .*Give no other options"
        base = torch.load(path, weights_only=True)["hyper_parameters"]["generator"]["base"]
        with pytest.raises(UserError, match=said):
            GRIT.load_from_checkpoint(path, generator={"base": 2 * base})
        with pytest.raises(UserError, match=r"GRIT: .*lambda_rec"):
            GRIT.load_from_checkpoint(path, lambda_rec="much")
        torch.save({"state_dict": {}}, tmp_path / "a.ckpt")
        with pytest.raises(UserError, match=said):
            GRIT.load_from_checkpoint(tmp_path / "a.ckpt", image_size=128, generator={"base": base})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["Diff2Lip", "Wav2Lip", "Detector", "LSRFineTuning"])
def test_files_of_the_training_are_not_needed(name, tmp_path):
    cls, path = getattr(import_module("lightning_modules"), name), alone(trained(name), tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    options = checkpoint["hyper_parameters"]
    gone = {
        "Diff2Lip": lambda: options["audio"].update(syncnet="gone.safetensors"),
        "Wav2Lip": lambda: options["audio"].update(syncnet="gone.safetensors"),
        "Detector": lambda: options.update(config="gone.py", backbone_weights="gone.safetensors"),
        "LSRFineTuning": lambda: options.update(weights="gone.safetensors"),
    }
    gone[name]()
    torch.save(checkpoint, path)
    module = cls.load_from_checkpoint(path)
    state = module.state_dict()
    assert all(torch.equal(state[key], value) for key, value in checkpoint["state_dict"].items())
    assert "/tmp" not in str(module.hparams.get("audio"))
    assert module.hparams.get("config", "gone.py") == "gone.py"


def test_a_codebook_of_a_file_comes_back_without_the_file(tmp_path):
    learned = KMeansTokens(2, vocabulary=4, samples=8)
    torch.save({"centres": learned.centres}, tmp_path / "centres.pt")
    tokens = CodebookFile(str(tmp_path / "centres.pt"), normalise_patches=False)
    assert made_as(tokens) is Codebook
    again = Codebook(**tokens.options)
    again.load_state_dict(tokens.state_dict())
    assert torch.equal(again.centres, tokens.centres)
    assert not again.normalise_patches
    assert made_as(learned) is KMeansTokens
    assert KMeansTokens(**learned.options).samples == 8
