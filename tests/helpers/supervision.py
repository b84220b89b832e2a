"""A module trained on one batch for a few steps by a real Trainer."""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from networks.vit_features import create_vit
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.tiny_vit import MODEL, TINY


class _Losses(Callback):
    """Keeps the loss of every step."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *_: Any) -> None:
        self.losses.append(outputs["loss"].item())


def fit(module: LightningModule, batch: dict[str, Any], steps: int, folder: Path) -> tuple[list[float], dict[str, Any]]:
    """Return the losses of ``steps`` on one batch, and the checkpoint as plain tensors and values."""
    recorder = _Losses()
    trainer = quiet_trainer(folder, [recorder], max_epochs=None, max_steps=steps)
    trainer.fit(module, DataLoader([batch] * steps, batch_size=None))
    trainer.save_checkpoint(folder / "last.ckpt")
    return recorder.losses, torch.load(folder / "last.ckpt", weights_only=True)


def assert_backbone(module: LightningModule, images: Tensor) -> None:
    """Load what a module keeps into a new ViT, strictly, and compare its class tokens with the module's."""
    vit = create_vit(MODEL, None, TINY)
    vit.load_state_dict(module.backbone_state(), strict=True)
    network = module.network.eval()
    with torch.no_grad():
        tokens = vit.eval().forward_features((images - network.mean) / network.std)
        torch.testing.assert_close(tokens[:, 0], network(images)[0])
