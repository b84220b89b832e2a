"""Ctrl-C: what is begun is ended, then saved; a second one leaves at once."""

import os
import signal
import threading
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from pytorch_lightning.trainer.states import TrainerFn
from typing_extensions import override

NOTICE = "Ctrl-C: ending after this batch; once more leaves at once, without saving\n"


class Interrupted(KeyboardInterrupt):
    """The run ends between two batches, where it can be saved."""


class LeftAtOnce(KeyboardInterrupt):
    """The user did not want to wait: nothing is saved."""


class Interruption(Callback):
    """Ends training at Ctrl-C between two batches, because half a batch cannot be taken up again.

    Inside a batch some layers have seen it and others have not, one of two optimisers may have stepped, and the batch
    is not logged yet. So the first SIGINT of a training is only noted. Outside of training, and within work at the end
    of an epoch that is done again after a resume (``epoch_end_pending`` of the module), it interrupts as usual.

    Of several processes the first one stops for all, and saves alone: the others, which share its state under DDP, may
    be a batch behind.
    """

    def __init__(self) -> None:
        self._noted = self._waits = self._installed = False
        self._leads = True
        self._module: LightningModule | None = None
        self._process = os.getpid()

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        # A process in the background ignores SIGINT; another handler has its own reasons. That of a run before, in the
        # same process, stays if that run was interrupted.
        handler = signal.getsignal(signal.SIGINT)
        usual = handler is signal.default_int_handler or isinstance(getattr(handler, "__self__", None), Interruption)
        if usual and threading.current_thread() is threading.main_thread():
            self._leads, self._module, self._process = trainer.is_global_zero, pl_module, os.getpid()
            signal.signal(signal.SIGINT, self._note)
            self._installed = True

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False

    def _note(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a process that loads data: it ends when this one does
        if self._noted:
            raise LeftAtOnce
        if not self._waits or getattr(self._module, "epoch_end_pending", False):
            raise KeyboardInterrupt
        self._noted = True
        if self._leads:
            os.write(2, NOTICE.encode())  # print may be at work already, and does not let itself be interrupted

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._waits = True

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._stop_if_noted()

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._stop_if_noted()

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._waits = False
        self._stop_if_noted()  # no evaluation after it

    def _stop_if_noted(self) -> None:
        if self._noted and self._leads:
            raise Interrupted

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save under DDP, where other callbacks would wait for the other processes; else Ctrl-C is the usual one again.

        Lightning takes its callbacks down only after a run that ends well.
        """
        if not isinstance(exception, KeyboardInterrupt):
            self._waits = False
            self.teardown(trainer, pl_module, "")
        alone = isinstance(exception, Interrupted) and trainer.world_size > 1
        if alone and isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy):
            save_alone(trainer)


def save_alone(trainer: Trainer) -> None:
    """Write ``checkpoints/last.ckpt`` of a run that is training, without the other processes."""
    path = os.path.join(trainer.default_root_dir, "checkpoints", "last.ckpt")
    if trainer.state.fn == TrainerFn.FITTING:
        # Not trainer.save_checkpoint, which waits for the others.
        trainer.strategy.save_checkpoint(trainer._checkpoint_connector.dump_checkpoint(), path)
