import pytest
import torch
from pytorch_lightning import Trainer

from callbacks.run.configured_optimizer import ConfiguredOptimizer
from tests.helpers.tiny import TinyData, TinyModule


class Scheduled(TinyModule):
    def configure_optimizers(self):
        optimizer = super().configure_optimizers()
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)]


def fit(tmp_path, module, epochs, callbacks=(), ckpt_path=None):
    trainer = Trainer(
        default_root_dir=tmp_path,
        accelerator="cpu",
        max_epochs=epochs,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    trainer.fit(module, datamodule=TinyData(), ckpt_path=ckpt_path)
    trainer.save_checkpoint(tmp_path / "saved.ckpt")
    return trainer.optimizers[0]


@pytest.mark.parametrize(("module", "decay"), [(TinyModule, 1.0), (Scheduled, 0.5)])
def test_learning_rate_of_the_configuration(tmp_path, module, decay):
    assert fit(tmp_path, module(lr=0.5), 2).param_groups[0]["lr"] == 0.5 * decay**2
    saved = str(tmp_path / "saved.ckpt")
    assert fit(tmp_path, module(lr=0.1), 3, ckpt_path=saved).param_groups[0]["lr"] == 0.5 * decay**3, "Lightning alone"
    fit(tmp_path, module(lr=0.5), 2)
    optimizer = fit(tmp_path, module(lr=0.1), 3, [ConfiguredOptimizer()], saved)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.1 * decay**3)
    assert optimizer.state, "the moments of the checkpoint are kept"


def test_nothing_changes_without_a_checkpoint(tmp_path):
    assert fit(tmp_path, TinyModule(lr=0.2), 1, [ConfiguredOptimizer()]).param_groups[0]["lr"] == 0.2
