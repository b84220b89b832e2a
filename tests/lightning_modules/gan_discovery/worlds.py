"""A world of sources that is small enough for tests, and trainings on it."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from callbacks.run.checkpointing import Checkpointing
from callbacks.run.reproducible_steps import ReproducibleSteps
from callbacks.source_discovery.stage_files import StageFiles
from datamodules.sources.world import SourceWorld
from lightning_modules.gan_discovery.module import GANDiscovery
from lightning_modules.gan_discovery.rounds import Round
from visionscapes.renamed_options import with_new_names

SMALL = {"backbone": "test_resnet", "hidden": 16, "dim": 16, "most_classes": 64, "hashes": 64, "lr": 1e-3, "k": 8}
FAST = {"rounds": 2, "epochs": 2, "epochs_later": 2, "tau": 2, "epsilon": 0.0, "seed": 0, "percentile": 0.1}
FAST["max_negatives"] = 1  # as many as a cluster has members, or so small ones would be predicted negative as a whole


class Told(pl.Callback):
    """Remembers the rounds that it is told of."""

    def __init__(self) -> None:
        self.rounds: list[Round] = []

    def on_round_end(self, trainer: Any, pl_module: Any, round: Round) -> None:
        self.rounds.append(round)


def world(**options: Any) -> SourceWorld:
    """Return four real sources to know, and twelve sources with six pictures each to discover."""
    chosen: dict[str, Any] = {"images": 6, "discovery_images": 6, "image_size": 16, "batch_size": 8} | options
    return SourceWorld(**{"setting": "gans_0", **chosen})


def module(**options: Any) -> GANDiscovery:
    """Return a small module; options may stand outside their groups, for brevity."""
    return GANDiscovery(**with_new_names("GANDiscovery", {**SMALL, **FAST, **options}))


def trainer(folder: Path, *callbacks: pl.Callback, **options: Any) -> pl.Trainer:
    own = [ReproducibleSteps(0), Checkpointing(), StageFiles()]
    return pl.Trainer(
        **{
            "default_root_dir": folder,
            "accelerator": "cpu",
            "devices": 1,
            "max_epochs": -1,
            "logger": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "use_distributed_sampler": False,
            "callbacks": [*callbacks, *own],
            **options,
        }
    )


def fit(folder: Path, ckpt_path: Path | None = None, data: Any = None, **options: Any) -> tuple[GANDiscovery, Told]:
    """Train in a folder; returns the module and what its rounds gave."""
    pl.seed_everything(0, verbose=False)
    trained, told = module(**options), Told()
    trainer(folder, told).fit(trained, datamodule=data or world(), ckpt_path=ckpt_path)
    return trained, told
