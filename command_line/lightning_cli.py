"""The command line itself: LightningCLI, with a folder for every run and with the traps of LightningCLI closed."""

import os
from argparse import ArgumentError
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal

from omegaconf.errors import OmegaConfBaseException
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI
from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.utilities.rank_zero import rank_zero_only
from typing_extensions import override

from callbacks.run.checkpoint_files import differences, read_checkpoint
from callbacks.run.checkpointing import Checkpointing
from callbacks.run.run_log import RunLog
from callbacks.run.run_record import RunRecord
from command_line.errors.construction import Construction, of_file, of_library
from command_line.errors.expected_warnings import silence_expected
from command_line.errors.explanations import explain
from command_line.errors.failures import end_ranks, explain_failure
from command_line.errors.messages import group_options, with_full_name
from command_line.errors.refusals import explain_refusal
from command_line.reading.bundled_paths import read_bundled_paths
from command_line.reading.configurations import config_files, located
from command_line.reading.literals import PARSER_MODE, read_none_as_null
from command_line.reading.named_classes import class_paths_in, import_named_classes
from command_line.reading.old_names import model_of, notices, read_old_names
from command_line.reading.values import check_chosen, check_values, with_classes_of_help, with_values, without_value
from command_line.run.equipment import place_wandb, with_callbacks, with_plugins
from command_line.run.job import Session, check_processes, is_rank_zero
from command_line.run.method_checks import check_replaced_options, check_trains
from command_line.run.run_folder import (
    INHERITED,
    ClaimedFolder,
    claim,
    close,
    method_of,
    scratch,
    withdraw,
)
from command_line.run.saved_config import SavedConfig
from command_line.run.starting_point import newest_checkpoint_of, other_checkpoint, own_checkpoint
from command_line.run.termination import Terminated, before_exit, raised_by_sigterm
from command_line.run.trainer import HardwareTrainer
from visionscapes.errors import UserError
from visionscapes.files import lasting
from visionscapes.search_path import taken_instead

TRAINER_DEFAULTS = {
    "use_distributed_sampler": False,  # the loaders deal samples to ranks themselves, without padding
    "log_every_n_steps": 10,  # Lightning's 50 leaves short runs without a curve
}


