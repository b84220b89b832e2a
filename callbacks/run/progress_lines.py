"""What a run is at, as a line of text at least every ten seconds, for files and pipes."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import ProgressBar
from torch import Tensor
from typing_extensions import override

from visionscapes.progress import amount, duration, is_due, restart_clock, say, seconds_until_due


class ProgressLines(ProgressBar):
    """Prints epoch, step, loss, speed and time left, where a bar would leave one endless line or none.

    A line comes at the end of a batch where that is soon enough, otherwise from a thread, which tells how long the work
    between two batches takes: an evaluation, clusters, a checkpoint.
    """

    def __init__(self) -> None:
        super().__init__()
        self._enabled = True
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._phase, self._counted, self._values = "starting", "", ""
        self._began = self._window_began = time.monotonic()
        self._done = self._window_done = 0
        self._total: float = 0
        self._began_after_first = self._began
        self._start: tuple[float, float] | None = None  # time and share of the training done when it began

    @property
    def is_enabled(self) -> bool:
        """Whether it prints; a module's own ``print`` asks for it."""
        return self._enabled

    @override
    def disable(self) -> None:
        self._enabled = False

    @override
    def enable(self) -> None:
        self._enabled = True

    @override
    def print(self, *args: Any, sep: str = " ", **kwargs: Any) -> None:
        if self._enabled:
            say(sep.join(str(each) for each in args))

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        self._enter("starting")
        if self._enabled and self._thread is None:
            restart_clock()
            self._ended.clear()
            self._thread = threading.Thread(target=self._watch, name="progress", daemon=True)
            self._thread.start()

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self.teardown(trainer, pl_module, "")

    @override
    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._enter("preparing validation")  # how many batches there are is known when it starts

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start = time.monotonic(), self._share(trainer)

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._enter(_epoch(trainer), "step", self.total_train_batches)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        if self._counted != "step":  # a validation within the epoch is over
            self._enter(_epoch(trainer), "step", self.total_train_batches)
        self._done = batch_idx

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._done, self._window_done = batch_idx + 1, self._window_done + 1
        if self._is_due():
            self._values = self._read_values(trainer, pl_module, outputs)
            self._say(trainer)

    @override
    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._enter(f"end of {_epoch(trainer)}")

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._enabled:
            self._values = self._read_values(trainer, pl_module, None)
            values = f", {self._values}" if self._values else ""
            say(f"trained {trainer.global_step} steps, {_epoch(trainer)}{values}")
        self._enter("end of training")

    @override
    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if trainer.sanity_checking:
            self._enter("validating a few batches before training", "batch", _sum(trainer.num_sanity_val_batches))
        else:
            self._enter("validation", "batch", _sum(trainer.num_val_batches))

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._enter("test", "batch", _sum(trainer.num_test_batches))

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._enter("prediction", "batch", _sum(trainer.num_predict_batches))

    @override
    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._done, self._window_done = self._done + 1, self._window_done + 1
        if self._done == 1:  # what comes before the first batch, as looking for faces, does not come again
            self._began_after_first = time.monotonic()
        if self._is_due():
            self._say(trainer)

    on_test_batch_end = on_validation_batch_end
    on_predict_batch_end = on_validation_batch_end

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._enter("evaluating")

    on_test_epoch_end = on_validation_epoch_end

    @override
    def on_predict_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._enter("writing predictions")

    def _enter(self, phase: str, counted: str = "", total: float = 0) -> None:
        self._phase, self._counted, self._total = phase, counted, total
        self._done = self._window_done = 0
        self._began = self._window_began = time.monotonic()

    def _is_due(self) -> bool:
        return self._enabled and is_due()

    def _watch(self) -> None:
        while not self._ended.wait(max(0.05, seconds_until_due())):
            if seconds_until_due() <= 0:
                self._say(self.trainer)

    def _say(self, trainer: Trainer) -> None:
        now = time.monotonic()
        if not self._counted:
            say(f"{self._phase}, {duration(now - self._began)} so far")
            return
        words = [f"{self._phase}, {self._counted} {amount(self._done, self._total)}"]
        if self._counted == "step" and self._values:
            words.append(self._values)
        if self._window_done:
            units = "steps" if self._counted == "step" else "batches"
            words.append(f"{self._window_done / (now - self._window_began):.3g} {units}/s")
            self._window_began, self._window_done = now, 0
        else:
            words.append(f"{duration(now - self._window_began)} in this one")
        left = self._seconds_left(trainer, now)
        say(", ".join([*words, *([] if left is None else [f"{duration(left)} left"])]))

    def _seconds_left(self, trainer: Trainer, now: float) -> float | None:
        began, share = self._began, self._done / self._total if self._total else 0.0
        if self._counted == "step" and self._start is not None:
            began, before = self._start
            # Of what was left when this session began.
            share = (self._share(trainer) - before) / max(1 - before, 1e-9)
        elif self._counted == "batch" and self._total > 1:
            began, share = self._began_after_first, (self._done - 1) / (self._total - 1)
        return (now - began) * (1 - share) / share if 0 < share <= 1 else None

    def _share(self, trainer: Trainer) -> float:
        """Return how much of the training is done, by the limit that it is nearer to."""
        epochs, steps = trainer.max_epochs or 0, trainer.max_steps
        batches = trainer.num_training_batches
        done = self._done / batches if batches and self._counted == "step" else 0.0
        shares = [(trainer.current_epoch + done) / epochs] if epochs > 0 else []
        return max([0.0, *shares, *([trainer.global_step / steps] if steps > 0 else [])])

    def _read_values(self, trainer: Trainer, pl_module: LightningModule, outputs: Any) -> str:
        values: dict[str, Any] = self.get_metrics(trainer, pl_module)  # type: ignore[assignment]
        values.pop("v_num", None)
        if not values:
            logged = trainer.callback_metrics
            values = {name: value for name, value in logged.items() if "loss" in name and value.numel() == 1}
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else None
        if not values and isinstance(loss, Tensor) and loss.numel() == 1:
            values = {"loss": loss}
        return ", ".join(f"{name} {_number(value)}" for name, value in list(values.items())[:6])


def _epoch(trainer: Trainer) -> str:
    epochs = trainer.max_epochs or 0
    number = trainer.current_epoch + 1
    return f"epoch {amount(min(number, epochs) if epochs > 0 else number, epochs if epochs > 0 else None)}"


def _sum(batches: Any) -> float:
    return float(sum(batches)) if isinstance(batches, list) else float(batches)


def _number(value: Any) -> str:
    return f"{float(value):.4g}" if isinstance(value, Tensor | int | float) else str(value)
