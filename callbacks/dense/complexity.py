"""What each method costs: parameters and multiply-accumulates."""

from collections.abc import Callable
from pathlib import Path

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from typing_extensions import override

from callbacks.dense.evaluation import check_methods, dense_features_of
from callbacks.results.presentation import MetricKind, Presentation
from callbacks.results.result import Result, write_results
from networks.complexity import macs, parameter_count, thesis_macs
from visionscapes.checks import ImageSizes, check_options

GIGA = 1e9


class Complexity(Callback):
    """Writes the number of parameters, and the cost of one image, of every method's dense features after a test.

    The rows of results/complexity.csv have the metrics "parameters (M)" (10^6), "GMACs" (what is computed, in 10^9
    multiply-accumulates) and "GMACs (thesis)" (the convention of tables 8.5 and 8.6; see ``networks.complexity``).

    Args:
        image_sizes: sides of the square images in pixels.
        methods: which of the module's dense features to count; all if None.

    Raises:
        UserError: an option is out of its bounds.
    """

    protocol = "complexity"
    presentation = Presentation("Cost", MetricKind("lower", digits=".3f"), ranked=False)

    def __init__(self, image_sizes: ImageSizes = [224], methods: list[str] | None = None):  # noqa: B006 (never changed)
        check_options(Complexity, locals())
        self.image_sizes, self.methods = list(image_sizes), methods
        self.results: list[Result] = []

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        check_methods(pl_module, self.methods)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        counts: dict[str, Callable[[nn.Module, Tensor], float]] = {
            "parameters (M)": lambda features, _: parameter_count(features) / 1e6,
            "GMACs": lambda features, image: macs(features, image) / GIGA,
            "GMACs (thesis)": lambda features, image: thesis_macs(features, image) / GIGA,
        }
        self.results = []
        for method, features in dense_features_of(pl_module, self.methods).items():
            for size in self.image_sizes:
                image = torch.zeros(1, 3, size, size, device=pl_module.device)
                for name, count in counts.items():
                    value = count(features, image)
                    self.results.append(
                        Result(self.protocol, name, method, image_size=size, value=value, standard_error=0.0, count=1)
                    )
                    pl_module.log(f"{self.protocol}/{name}/{method}@{size}", value, sync_dist=False)
        if trainer.is_global_zero:
            write_results(self.results, Path(trainer.default_root_dir) / "results" / f"{self.protocol}.csv")
