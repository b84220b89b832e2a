import pytest
import torch
from pytorch_lightning import Trainer

from callbacks.run.checkpointing import Checkpointing
from callbacks.run.finite_loss import FiniteLoss, NonFiniteLossError
from tests.helpers.tiny import TinyData, TinyModule


def fit(tmp_path, module, every_n_steps, **kwargs):
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_epochs=3,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[FiniteLoss(every_n_steps), Checkpointing()],
        **kwargs,
    )
    trainer.fit(module, datamodule=TinyData())
    return trainer


def test_silent_while_losses_are_finite(tmp_path):
    assert fit(tmp_path, TinyModule(), None).global_step == 12


@pytest.mark.parametrize("every_n_steps", [None, 1, 50])
def test_names_the_first_bad_batch_and_saves_nothing_after_it(tmp_path, every_n_steps):
    """Looking seldom finds the bad loss later, at the next checkpoint, but never after it."""
    with pytest.raises(NonFiniteLossError, match="batch 5 "):
        fit(tmp_path, TinyModule(bad_step=5), every_n_steps)
    saved = [torch.load(path, weights_only=True) for path in tmp_path.glob("checkpoints/*.ckpt")]
    assert {each["global_step"] for each in saved} == {4}
    assert all(weight.isfinite().all() for each in saved for weight in each["state_dict"].values())


def test_the_bad_update_is_prevented_on_one_process(tmp_path):
    module = TinyModule(bad_step=2)
    with pytest.raises(NonFiniteLossError):
        fit(tmp_path, module, 1)
    assert all(weight.isfinite().all() for weight in module.parameters())


def test_weights_that_are_nan_with_a_finite_loss_are_not_saved(tmp_path):
    """A gradient can be NaN where the loss is not, and the last update before a checkpoint has shown no loss yet."""

    class BadGradient(TinyModule):
        def on_after_backward(self):
            if self.global_step == 3:
                self.layer.weight.grad.fill_(float("nan"))

    with pytest.raises(NonFiniteLossError, match="weights are NaN after step 4"):
        fit(tmp_path, BadGradient(), 50, limit_val_batches=0)
    assert not list(tmp_path.glob("checkpoints/*.ckpt"))
