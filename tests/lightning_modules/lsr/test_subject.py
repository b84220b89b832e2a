from copy import deepcopy
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.core.mixins.hparams_mixin import _given_hyperparameters_context
from torch.utils.data import DataLoader

from lightning_modules.lsr.fine_tuning import FineTuningOptions, fine_tune
from lightning_modules.lsr.subject import LSRFineTuning, shots_of
from tests.lightning_modules.lsr.cases import OneSubject, batch_of, fit, loader_of, lsr, lsr_fine_tuning, subject_of
from visionscapes.errors import UserError

FEW = {"steps": 6, "lr": 1e-4, "check_every": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A checkpoint of LSR."""
    path = tmp_path_factory.mktemp("lsr") / "last.ckpt"
    fit(lsr(seed=1), loader_of(4)).save_checkpoint(path)
    return str(path)


def train(module, count=3, **options):
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(**quiet | {"enable_checkpointing": False, "max_epochs": -1} | options)
    trainer.fit(module, datamodule=OneSubject(count))
    return trainer


def test_it_is_the_fine_tuning_of_predictions(trained):
    """Step by step the same, by the Trainer's loop and without one."""
    module = lsr_fine_tuning(weights=trained, finetune=FEW)
    start = deepcopy(module)
    trainer = train(module)
    assert trainer.global_step == 2 * 6
    start.call_experts()
    found = fine_tune(
        start.generator,
        start.discriminator,
        OneSubject(3).known,
        objective=start.objective(),
        adversarial=start.adversarial,
        options=FineTuningOptions(**FEW),
    )
    ours, theirs = module.shown.state_dict(), found.network.state_dict()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-6) for name in theirs)
    assert float(module.kept_distance) == pytest.approx(min(found.distances.values()), rel=1e-5)


def test_generators_and_discriminator_learn_and_nothing_else(trained):
    module = lsr_fine_tuning(weights=trained, finetune=FEW)
    before = deepcopy(module.state_dict())
    assert torch.equal(
        before["generator.style.first.weight"], torch.load(trained)["state_dict"]["generator.style.first.weight"]
    )
    train(module, 1)
    moved = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    learned = {
        name
        for name in before
        if name.startswith(("generator.layout.predictor.", "generator.image.", "discriminator."))
    }
    assert {name for name in moved if not name.startswith("kept")} == learned


def test_steps_are_counted_whatever_the_length_of_an_epoch(trained):
    assert train(lsr_fine_tuning(weights=trained), 1).global_step == 2 * 24
    assert train(lsr_fine_tuning(weights=trained, finetune=FEW), max_steps=4).global_step == 4
    assert train(lsr_fine_tuning(weights=trained, finetune=FEW), max_epochs=1).global_step == 6


