"""What every run has beside what its configuration asks for."""

import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback
from pytorch_lightning.callbacks import ProgressBar, RichProgressBar
from pytorch_lightning.plugins import CheckpointIO, LayerSync

from callbacks.detection.detection_writer import DetectionWriter
from callbacks.run.averaged_weights import AveragedWeights
from callbacks.run.checkpointing import SafeCheckpointIO
from callbacks.run.configured_optimizer import ConfiguredOptimizer
from callbacks.run.exact_batch_norm import ExactBatchNorm
from callbacks.run.finite_loss import FiniteLoss
from callbacks.run.frozen_features import FrozenFeatures
from callbacks.run.global_batch import GlobalBatch
from callbacks.run.interruption import Interruption
from callbacks.run.known_monitors import KnownMonitors
from callbacks.run.progress_lines import ProgressLines
from callbacks.run.reproducible_steps import ReproducibleSteps
from callbacks.run.requeue import Requeue
from callbacks.run.run_record import RunRecord
from callbacks.source_discovery.stage_files import StageFiles
from command_line.run.job import is_rank_zero
from command_line.run.recipe import recipe_batch
from visionscapes.files import write_text


def with_plugins(chosen: Sequence[Any]) -> list[Any]:
    """Return the plugins of a run: checkpoints that are whole and safe to read, and exact batch norm, unless chosen."""
    plugins = list(chosen)
    if not any(isinstance(plugin, CheckpointIO) for plugin in plugins):
        plugins.append(SafeCheckpointIO())
    if not any(isinstance(plugin, LayerSync) for plugin in plugins):
        plugins.append(ExactBatchNorm())
    return plugins


def with_callbacks(
    chosen: Sequence[Callback], record: RunRecord, *, files: Sequence[str], progress: bool, reconfigured: bool
) -> list[Callback]:
    """Return the callbacks of a run: those chosen, between those that have to come first and last.

    Args:
        chosen: by the configuration; one of a standard class takes the place of the standard one.
        record: of the run.
        files: the configuration files, which say what batch the recipe has.
        progress: whether the run tells how far it is.
        reconfigured: whether it goes on from a checkpoint of other options.
    """
    standard: list[Callback] = [record, ReproducibleSteps(), FrozenFeatures(), FiniteLoss(), AveragedWeights()]
    standard += [KnownMonitors(), StageFiles(), DetectionWriter(), GlobalBatch(*recipe_batch(list(files)))]
    if reconfigured:
        standard.append(ConfiguredOptimizer())
    if progress and not any(isinstance(each, ProgressBar) for each in chosen):
        standard.append(RichProgressBar() if sys.stdout.isatty() else ProgressLines())
    classes = {type(each) for each in chosen}
    # The last two are the last to hear of an exception: they save, when the others are ready for that.
    return [*(each for each in standard if type(each) not in classes), *chosen, Interruption(), Requeue()]


def place_wandb(folder: Path) -> None:
    """Have W&B write into the run folder, under the run's name, and go on with the same W&B run after a resume.

    Runs of a sweep are its group already; others are grouped by method.
    """
    os.environ.setdefault("WANDB_DIR", str(folder))
    os.environ.setdefault("WANDB_NAME", f"{folder.parent.name}/{folder.name}")
    if "WANDB_SWEEP_ID" not in os.environ:
        os.environ.setdefault("WANDB_RUN_GROUP", folder.parent.name)
    if is_rank_zero(os.environ) and "WANDB_RUN_ID" not in os.environ:
        file = folder / "wandb_run_id"
        if not file.exists():
            write_text(file, uuid.uuid4().hex[:12])
        os.environ["WANDB_RUN_ID"] = file.read_text()
