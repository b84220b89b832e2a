from contextlib import suppress
from types import SimpleNamespace

import pytest
import torch
from pytorch_lightning import Callback

from callbacks.run.frozen_features import FrozenFeatures
from callbacks.run.reproducible_steps import ReproducibleSteps
from datamodules.dense.scene_world import SceneWorld
from datamodules.images.image_folder import ImageFolder
from lightning_modules.lift.module import LiFT
from networks.vit_features import ViTFeatures
from tests.helpers.full_disk import largest_file
from tests.helpers.image_files import save_photos
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.tiny_vit import MODEL, TINY
from visionscapes.errors import UserError

pytestmark = pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and logging


@pytest.fixture(autouse=True)
def one_thread():
    """Several threads deal the rows of so small a batch among them, and its last bits depend on who got which."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class CountedViT(ViTFeatures):
    """Counts the images that it is asked about in training and validation steps."""

    def __init__(self):
        torch.manual_seed(0)
        super().__init__(MODEL, weights=None, model_args=TINY)
        self.asked = SimpleNamespace(images=0)  # no plain value, which would belong to the network's digest

    def forward(self, images):
        self.asked.images += len(images)
        return super().forward(images)


class Killed(BaseException):
    """What ends a run without a chance to clean up."""


class KillAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_train_batch_end(self, trainer, pl_module, *_):
        if trainer.global_step == self.step:
            raise Killed


class SaveEach(Callback):
    def on_train_batch_end(self, trainer, pl_module, *_):
        trainer.save_checkpoint(f"{trainer.default_root_dir}/step.ckpt")


def world(**options):
    sizes = {"image_size": 32, "image_sizes": [32], "batch_size": 4, "held_out": 4, "tasks": ["images"]}
    return SceneWorld(**{"scenes": 9, "crops": 0, **sizes, **options})


def fit(folder, *callbacks, data=None, ckpt_path=None, downscale="antialias", **options):
    """Return a LiFT module trained for three epochs, and what its backbone saw."""
    torch.manual_seed(1)
    module = LiFT(CountedViT(), downscale=downscale)
    (folder / "run").mkdir(parents=True, exist_ok=True)
    trainer = quiet_trainer(folder / "run", [ReproducibleSteps(0), *callbacks], **{"max_epochs": 3, **options})
    with suppress(Killed):
        trainer.fit(module, datamodule=data or world(), ckpt_path=ckpt_path, weights_only=True)
    return module, trainer


def files(folder):
    return sorted((folder / ".features").glob("*")) if (folder / ".features").exists() else []


def state(module):
    return {**module.block.state_dict(), **module.trainer.callback_metrics}


def assert_equal(one, other):
    assert state(one).keys() == state(other).keys()
    assert [key for key, value in state(one).items() if not torch.equal(value, state(other)[key])] == []


@pytest.mark.parametrize(
    "options",
    [
        {"downscale": "antialias"},
        {"precision": "bf16-mixed"},
        {"precision": "bf16-true", "downscale": "decimate"},
        {"downscale": "decimate"},
    ],
    ids=str,
)
def test_same_weights_and_figures_and_every_image_is_seen_once(tmp_path, options):
    plain, _ = fit(tmp_path / "a", FrozenFeatures("never"), **options)
    kept, _ = fit(tmp_path / "b", FrozenFeatures("always"), **options)
    again, _ = fit(tmp_path / "b", FrozenFeatures(), **options)
    assert_equal(plain, kept)
    assert_equal(plain, again)
    assert files(tmp_path / "a") == []
    assert len(files(tmp_path / "b")) == 2  # images to train on, images held out
    # Three scales; two batches an epoch, one held out, and the sanity check before.
    assert plain.backbone.asked.images == 3 * (3 * (8 + 4) + 4)
    assert kept.backbone.asked.images == 3 * (
        4 + 12 + 4 + 4 + 4
    )  # each part's few to compare, 9 images in batches of 4
    assert again.backbone.asked.images == 3 * (4 + 4 + 4)


@pytest.mark.parametrize(
    ("step", "before", "after"),
    [(1, "always", "always"), (2, "always", "never"), (3, "never", "always"), (5, "always", "always")],
)
def test_a_killed_run_goes_on_with_or_without(tmp_path, step, before, after):
    whole, _ = fit(tmp_path / "whole", FrozenFeatures("never"))
    fit(tmp_path / "a", FrozenFeatures(before), SaveEach(), KillAt(step))
    resumed, trainer = fit(tmp_path / "a", FrozenFeatures(after), ckpt_path=tmp_path / "a" / "run" / "step.ckpt")
    assert trainer.global_step == 6
    assert_equal(whole, resumed)


def test_killed_while_it_writes(tmp_path, monkeypatch):
    whole, _ = fit(tmp_path / "whole", FrozenFeatures("never"))
    forward, calls = CountedViT.forward, []

    def killed(self, images):
        calls.append(images)
        if len(calls) == 3 * 4:
            raise Killed
        return forward(self, images)

    monkeypatch.setattr(CountedViT, "forward", killed)
    fit(tmp_path / "a", FrozenFeatures())
    assert len(calls) == 12
    assert files(tmp_path / "a") == []
    monkeypatch.undo()
    assert_equal(whole, fit(tmp_path / "a", FrozenFeatures("always"))[0])


def test_a_damaged_file_is_written_anew(tmp_path):
    whole, _ = fit(tmp_path, FrozenFeatures("always"))
    for path in files(tmp_path):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    again, _ = fit(tmp_path, FrozenFeatures("always"))
    assert_equal(whole, again)
    assert again.backbone.asked.images == whole.backbone.asked.images


def test_features_of_another_machine_are_written_anew(tmp_path, monkeypatch):
    """A whole file whose numbers differ in the last bits from what is computed here."""
    forward = CountedViT.forward
    monkeypatch.setattr(CountedViT, "forward", lambda self, images: forward(self, images) * (1 + 1e-6))
    fit(tmp_path, FrozenFeatures("always"))
    monkeypatch.undo()
    assert_equal(fit(tmp_path / "plain", FrozenFeatures("never"))[0], fit(tmp_path, FrozenFeatures("always"))[0])


def test_other_images_weights_and_settings_have_other_files(tmp_path):
    fit(tmp_path, FrozenFeatures("always"), max_epochs=2)
    fit(tmp_path, FrozenFeatures("always"), max_epochs=2, data=world(seed=1))
    assert len(files(tmp_path)) == 4
    fit(tmp_path, FrozenFeatures("always"), max_epochs=2, data=world(seed=1, batch_size=2))
    assert len(files(tmp_path)) == 4


def test_features_that_depend_on_the_batch_are_not_kept(tmp_path, monkeypatch, caplog):
    forward = CountedViT.forward
    monkeypatch.setattr(CountedViT, "forward", lambda self, images: forward(self, images - images.mean()))
    with caplog.at_level("INFO"):
        kept, _ = fit(tmp_path, FrozenFeatures())
    assert "depend on the batch" in caplog.text
    assert_equal(fit(tmp_path / "plain", FrozenFeatures("never"))[0], kept)
    with pytest.raises(UserError, match="depend on the batch"):
        fit(tmp_path, FrozenFeatures("always"))


def test_no_room(tmp_path, caplog):
    plain, _ = fit(tmp_path / "plain", FrozenFeatures("never"))
    with caplog.at_level("INFO"):
        assert_equal(plain, fit(tmp_path / "a", FrozenFeatures(limit=1e-6))[0])
        with largest_file(1000):
            assert_equal(plain, fit(tmp_path / "b", FrozenFeatures())[0])
    assert "do not fit into FrozenFeatures.limit" in caplog.text
    assert "cannot be kept" in caplog.text
    assert files(tmp_path / "a") == files(tmp_path / "b") == []
    with pytest.raises(UserError, match="do not fit"):
        fit(tmp_path / "a", FrozenFeatures("always", limit=1e-6))


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / ".features").write_text("a file")
    plain, _ = fit(tmp_path / "plain", FrozenFeatures("never"))
    assert_equal(plain, fit(tmp_path, FrozenFeatures())[0])


def test_augmented_images_are_seen_every_time(tmp_path, caplog):
    save_photos(tmp_path / "photos", 8)

    def photos(**options):
        return ImageFolder(str(tmp_path / "photos"), image_size=32, batch_size=2, num_workers=0, **options)

    for options in ({}, {"color_jitter": False, "flip": True}, {"color_jitter": False, "crop": "random"}):
        with pytest.raises(UserError, match="others in every epoch"):
            fit(tmp_path, FrozenFeatures("always"), data=photos(**options))
    with caplog.at_level("INFO"):
        fit(tmp_path, FrozenFeatures(), data=photos())
    assert "others in every epoch cannot be kept: they are computed at every step" in caplog.text
    assert files(tmp_path) == []
    plain, _ = fit(tmp_path, FrozenFeatures("never"), data=photos(color_jitter=False))
    assert_equal(plain, fit(tmp_path, FrozenFeatures("always"), data=photos(color_jitter=False))[0])
    assert len(files(tmp_path)) == 2


def test_a_datamodule_that_shows_other_images_than_it_says_is_told(tmp_path):
    class Jittered(SceneWorld):
        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch | {"image": batch["image"] * 0.9}

    sizes = {"image_size": 32, "image_sizes": [32], "batch_size": 4, "held_out": 4, "tasks": ["images"]}
    with pytest.raises(UserError, match=r"repeated_images\(\) are not those of its batches"):
        fit(tmp_path, FrozenFeatures(), data=Jittered(scenes=9, crops=0, **sizes))


@pytest.mark.parametrize(
    "options", [{"max_epochs": 1}, {"max_steps": 3}, {"fast_dev_run": 2}, {"limit_train_batches": 1}]
)
def test_runs_that_see_no_image_twice_write_nothing(tmp_path, options):
    fit(tmp_path, FrozenFeatures(), **{**options, "max_epochs": options.get("max_epochs", 3)})
    assert files(tmp_path) == []


def test_modules_without_frozen_features(tmp_path):
    from tests.helpers.resume_module import ResumeData, ResumeModule

    trainer = quiet_trainer(tmp_path, [FrozenFeatures()])
    trainer.fit(ResumeModule(), ResumeData())
    with pytest.raises(UserError, match=r"has no frozen features, which FrozenFeatures.when=always asks for"):
        quiet_trainer(tmp_path, [FrozenFeatures("always")]).fit(ResumeModule(), ResumeData())


def of_two_processes(rank, folder, when):
    options = {"devices": 2, "strategy": "ddp", "use_distributed_sampler": False}
    module, _ = fit(folder, FrozenFeatures(when), data=world(batch_size=2, scenes=8), **options)
    torch.save(state(module), folder / f"{when}-{rank}.pt")


@pytest.mark.slow
def test_two_processes_share_a_file_and_get_the_same(tmp_path):
    for when in ("never", "always"):
        two_processes(of_two_processes, tmp_path, when)
    for rank in (0, 1):
        plain, kept = (torch.load(tmp_path / f"{when}-{rank}.pt") for when in ("never", "always"))
        assert all(torch.equal(plain[key], kept[key]) for key in plain)
    assert len(files(tmp_path)) == 2
