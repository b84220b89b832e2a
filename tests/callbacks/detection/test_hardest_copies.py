import pytest
import torch
from pytorch_lightning.callbacks import ModelCheckpoint

from callbacks.detection.hardest_copies import HardestCopies
from callbacks.run.reproducible_steps import ReproducibleSteps
from datamodules import DetectionScenes
from lightning_modules import Detector, Gen2Det
from tests.helpers.generated_pictures import SIZE, write_generated
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.small_detectors import FPN, RETINA
from tests.lightning_modules.gen2det.cases import module
from visionscapes.errors import UserError

COPIES = 3


def scenes(path, batch_size=3, **synthetic):
    given = {"annotations": str(path), "probability": 0.5, "copies": "one"} | synthetic
    return DetectionScenes(
        scenes=6, test_scenes=2, image_size=SIZE, objects=[2, 4], batch_size=batch_size, synthetic=given
    )


def detector(config=FPN, kind=Gen2Det):
    return module(config, kind, optimizer="adamw", lr=0.01, warmup_steps=0, milestones=[])


class Watched(HardestCopies):
    """Notes what is shown in every epoch, and how hard all copies were at its end."""

    def __init__(self, **options):
        super().__init__(**options)
        self.shown, self.hardness = [], []

    def on_train_epoch_start(self, trainer, pl_module):
        super().on_train_epoch_start(trainer, pl_module)
        self.shown.append(trainer.datamodule.shown.files)

    def _measured(self, trainer, pl_module):
        modes = [each.training for each in pl_module.modules()]
        state = torch.get_rng_state()
        found = super()._measured(trainer, pl_module)
        assert [each.training for each in pl_module.modules()] == modes
        assert torch.equal(torch.get_rng_state(), state)
        self.hardness.append(found)
        return found


def fit(folder, path, callback, epochs, model=None, batch_size=3, ckpt_path=None, also=(), **options):
    callbacks = [ReproducibleSteps(), callback, *also]
    options = {"max_epochs": epochs, "limit_val_batches": 0, "use_distributed_sampler": False} | options
    trainer, model = quiet_trainer(folder, callbacks, **options), model or detector()
    trainer.fit(model, datamodule=scenes(path, batch_size), ckpt_path=ckpt_path)
    return trainer, model


def names(rows):
    return [f"{row // COPIES}-{row % COPIES}.png" for row in rows]


def test_the_hardest_copies_for_the_detector_as_it_is_are_shown_next(tmp_path):
    path = write_generated(tmp_path / "generated", count=9, copies=COPIES)
    callback = Watched()
    trainer, model = fit(tmp_path, path, callback, epochs=3)
    assert callback.shown[0] == names([0, 3, 6])
    for hardness, shown in zip(callback.hardness, callback.shown[1:], strict=True):
        assert shown == names([max(range(3 * k, 3 * k + 3), key=hardness.__getitem__) for k in range(3)])
    assert callback.hardness[0] != callback.hardness[1]
    last = callback._measured(trainer, model)
    model.eval()
    naive = [
        float(model.annotated_losses({key: [each[k]] for key, each in batch.items() if key != "task"})[0].mean())
        for batch in trainer.datamodule.copies_loader()
        for k in range(len(batch["image"]))
    ]
    assert last == pytest.approx(naive, rel=1e-4)


def test_how_many_pictures_are_shown_is_told(tmp_path, caplog):
    path = write_generated(tmp_path / "generated", count=9, copies=COPIES)
    fit(tmp_path, path, HardestCopies(), epochs=1)
    assert "3 of 9 generated pictures are shown, a copy of each" in caplog.text


def test_other_epochs_keep_what_is_shown(tmp_path):
    path = write_generated(tmp_path / "generated", count=9, copies=COPIES)
    callback = Watched(every_epochs=2)
    fit(tmp_path, path, callback, epochs=3)
    assert len(callback.hardness) == 1
    assert callback.shown[0] == callback.shown[1]
    again = HardestCopies()
    again.load_state_dict({"shown": callback.shown[2]})
    again.setup(None, None, "fit")
    assert again.state_dict() == {"shown": None}, "another training begins anew"


