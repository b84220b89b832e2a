"""SLURM's warning before the time limit: save, hand the job in again, and wait for the end."""

import os
import signal
import subprocess
import threading
import time
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.plugins.environments import SLURMEnvironment
from pytorch_lightning.strategies import DDPStrategy, SingleDeviceStrategy
from typing_extensions import override

from callbacks.run.interruption import save_alone
from callbacks.run.lead_time import LeadTime
from callbacks.run.run_record import RunRecord
from visionscapes.errors import UserError


class Requeued(SystemExit):
    """The job goes on later, from the checkpoint that was saved."""


class Requeue(Callback):
    """Takes the place of Lightning's handler of SIGUSR1, which saves within the handler, on every process.

    A signal finds the processes at different places. Lightning's handler then waits on one of them for all to save,
    while another waits for the gradients of the first: the job hangs until SLURM kills it. Here the handler only notes
    the signal. Process zero, whose state is the whole state under DDP, saves ``checkpoints/last.ckpt`` between two
    batches, alone. The file has not Lightning's name, ``hpc_ckpt_<n>.ckpt``, because Lightning loads such a file on
    its own: the test that follows a fit would evaluate the weights of the interruption.

    Between two batches there may lie minutes: clusters, an evaluation. When three quarters of the lead time have
    passed, the job is requeued from the newest checkpoint that there is. The lead time is what slurm/train.sbatch asks
    SLURM for, in seconds, and says in VISIONSCAPES_LEAD_TIME.

    Does nothing outside SLURM, and leaves strategies that divide the state among processes to Lightning.
    """

    def __init__(self) -> None:
        self._noted = False
        self._leads = True
        self._signal: int | None = None
        self._before: Any = None
        self._sigterm: Any = None
        self._in_time: LeadTime | None = None
        self._once = threading.Lock()

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        environment = trainer._accelerator_connector.cluster_environment
        replicated = isinstance(trainer.strategy, DDPStrategy | SingleDeviceStrategy)
        if isinstance(environment, SLURMEnvironment) and environment.auto_requeue and replicated:
            self._leads = trainer.is_global_zero
            # Before Lightning registers its own, which it does not where there is one.
            self._signal = environment.requeue_signal or signal.SIGUSR1
            self._before = signal.signal(self._signal, self._note)
            if self._leads:
                act = partial(self._requeue_as_it_is, trainer, pl_module)
                self._in_time = LeadTime(self._signal, 0.75 * lead_time(), act)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if self._signal is not None:
            if self._in_time is not None:
                self._in_time.cancel()
                self._in_time = None
            signal.signal(self._signal, self._before)
            self._signal = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if not self._leads:
            end_at_sigterm()
        elif not self._noted:
            self._sigterm = signal.signal(signal.SIGTERM, self._end)
        self._noted = True

    def _end(self, number: int, frame: FrameType | None) -> None:
        """End at once if the job was requeued; Lightning's handler would wait for the end of the batch."""
        if self._once.locked():
            os._exit(128 + number)
        if callable(self._sigterm):
            self._sigterm(number, frame)
        else:
            end_at_sigterm()
            signal.raise_signal(number)

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._stop_if_noted()

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not trainer.sanity_checking:  # training begins soon
            self._stop_if_noted()

    on_test_batch_start = on_validation_batch_start
    on_predict_batch_start = on_validation_batch_start

    def _stop_if_noted(self) -> None:
        if self._noted and self._leads:
            raise Requeued(0)

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save and requeue, now that the other callbacks know of the interruption; does not return if it succeeds.

        Raises:
            UserError: SLURM refuses to requeue the job.
        """
        if not isinstance(exception, Requeued):
            return
        save_alone(trainer)
        for logger in trainer.loggers:
            logger.finalize("success")
        end_at_sigterm()
        if self._once.acquire(blocking=False):
            print(f"saved step {trainer.global_step}, requeueing job {job_id()}", flush=True)
            refusal = requeue()
            if refusal:
                raise UserError(
                    f"SLURM does not requeue job {job_id()} ({refusal}). The run is saved: hand it in again with "
                    f"--name {Path(trainer.default_root_dir).name} --resume"
                )
        while True:  # SLURM ends all processes together; to leave earlier would fill the log with the others' errors.
            time.sleep(1)

    def _requeue_as_it_is(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Requeue in a thread, while the main one is still at what it was at when the signal came."""
        if not self._once.acquire(blocking=False):
            return
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, RunRecord):
                callback.on_exception(trainer, pl_module, Requeued(0))
        print(f"no batch ended in time: requeueing job {job_id()} from its newest checkpoint", flush=True)
        if refusal := requeue():
            print(f"SLURM does not requeue job {job_id()} ({refusal})", flush=True)


def lead_time() -> float:
    """Return how many seconds before the time limit SLURM warns.

    Raises:
        UserError: the variable that says so is no number.
    """
    given = os.environ.get("VISIONSCAPES_LEAD_TIME", "120")
    try:
        return max(0.0, float(given))
    except ValueError:
        raise UserError(f"VISIONSCAPES_LEAD_TIME={given} is no number of seconds") from None


def requeue() -> str:
    """Have SLURM begin this job anew; return why it refuses, nothing if it does not."""
    try:
        done = subprocess.run(["scontrol", "requeue", job_id()], capture_output=True, text=True)
    except OSError as error:
        return f"scontrol: {error.strerror}"
    return done.stderr.strip() or f"status {done.returncode}" if done.returncode else ""


def end_at_sigterm() -> None:
    """End at SLURM's first request; Lightning's handler would ask the other processes first, which wait elsewhere."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def job_id() -> str:
    """Return what SLURM calls this job: its number, or array_task."""
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        return f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return os.environ["SLURM_JOB_ID"]
