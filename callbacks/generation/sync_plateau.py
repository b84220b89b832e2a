"""A line that says that a SyncNet still knows nothing, and for how long that is usual."""

import math
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from visionscapes.checks import PositiveInt, check_options

USUAL_UNTIL = 150_000  # steps: what the authors of Wav2Lip report for LRS2, 150,000 to 200,000, with batches of 64
SIGMAS = 3.0  # standard errors, over clips, that a figure has to be away from chance


class SyncPlateau(Callback):
    """Says after a validation whether accuracy or AUC are better than chance, as long as they are not.

    The first phase of a SyncNet that judges pairs lies at ln 2 = 0.693, and its loss does not tell a training that will
    leave it from one that will not. Figures count as better than chance from three standard errors on, which
    ``val/accuracy_error`` and ``val/auc_error`` say. The line comes at the first validation after ``after_steps``,
    again each time that the steps have doubled, and once more when the plateau is left.

    Args:
        after_steps: optimiser steps before which nothing is said.

    Raises:
        UserError: ``after_steps`` is below 1.
    """

    def __init__(self, after_steps: PositiveInt = 100):
        check_options(SyncPlateau, locals())
        self.after_steps = after_steps
        self._next, self._told, self._left = after_steps, False, False

    @override
    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        figures = {name: float(value) for name, value in trainer.callback_metrics.items() if name.startswith("val/")}
        if trainer.state.fn != "fit" or trainer.sanity_checking or "val/auc" not in figures or self._left:
            return
        step = trainer.global_step
        if better_than_chance(figures):
            self._left = True
            if self._told:
                pl_module.print(f"step {step}: the plateau is left, {_figures(figures)}")
        elif step >= self._next:
            self._told, self._next = True, 2 * step
            pl_module.print(still_at_chance(step, figures, getattr(pl_module, "objective", "pair")))

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"next": self._next, "told": self._told, "left": self._left}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._next, self._told, self._left = state_dict["next"], state_dict["told"], state_dict["left"]


def better_than_chance(figures: dict[str, float]) -> bool:
    """Return whether accuracy or AUC, "val/<name>", exceed one half by three of their errors, "val/<name>_error"."""
    return any(
        figures[f"val/{name}"] - SIGMAS * figures.get(f"val/{name}_error", math.nan) > 0.5
        for name in ("accuracy", "auc")
    )


def still_at_chance(step: int, figures: dict[str, float], objective: str) -> str:
    """Return the line about a run that knows nothing yet."""
    line = f"step {step}: still at chance, {_figures(figures)}"
    if objective == "pair":
        usual = (
            f"normal with the pair loss until about step {USUAL_UNTIL:,} of batches of 64 (Wav2Lip)"
            if step < USUAL_UNTIL
            else f"longer than the {USUAL_UNTIL:,} steps that Wav2Lip's took: look at the offsets of the clips"
        )
        return f"{line}: {usual}; --model.objective=contrastive_then_pair leaves it sooner"
    return (
        f"{line}: not usual with a contrastive start beyond some hundred steps; look whether sound and pictures of the "
        "clips fit, and at --model.lr"
    )


def _figures(figures: dict[str, float]) -> str:
    named = {"accuracy": "accuracy", "auc": "AUC"}
    parts = [
        f"{shown} {figures[f'val/{name}']:.3f} ± {SIGMAS * figures.get(f'val/{name}_error', math.nan):.3f}"
        for name, shown in named.items()
    ]
    return f"BCE {figures.get('val/bce', math.nan):.3f}, {', '.join(parts)}"