@pytest.mark.parametrize("steps", [2, 3, None])
def test_a_training_that_goes_on_is_the_one_that_was_not_interrupted(steps, tmp_path):
    """From the last step of an epoch of two, from the midst of the next one, and from the end of an epoch."""
    path = write_generated(tmp_path / "generated", count=9, copies=COPIES)
    whole, resumed = Watched(), Watched()
    when = {"every_n_epochs": 1, "save_on_train_epoch_end": True} if steps is None else {"every_n_train_steps": steps}
    kept = ModelCheckpoint(tmp_path / "kept", "{step}", save_top_k=-1, **when)
    trainer, _ = fit(tmp_path, path, whole, epochs=3, also=[kept], enable_checkpointing=True)
    assert len(set(map(tuple, whole.shown))) > 1
    checkpoint = tmp_path / "kept" / f"step={steps or 2}.ckpt"
    other, model = fit(tmp_path, path, resumed, epochs=3, ckpt_path=str(checkpoint))
    assert other.global_step == trainer.global_step == 6
    assert resumed.hardness == whole.hardness[1 if steps == 3 else 0 :]
    assert resumed.shown[-1] == whole.shown[-1]
    ours, theirs = model.state_dict(), trainer.lightning_module.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def on_two(rank, folder, path):
    callback = Watched()
    fit(folder, path, callback, epochs=2, batch_size=1, devices=2, strategy="ddp")
    torch.save((callback.hardness, callback.shown), folder / f"{rank}.pt")


@pytest.mark.slow
def test_two_processes_choose_alike(tmp_path):
    path = write_generated(tmp_path / "generated", count=9, copies=COPIES)
    two_processes(on_two, tmp_path, path)
    one, other = (torch.load(tmp_path / f"{rank}.pt") for rank in range(2))
    assert one == other
    assert len(one[0][0]) == 9
    assert one[1][1] == names([max(range(3 * k, 3 * k + 3), key=one[0][0].__getitem__) for k in range(3)])


def test_what_does_not_go_together_is_told(tmp_path):
    path = write_generated(tmp_path / "generated", count=9, copies=COPIES)
    for synthetic in ({"copies": "all"}, {"annotations": None}):
        trainer = quiet_trainer(tmp_path, [HardestCopies()], limit_val_batches=0)
        with pytest.raises(UserError, match=r"--data\.synthetic\.copies=one"):
            trainer.fit(detector(), datamodule=scenes(path, **synthetic))
    single = write_generated(tmp_path / "single", count=3)
    with pytest.raises(UserError, match=r"nothing to choose from, for every real picture has a single copy"):
        fit(tmp_path, single, HardestCopies(), 1)
    with pytest.raises(UserError, match="Detector does not say what single objects cost it: take --model=Gen2Det"):
        fit(tmp_path, path, HardestCopies(), 1, detector(kind=Detector))
    with pytest.raises(UserError, match="RetinaNet has no head for the boxes of proposals"):
        fit(tmp_path, path, HardestCopies(), 1, detector(RETINA))
    with pytest.raises(UserError, match=r"HardestCopies\.every_epochs is 0"):
        HardestCopies(0)


def test_other_pictures_than_before_are_told(tmp_path):
    path = write_generated(tmp_path / "generated", count=9, copies=COPIES)
    trainer, _ = fit(tmp_path, path, HardestCopies(), 2)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    others = write_generated(tmp_path / "others", count=8, copies=2)
    with pytest.raises(UserError, match="the generated pictures are not those that this training was begun with"):
        fit(tmp_path, others, HardestCopies(), 3, ckpt_path=str(tmp_path / "half.ckpt"))
