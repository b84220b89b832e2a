"""The Trainer of the command line: Lightning's, which also chooses the precision."""

from typing import Any, Literal

from lightning_fabric.plugins.precision.precision import _PRECISION_INPUT
from pytorch_lightning import Trainer

from visionscapes.precision import AUTO, Chosen, quick_precision


class HardwareTrainer(Trainer):
    """A ``pytorch_lightning.Trainer`` that takes "auto" as a precision.

    Args:
        arguments: those of Lightning's Trainer.
        precision: as there, or "auto": bf16-mixed where the hardware is quick in it, else 32-true.
        options: those of Lightning's Trainer.

    Attributes:
        chosen_precision: what "auto" came to, and why; None if a precision was given.
    """

    chosen_precision: Chosen | None = None

    def __init__(
        self, *arguments: Any, precision: _PRECISION_INPUT | Literal["auto"] | None = None, **options: Any
    ) -> None:
        if precision == AUTO:
            self.chosen_precision = quick_precision(options.get("accelerator", "auto"))
            precision = self.chosen_precision.precision
        super().__init__(*arguments, precision=precision, **options)  # type: ignore[arg-type]
