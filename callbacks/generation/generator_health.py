"""Whether the generator makes use of its noise, and how training went."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from torch.optim.swa_utils import AveragedModel
from typing_extensions import override

from callbacks.generation.evaluation import report
from callbacks.results.presentation import NEUTRAL, Presentation
from callbacks.results.result import Result

_TRAINING = "train/"


class GeneratorHealth(Callback):
    """Mean absolute weight of the noise in every layer that takes some, and the last figures of training.

    A reconstruction loss on the output drives the weights to zero, where the generator is deterministic (thesis
    5.3.3). After every epoch of training they are logged as ``health/noise weight/<layer>``. At the test they are rows
    of protocol "health", metric "noise weight", a layer a method and "mean" the mean of the layers; what the module has
    logged last as ``train/<name>`` follows as metric <name>, method "training". Weights that are averages of others
    (EMA) are left out. Every process computes the same.
    """

    protocol = "health"
    presentation = Presentation("Health of the training", NEUTRAL, ranked=False)

    def __init__(self) -> None:
        self.results: list[Result] = []
        self._training: dict[str, float] = {}

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for layer, weight in noise_weights(pl_module).items():
            pl_module.log(f"{self.protocol}/noise weight/{layer}", weight, sync_dist=False)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        logged = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith(_TRAINING)}
        # Of a figure that Lightning logs every step and every epoch there are three names.
        doubled = {f"{name}{suffix}" for name in logged for suffix in ("_step", "_epoch")}
        plain = {name: value for name, value in logged.items() if name not in doubled}
        self._training = {name.removeprefix(_TRAINING): value for name, value in plain.items()}

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        weights = noise_weights(pl_module)
        if weights:
            weights["mean"] = sum(weights.values()) / len(weights)
        figures = [("noise weight", layer, weight) for layer, weight in weights.items()]
        figures += [(name, "training", value) for name, value in self._training.items()]
        size, nan = _image_size(trainer), float("nan")
        self.results = [
            Result(self.protocol, metric, method, image_size=size, value=value, standard_error=nan, count=1)
            for metric, method, value in figures
        ]
        if self.results:
            report(self.results, self.protocol, trainer, pl_module)

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"training": self._training}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._training = dict(state_dict["training"])


def noise_weights(module: nn.Module) -> dict[str, float]:
    """Return the mean absolute weight of the noise by the name of its layer, in order, without averaged models."""
    from networks.gan.noise import NoiseInjection

    averaged = [f"{name}." for name, each in module.named_modules() if isinstance(each, AveragedModel)]
    return {
        name: float(torch.cat([weight.detach().abs().flatten() for weight in layer.parameters()]).mean())
        for name, layer in module.named_modules()
        if isinstance(layer, NoiseInjection) and not name.startswith(tuple(averaged))
    }


def _image_size(trainer: Trainer) -> int:
    """Return the side of the images as the datamodule says it, 0 where it does not."""
    return int(getattr(getattr(trainer, "datamodule", None), "image_size", 0) or 0)
