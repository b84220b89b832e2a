"""Batch norms that do not notice how many processes share the batch."""

from pytorch_lightning import LightningModule
from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from typing_extensions import override

from networks.batch_norm import GlobalBatchNorm


class ExactBatchNorm(TorchSyncBatchNorm):
    """Normalises over the global batch while fitting under DDP: with ``nn.SyncBatchNorm`` on GPUs, else with ours.

    A plugin of the Trainer. Without it every process normalises with the statistics of its own batch, and two
    processes do not give the result of one with the same global batch.
    """

    def __init__(self) -> None:
        self._originals: dict[GlobalBatchNorm, _BatchNorm] = {}

    @override
    def apply(self, model: nn.Module) -> nn.Module:
        """Put synchronised layers in the place of the batch norms of ``model``."""
        assert isinstance(model, LightningModule)
        if model.trainer.strategy.root_device.type == "cuda":
            return super().apply(model)
        for parent in list(model.modules()):
            for name, layer in parent.named_children():
                if isinstance(layer, _BatchNorm) and not isinstance(layer, GlobalBatchNorm):
                    shared = GlobalBatchNorm.sharing(layer)
                    self._originals[shared] = layer
                    setattr(parent, name, shared)
        return model

    @override
    def revert(self, model: nn.Module) -> nn.Module:
        """Put the batch norms back."""
        for parent in list(model.modules()):
            for name, layer in parent.named_children():
                if isinstance(layer, GlobalBatchNorm) and layer in self._originals:
                    setattr(parent, name, self._originals.pop(layer).train(layer.training))
        return super().revert(model)
