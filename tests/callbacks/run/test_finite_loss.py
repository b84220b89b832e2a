import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins import MixedPrecision

from callbacks.run.checkpointing import Checkpointing
from callbacks.run.finite_loss import FiniteLoss, NonFiniteLossError
from tests.helpers.tiny import TinyData, TinyModule


def fit(tmp_path, module, every_n_steps=None, skips=20, **kwargs):
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_epochs=kwargs.pop("max_epochs", 3),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[FiniteLoss(every_n_steps, skips), Checkpointing()],
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


# ------------------------------------------------------------------------------------------- under float16's scaler


class Overflowing(TinyModule):
    """Its loss or its gradient is not finite in some batches, as if a number had left the range of float16."""

    def __init__(self, losses=(), gradients=(), value=float("inf")):
        super().__init__()
        self.bad_losses, self.bad_gradients, self.value, self.weights = losses, gradients, value, []

    def training_step(self, batch, batch_idx):
        self.weights.append(self.layer.weight.detach().clone())
        loss = super().training_step(batch, batch_idx)
        return loss * self.value if self._now() in self.bad_losses else loss

    def on_after_backward(self):
        if self._now() in self.bad_gradients:
            self.layer.weight.grad.fill_(self.value)

    def _now(self):
        return self.trainer.fit_loop.epoch_loop.total_batch_idx


def scaled(init_scale=256.0):
    return [MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale))]


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
@pytest.mark.parametrize("every_n_steps", [1, 50])
def test_a_step_that_the_scaler_skips_ends_nothing(tmp_path, every_n_steps, value):
    module = Overflowing(losses=[2], gradients=[5, 6], value=value)
    trainer = fit(tmp_path, module, every_n_steps, plugins=scaled())
    assert trainer.global_step == 12
    assert trainer.precision_plugin.scaler.get_scale() == 256 / 2**3
    stands = [batch for batch in range(11) if torch.equal(module.weights[batch], module.weights[batch + 1])]
    assert stands == [2, 5, 6]
    assert (tmp_path / "checkpoints" / "last.ckpt").is_file()


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_losses_that_stay_bad_under_a_scaler_end_the_run(tmp_path, value):
    module = Overflowing(losses=list(range(5, 100)), value=value)
    with pytest.raises(NonFiniteLossError, match=r"at training batch 5 and 3 after it .*--trainer.precision=32"):
        fit(tmp_path, module, skips=3, plugins=scaled())
    assert len(module.weights) == 9
    saved = [torch.load(path, weights_only=True)["global_step"] for path in tmp_path.glob("checkpoints/*.ckpt")]
    assert set(saved) == {8}, "skipped steps have left the weights of the second epoch as they were"


def test_a_series_begins_anew_after_a_good_loss(tmp_path):
    bad = [1, 2, 4, 5, 7, 8, 10, 11]
    assert fit(tmp_path, Overflowing(losses=bad), skips=2, plugins=scaled()).global_step == 12
    with pytest.raises(NonFiniteLossError, match="at training batch 1 and 1 after it"):
        fit(tmp_path, Overflowing(losses=bad), 50, skips=1, plugins=scaled())


@pytest.mark.parametrize("every_n_steps", [1, 50])
def test_gradients_that_stay_bad_although_the_loss_is_good_end_the_run(tmp_path, every_n_steps):
    """The scale is halved in vain: 8, 4, 2, 1, and in the sixth batch 0.5."""
    module = Overflowing(gradients=list(range(2, 100)))
    with pytest.raises(NonFiniteLossError, match=r"float16 does not suit.* halved down to 0\.(5|125)\."):
        fit(tmp_path, module, every_n_steps, plugins=scaled(init_scale=8.0))
    assert len(module.weights) == (6 if every_n_steps == 1 else 8)


def test_a_batch_norm_that_a_skipped_batch_has_spoilt_is_not_saved(tmp_path):
    class WithNorm(TinyModule):
        def __init__(self):
            super().__init__()
            self.norm = torch.nn.BatchNorm1d(4)

        def training_step(self, batch, batch_idx):
            overflow = float("inf") if self.global_step == 2 else 1.0
            return self.layer(self.norm(batch[0] * overflow)).square().mean()

    with pytest.raises(NonFiniteLossError, match=r"NaN after step 4 \(norm.running_"):
        fit(tmp_path, WithNorm(), limit_val_batches=0, plugins=scaled())
