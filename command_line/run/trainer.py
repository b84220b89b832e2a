"""The Trainer of the command line: Lightning's, which also chooses the precision."""

from typing import Any, Literal

from lightning_fabric.plugins.precision.precision import _PRECISION_INPUT
from pytorch_lightning import Trainer

from visionscapes.precision import AUTO, Chosen, processor_abilities, processor_has_bfloat16, quick_precision


class HardwareTrainer(Trainer):
    """A ``pytorch_lightning.Trainer`` that takes "auto" as a precision.

    Args:
        arguments: those of Lightning's Trainer.
        precision: as there, or "auto": bf16-mixed where the hardware is quick in it, else 32-true.
        options: those of Lightning's Trainer.

    Attributes:
        chosen_precision: what "auto", or 16-mixed on a processor, came to, and why; None if the precision is as given.
        asked_precision: what was given.
    """

    chosen_precision: Chosen | None = None
    asked_precision: str = "32-true"

    def __init__(
        self, *arguments: Any, precision: _PRECISION_INPUT | Literal["auto"] | None = None, **options: Any
    ) -> None:
        self.asked_precision = str(precision)
        if precision == AUTO:
            self.chosen_precision = quick_precision(options.get("accelerator", "auto"))
            precision = self.chosen_precision.precision
        super().__init__(*arguments, precision=precision, **options)  # type: ignore[arg-type]
        if precision in ("16-mixed", "16", 16) and self.precision == "bf16-mixed":
            abilities = ", ".join(processor_abilities())
            speed = "has bfloat16" if processor_has_bfloat16() else "has no bfloat16 and is slow in it"
            reason = f"float16 is for GPUs, and this processor ({abilities}) {speed}"
            self.chosen_precision = Chosen("bf16-mixed", reason)