class CommandLine(LightningCLI):
    """Parses ``args``, builds module, datamodule and trainer, and runs the subcommand.

    Attributes:
        run_folder: where this run writes.
        checkpoint: the checkpoint that the run starts from, or None.

    Raises:
        UserError: what the user or the file system has to mend.
    """

    run_folder: Path
    checkpoint: Path | None = None
    _record: RunRecord
    _method: str

    def __init__(self, args: list[str]):
        self._command = ["cli.py", *args]
        self._different: list[str] = []
        self._resumed_step: int | None = None
        self._first_step: int | None = None
        self._runs = False
        self._closing = ExitStack()
        silence_expected()
        with self._closing:
            try:
                self._start(args)
            except OSError as error:
                explained = explain_refusal(error, getattr(self, "run_folder", None), self.subcommand == "fit")
                reason = of_file(error) if explained is None else UserError(explained)
                if reason is None:
                    raise
                raise reason from error

    def _start(self, args: list[str]) -> None:
        read_none_as_null()
        parser_kwargs = {"parser_mode": PARSER_MODE, "allow_abbrev": False, "exit_on_error": False}
        super().__init__(
            LightningModule,
            LightningDataModule,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_callback=SavedConfig,
            trainer_class=HardwareTrainer,
            trainer_defaults=TRAINER_DEFAULTS,
            seed_everything_default=0,
            parser_kwargs=parser_kwargs | {name: dict(parser_kwargs) for name in self.subcommands()},
            auto_configure_optimizers=False,
            args=args,
        )

    @staticmethod
    @override
    def subcommands() -> dict[str, set[str]]:
        """Return the subcommands and the arguments that they do not offer; checkpoints are always read safely."""
        return {name: skipped | {"weights_only"} for name, skipped in LightningCLI.subcommands().items()}

    @override
    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the options of the run folder."""
        parser.add_lightning_class_args(Checkpointing, "checkpoint")
        parser.add_argument("--name", type=str | None, default=None, help="name of the run; default: job or time")
        parser.add_argument("--runs_dir", type=str, default="runs", help="the run writes to <runs_dir>/<method>/<name>")
        resume = "continue the run --name, or begin it; whole: pass over damaged checkpoints"
        parser.add_argument("--resume", type=bool | Literal["whole"], default=False, help=resume)
        parser.add_argument("--test_after_fit", type=bool, default=False, help="evaluate the trained module after fit")

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; whatever is wrong is told in one line.

        Raises:
            UserError: an unknown option, a value of the wrong type, or a variable without a value.
        """
        args, told = located(["--help" if word == "--help_full" else word for word in args])
        args, bare = with_values(args)
        args = with_classes_of_help(args)
        import_named_classes(args)
        args, old_names = read_old_names(args)
        read_bundled_paths(config_files(args))
        try:
            self.config = parser.parse_args(args)
        except ArgumentError as error:
            options = self.options(args[0])
            options += group_options(model_of(args))
            raise UserError(explain(without_value(error.message, bare), options, model_of(args))) from None
        except OmegaConfBaseException as error:
            raise UserError(f"a ${{...}} in a configuration file has no value: {str(error).splitlines()[0]}") from None
        told += notices(old_names, model_of(args))
        told += [f"note: {each}" for path in class_paths_in(args) if (each := taken_instead(path))]
        for line in told:
            _say(line)
        check_values(self.config[self.config.subcommand], bare)

    def options(self, subcommand: str) -> list[str]:
        """Return the options of a subcommand, without those of the classes that a trainer takes."""
        known = [action.dest for action in self._subcommand_parsers[subcommand]._actions]
        return [name for name in known if not (name.startswith("trainer.") and name.endswith(".help"))]

    @override
    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would let the checkpoint's hyper-parameters win over the command line."""

    @override
    def before_instantiate_classes(self) -> None:
        """Claim the run folder and look at the checkpoint that the run starts from.

        Raises:
            UserError: options that contradict each other, or a checkpoint that cannot be used.
        """
        check_chosen(self.config[self.config.subcommand])
        files = [Path(str(path)) for path in self._get(self.config, "config") or []]
        named = self._get(self.config, "model") or self._get(self.config, "data")
        self._method = method_of(files, named.class_path if named else str(self.subcommand))
        resume, given = self._get(self.config, "resume"), self._get(self.config, "ckpt_path")
        runs = Path(self._get(self.config, "runs_dir")).resolve() / self._method
        passing = bool(self._get(self.config, "trainer").fast_dev_run)
        claimed = scratch() if passing else self._claim(self._method, bool(resume))
        self.run_folder = claimed.folder
        os.environ[INHERITED] = str(self.run_folder)
        self._closing.callback(close, claimed)
        before_exit(partial(close, claimed))
        self._closing.enter_context(lasting(self.run_folder))
        if claimed.resume:
            saving = self._get(self.config, "checkpoint")
            trains = self.subcommand == "fit"
            self.checkpoint = own_checkpoint(self.run_folder, whole=resume == "whole", trains=trains, saving=saving)
        goes_on = self.checkpoint is not None
        if claimed.resume and not goes_on:
            self._resumed_step = -1  # whatever an earlier session has logged will be trained again
        if given and not goes_on:
            self.checkpoint = other_checkpoint(str(given), runs)
        has_weights = self.checkpoint or self._model_arguments().get("weights")
        if self._takes_newest() and not has_weights:
            self.checkpoint = newest_checkpoint_of(runs)
        self._begin_record()
        if self.checkpoint:
            self._look_at(read_checkpoint(self.checkpoint), goes_on)
        elif self.subcommand != "fit" and self._get(self.config, "model") and not has_weights:
            _say(f"note: no --ckpt_path, so {self.subcommand} uses the module as its configuration builds it")

    def _takes_newest(self) -> bool:
        """Whether the newest run of the method is meant where no checkpoint is named."""
        return self.subcommand == "predict"

    def _claim(self, method: str, resume: bool) -> ClaimedFolder:
        return claim(
            self._get(self.config, "runs_dir"),
            method,
            self._get(self.config, "name"),
            subcommand=str(self.subcommand),
            resume=resume,
            command=self._command,
        )

    def _begin_record(self) -> None:
        """Write the manifest before anything is built, which takes its time and may be interrupted."""
        self._record = RunRecord(
            self._command,
            None if self.checkpoint is None else str(self.checkpoint),
            Session.here(self._command).record(),
        )
        self._closing.push(self._end_record)
        before_exit(partial(self._record.end_at_last, "interrupted"))
        if is_rank_zero(os.environ):
            self._record.begin(self.run_folder)

    def _end_record(self, kind: type[BaseException] | None, error: BaseException | None, _: Any) -> None:
        with suppress(OSError):  # the error that is on its way says more
            if isinstance(error, Terminated):
                self._record.end_at_last("interrupted")
            elif error is not None and (not self._runs or (isinstance(error, UserError) and not self._stepped())):
                self._record.withdraw()
                withdraw(self.run_folder)

    def _stepped(self) -> bool:
        return bool(self.trainer.global_step) or self.checkpoint is not None or self._resumed_step is not None

    def _model_arguments(self) -> dict[str, Any]:
        model = self._get(self.config, "model")
        return model.as_dict().get("init_args") or {} if model else {}

    def _look_at(self, checkpoint: Mapping[str, Any], goes_on: bool) -> None:
        self._first_step = checkpoint["global_step"]
        self._different = differences(checkpoint, self._get(self.config, "model").as_dict())
        if goes_on:
            self._resumed_step = checkpoint["loops"]["fit_loop"]["epoch_loop.state_dict"]["_batches_that_stepped"]
            _say(f"resuming {self.run_folder} from {self.checkpoint} (step {checkpoint['global_step']})")
        if self._different:
            _say(f"note: {self.checkpoint} differs from the configuration, which wins: {'; '.join(self._different)}")

    @override
    def instantiate_classes(self) -> None:
        """Build module, datamodule and trainer, and let a class say itself what is wrong with its arguments.

        Raises:
            UserError: what a class says of a value.
        """
        construction = Construction()
        self.parser.add_instantiator(construction, object)
        try:
            self._construct()
        except Exception as error:
            reason = construction.explained(error)
            if not isinstance(reason, UserError):
                raise reason from None
            told = str(reason)
            for part in ("model", "data"):
                if chosen := self._get(self.config, part):
                    told = with_full_name(told, chosen.class_path)
            raise UserError(told) from error.__cause__
        self._check_parts()

    def _construct(self) -> None:
        super().instantiate_classes()

    def _check_parts(self) -> None:
        check_processes(os.environ, self.trainer.world_size)
        if self.subcommand == "fit":
            check_trains(self.model)
            check_replaced_options(self.model, self.trainer)
        if hasattr(self.model, "check_data"):
            self.model.check_data(self.datamodule)

    @override
    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Build the trainer with what every run has: its folder, log, record, checkpoints and checks.

        Raises:
            UserError: the trainer cannot be set up as asked for.
        """
        config = self._get(self.config_init, "trainer")
        given = [] if isinstance(config.logger, bool) else _as_list(config.logger)
        if any(isinstance(logger, WandbLogger) for logger in given):
            place_wandb(self.run_folder)
        kwargs |= {
            "default_root_dir": str(self.run_folder),
            "logger": [RunLog(self.run_folder, self._resumed_step), *given],
            "plugins": with_plugins(_as_list(config.plugins)),
            "callbacks": with_callbacks(
                _as_list(config.callbacks),
                self._record,
                files=[str(path) for path in self._get(self.config, "config") or []],
                progress=config.enable_progress_bar is not False,
                reconfigured=bool(self._different),
            ),
        }
        try:
            trainer = super().instantiate_trainer(**kwargs)
        except Exception as error:
            reason = of_library(error, "the trainer cannot be set up")
            if reason is None:
                raise
            raise reason from error
        if isinstance(trainer, HardwareTrainer) and trainer.chosen_precision:
            _say("precision {}: {}; --trainer.precision overrides".format(*trainer.chosen_precision))
        return trainer

    @override
    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Callback]) -> Trainer:
        if config["enable_checkpointing"] is False:
            callbacks = [callback for callback in callbacks if not isinstance(callback, Checkpointing)]
        return super()._instantiate_trainer(config, callbacks)

    def after_fit(self) -> None:
        """Tell of a run that has trained nothing, and evaluate what there is, where the configuration asks for it."""
        if self.trainer.global_step == self._first_step:
            _say(
                f"note: nothing was trained, {self.checkpoint} has come to the end already (step {self._first_step}): "
                "to train on, raise --trainer.max_epochs or --trainer.max_steps"
            )
        elif not self.trainer.global_step:
            _say("note: nothing was trained, no step was asked for: the network is as it began")
        if self._get(self.config_init, "test_after_fit"):
            self.trainer.test(self.model, datamodule=self.datamodule, verbose=not self._prints_results())

    @override
    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        checkpoint = None if self.checkpoint is None else str(self.checkpoint)
        kwargs = super()._prepare_subcommand_kwargs(subcommand) | {"ckpt_path": checkpoint}
        return kwargs | {"verbose": False} if subcommand == "test" and self._prints_results() else kwargs

    def _prints_results(self) -> bool:
        """Whether a callback shows the figures of a test, so that Lightning's own endless table is not wanted."""
        return any(getattr(callback, "prints_results", False) for callback in self.trainer.callbacks)  # type: ignore[attr-defined]

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        self._runs = True
        try:
            passes = getattr(self.model, "passes", None)
            for _ in passes() if subcommand == "test" and passes else [None]:  # over the data, where one is not enough
                with raised_by_sigterm():
                    super()._run_subcommand(subcommand)
            passing = self.trainer.fast_dev_run  # type: ignore[attr-defined]
            _say("nothing was saved" if passing else f"the run is in {os.path.relpath(self.run_folder)}")
        except BaseException as error:
            end_ranks(self.trainer, at_once=isinstance(error, Terminated))
            explained = explain_failure(error, type(self.model).__name__, self.checkpoint, self._different)
            if explained is None:
                raise
            raise explained from error


def _as_list(value: Any) -> list[Any]:
    """Return what the parser left of a list, a single object or null."""
    if value is None:
        return []
    return list(value) if isinstance(value, list | tuple) else [value]


@rank_zero_only
def _say(text: str) -> None:
    print(text)
