"""A Trainer on one processor that prints, keeps and logs nothing."""

from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, Trainer


def quiet_trainer(folder: Path | str, callbacks: list[Callback], **options: Any) -> Trainer:
    """Return a Trainer of one epoch.

    Args:
        folder: the run folder.
        callbacks: the only ones.
        options: of the Trainer, in place of the defaults here.
    """
    defaults = {
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    return Trainer(default_root_dir=folder, callbacks=callbacks, **{**defaults, **options})
