"""A value that is watched and never logged ends a run early, with the name that was probably meant."""

import pytest
import torch
from pytorch_lightning.callbacks import EarlyStopping

from callbacks.run.checkpointing import Checkpointing
from callbacks.run.known_monitors import KnownMonitors, UnknownMonitorError
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.tiny import TinyData, TinyModule


def fit(tmp_path, watching, module=None, **options):
    callbacks = [KnownMonitors(), watching]
    trainer = quiet_trainer(tmp_path, callbacks=callbacks, max_epochs=2, enable_checkpointing=True, **options)
    trainer.fit(module or TinyModule(), TinyData())
    return trainer


def stopping(monitor):
    return EarlyStopping(monitor)


def checkpointing(monitor):
    return Checkpointing(monitor=monitor)


@pytest.mark.parametrize("watching", [stopping, checkpointing])
def test_another_spelling_is_told_before_the_first_step(tmp_path, watching):
    module = TinyModule()
    with pytest.raises(
        UnknownMonitorError, match=r"'val_loss', which is not logged: did you mean val/loss\?"
    ) as caught:
        fit(tmp_path, watching("val_loss"), module, num_sanity_val_steps=1)
    assert module.trainer.global_step == 0
    name = "--checkpoint.monitor" if watching is checkpointing else "the monitor of EarlyStopping"
    assert str(caught.value).startswith(name)


@pytest.mark.parametrize("watching", [stopping, checkpointing])
@pytest.mark.parametrize("interval", [1.0, 0.5])
def test_an_unknown_one_is_told_after_the_first_validation(tmp_path, watching, interval):
    module = TinyModule()
    with pytest.raises(UnknownMonitorError, match=r"which is not logged; logged are train/loss, val/loss"):
        fit(tmp_path, watching("nothing at all"), module, num_sanity_val_steps=1, val_check_interval=interval)
    assert 0 < module.trainer.global_step <= 4


def test_without_a_validation_the_first_epoch_tells(tmp_path):
    with pytest.raises(UnknownMonitorError, match=r"did you mean train/loss\?"):
        fit(tmp_path, stopping("train_loss"), limit_val_batches=0)


@pytest.mark.parametrize("monitor", ["val/loss", "train/loss"])
@pytest.mark.parametrize("watching", [stopping, checkpointing])
def test_what_is_logged_is_welcome(tmp_path, watching, monitor):
    assert fit(tmp_path, watching(monitor), num_sanity_val_steps=1).global_step == 8


def test_a_value_of_a_later_validation_is_waited_for(tmp_path):
    checkpoints = Checkpointing(monitor="val/loss", every_n_epochs=2)
    assert fit(tmp_path, checkpoints, num_sanity_val_steps=0, check_val_every_n_epoch=2).global_step == 8


class Plateau(TinyModule):
    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), 0.1)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}


def test_learning_rates_watch_too(tmp_path):
    with pytest.raises(UnknownMonitorError, match=r"monitor of ReduceLROnPlateau is 'val_loss'.*did you mean val/loss"):
        fit(tmp_path, Checkpointing(), Plateau(), num_sanity_val_steps=1)