def test_no_steps(trained):
    module = lsr_fine_tuning(weights=trained, finetune={"steps": 0})
    assert train(module).global_step == 0
    first = lsr(seed=1)
    first.load_state_dict(torch.load(trained)["state_dict"])
    shots, drawings, drawing = torch.rand(3, 2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    assert torch.equal(module.reenact(shots, drawings, drawing).images, first.reenact(shots, drawings, drawing).images)


def test_what_was_left_by_no_step_is_trained_further(trained, tmp_path):
    module = lsr_fine_tuning(weights=trained, finetune={"steps": 0})
    train(module).save_checkpoint(tmp_path / "last.ckpt")
    again = LSRFineTuning.load_from_checkpoint(tmp_path / "last.ckpt", finetune=FEW)
    assert train(again).global_step == 2 * 6


def test_results_are_called_fine_tuned(trained):
    module = lsr_fine_tuning(weights=trained, evaluation={"shots": (3,)})
    (name, made), *others = module.test_step(subject_of(), 0).items()
    assert (name, made.fine_tuned, others) == ("K = 3, fine-tuned", True, [])


def test_what_was_best_goes_on_from_a_checkpoint(trained, tmp_path):
    whole, first = (lsr_fine_tuning(weights=trained, finetune=FEW) for _ in range(2))
    train(whole)
    train(first, max_steps=6).save_checkpoint(tmp_path / "half.ckpt")
    second = LSRFineTuning.load_from_checkpoint(tmp_path / "half.ckpt")
    trainer = pl.Trainer(
        max_epochs=-1, logger=False, enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False
    )
    trainer.fit(second, datamodule=OneSubject(3), ckpt_path=tmp_path / "half.ckpt")
    ours, theirs = second.state_dict(), whole.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_its_checkpoint_goes_on_without_the_file_it_started_from(trained, tmp_path):
    start = tmp_path / "start.ckpt"
    start.write_bytes(Path(trained).read_bytes())
    module = lsr_fine_tuning(weights=str(start), finetune=FEW)
    train(module, max_steps=6).save_checkpoint(tmp_path / "half.ckpt")
    start.unlink()
    again = LSRFineTuning.load_from_checkpoint(tmp_path / "half.ckpt")
    assert all(torch.equal(each, again.state_dict()[name]) for name, each in module.state_dict().items())
    assert train(again).global_step == 2 * 6, "trained further, from what it has"


def test_a_network_that_knew_drawn_faces_only_still_does(trained, tmp_path):
    content = torch.load(trained)
    torch.save(content | {"trained_on_drawn": True}, tmp_path / "drawn.ckpt")
    module = lsr_fine_tuning(weights=str(tmp_path / "drawn.ckpt"), finetune=FEW)
    train(module, max_steps=2).save_checkpoint(tmp_path / "last.ckpt")
    assert module.trained_on_drawn is True
    assert LSRFineTuning.load_from_checkpoint(tmp_path / "last.ckpt").trained_on_drawn is True


def test_there_has_to_be_something_to_start_from(trained):
    with pytest.raises(UserError, match=r"starts from a trained LSR.*--model\.weights"):
        train(lsr_fine_tuning())
    with pytest.raises(UserError, match="do not say how many"):
        fit(lsr_fine_tuning(weights=trained), loader_of(2))
    with pytest.raises(UserError, match=r"those of 2: give --data\.batch_size=1"):
        shots_of(batch_of(2))


def test_it_takes_one_person_and_no_other(trained):
    class Several(OneSubject):
        def train_dataloader(self):
            batches = super().train_dataloader().dataset
            return DataLoader(
                [each | {"name": [name]} for each, name in zip(batches, "aab", strict=True)], batch_size=None
            )

    module = lsr_fine_tuning(weights=trained, finetune=FEW)
    with pytest.raises(UserError, match=r"those of \['a'\] and of \['b'\]: take a datamodule for one"):
        pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, accelerator="cpu").fit(module, Several(3))


def test_what_is_fine_tuned_is_not_fine_tuned_again(trained):
    """Both results would be called the same."""
    module = lsr_fine_tuning(weights=trained, evaluation={"shots": (3,), "finetune": True})
    with pytest.raises(UserError, match=r"fine-tuned already: take LSR.*--model\.evaluation\.finetune=false"):
        module.test_step(subject_of(), 0)


def test_weights_without_a_discriminator_or_of_another_size(trained, tmp_path):
    path = tmp_path / "without.ckpt"
    fit(lsr(losses={"lambda_gan": 0.0}), loader_of(2)).save_checkpoint(path)
    with pytest.raises(UserError, match=r"holds no discriminator.*--model\.losses\.lambda_gan=0"):
        lsr_fine_tuning(weights=str(path))
    lsr_fine_tuning(weights=str(path), losses={"lambda_gan": 0.0})
    with pytest.raises(UserError, match=r"images of 16 pixels.*--model\.image_size=16"):
        lsr_fine_tuning(weights=trained, image_size=24)


def test_its_options_are_its_own():
    module = lsr_fine_tuning(finetune={"lambda_id": 0.0, "lr": 0.5})
    assert not {"optimizer", "layout_weights"} & module.hparams.keys()
    assert module.optimizer.lr == 0.5
    assert module.optimizer.clip == 1.0


def test_the_command_line_gives_the_options_of_this_class_alone():
    """LightningCLI saves what it was given in place of what constructors save."""
    with _given_hyperparameters_context({"image_size": 16}, "pytorch_lightning.cli.instantiate_module"):
        module = lsr_fine_tuning()
    assert dict(module.hparams)["image_size"] == 16
