"""How many samples a step of the optimiser sees, over all processes, and how many the recipe has."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from callbacks.run.run_record import RunRecord
from visionscapes.checks import PositiveInt, check_options


class GlobalBatch(Callback):
    """Says at the start of training in one line what the global batch is, and warns where the recipe has another.

    Args:
        recipe: samples of a step in the recipe that is trained by; unknown if None.
        source: where that stands.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(self, recipe: PositiveInt | None = None, source: str = ""):
        check_options(GlobalBatch, locals())
        self.recipe, self.source = recipe, source
        self.figures: dict[str, Any] = {}

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        batch = batch_of(trainer.train_dataloader)
        if batch is None:
            return
        # Of a module that steps by itself Lightning knows nothing.
        accumulated = trainer.accumulate_grad_batches * getattr(pl_module, "accumulate", 1)
        self.figures = {
            "batch": batch,
            "processes": trainer.world_size,
            "accumulated": accumulated,
            "global_batch": batch * trainer.world_size * accumulated,
            "recipe_batch": self.recipe,
        }
        for record in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(record, RunRecord):
                record.add({"batch": self.figures})
        if trainer.is_global_zero:
            print(line_of(self.figures, self.source), flush=True)


def line_of(figures: Mapping[str, Any], source: str) -> str:
    """Return the line that tells of the figures of a `GlobalBatch`.

    Args:
        figures: "batch", "processes", "accumulated", "global_batch" and, perhaps None, "recipe_batch".
        source: where the batch of the recipe stands.
    """
    processes, accumulated = figures["processes"], figures["accumulated"]
    parts = f"{figures['batch']} x {processes} process{'es' * (processes != 1)}"
    parts += f" x {accumulated} accumulated" * (accumulated != 1)
    line, recipe = f"global batch {figures['global_batch']} ({parts})", figures["recipe_batch"]
    if recipe is None:
        return f"{line}; the configuration names no recipe's"
    if recipe == figures["global_batch"]:
        return f"{line}, that of {source}"
    return (
        f"warning: {line}, where {source} has {recipe}; to train as it does, choose --data.batch_size, the samples of "
        "one process, to match"
    )


def batch_of(loaders: Any) -> int | None:
    """Return the samples of a batch of one process, None where loaders do not say.

    Args:
        loaders: a loader, or several in lists and dictionaries, of which each gives its part of a batch.
    """
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    if isinstance(loaders, list | tuple):
        sizes = [size for each in loaders if (size := batch_of(each)) is not None]
        return sum(sizes) if sizes and len(sizes) == len(loaders) else None
    sampler = getattr(loaders, "batch_sampler", None)
    size = getattr(loaders, "batch_size", None) or getattr(sampler, "batch_size", None)
    return size if isinstance(size, int) else None
