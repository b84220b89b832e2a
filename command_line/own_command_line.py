"""The command line of a subcommand of our own: the same options, files, folders and errors, and no Trainer."""

import os
from contextlib import suppress
from typing import Any

from pytorch_lightning import LightningDataModule, LightningModule
from pytorch_lightning.cli import LightningArgumentParser
from typing_extensions import override

from callbacks.run.checkpoint_files import read_checkpoint
from callbacks.run.run_record import hardware
from command_line.errors.failures import explain_failure
from command_line.lightning_cli import TRAINER_DEFAULTS, CommandLine
from command_line.run.job import check_processes
from command_line.run.run_folder import describes_only
from command_line.run.saved_config import SavedConfig
from command_line.run.termination import raised_by_sigterm
from command_line.run.trainer import HardwareTrainer
from command_line.subcommands.table import OWN, Built
from visionscapes.errors import UserError

PARTS: dict[str, type[LightningModule] | type[LightningDataModule]] = {
    "model": LightningModule,
    "data": LightningDataModule,
}


class OwnCommandLine(CommandLine):
    """Parses ``args``, builds what the subcommand asks for, and calls its function.

    Args:
        args: words of the command line; the first is one of ``OWN``.

    Raises:
        UserError: what the user or the file system has to mend.
    """

    def __init__(self, args: list[str]):
        self._own = OWN[args[0]]
        super().__init__(args)

    @override
    def _add_subcommands(self, parser: LightningArgumentParser, **kwargs: Any) -> None:
        name = self._command[1]
        own = self.init_parser(description=self._own.meaning, **kwargs["fit"])
        self._add_arguments(own)
        if "model" in self._own.builds:
            own.add_argument("--ckpt_path", type=str | None, default=None, help="checkpoint that has the weights")
        self._subcommand_method_arguments = {
            name: own.add_function_arguments(self._own.load(), as_group=False, skip={1})
        }
        self._subcommand_parsers = {name: own}
        parser.add_subcommands().add_subcommand(name, own, help=self._own.meaning)

    @override
    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add module, datamodule and trainer, which configurations have for all subcommands."""
        parser.add_lightning_class_args(HardwareTrainer, "trainer")
        parser.set_defaults({f"trainer.{name}": value for name, value in TRAINER_DEFAULTS.items()})
        for part, base in PARTS.items():
            parser.add_lightning_class_args(base, part, subclass_mode=True, required=part in self._own.needs)

    @override
    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse; whatever is wrong is told in one line.

        Raises:
            UserError: an unknown option, a value of the wrong type, or one that only a training has a use for.
        """
        super().parse_arguments(parser, args)
        name = args[0]
        if self.config[name].resume:
            raise UserError(f"--resume is for fit: {name} starts anew, leave it out")
        prefixes = ("--trainer.", "--checkpoint.", "--test_after_fit")
        unused = [word.partition("=")[0] for word in args if word.startswith(prefixes)]
        if unused:
            print(f"note: {name} runs no trainer and has no use for {', '.join(dict.fromkeys(unused))}")
        self._given = self.config[name].clone()
        for part in PARTS.keys() - set(self._own.builds):
            self.config[name].pop(part, None)

    @override
    def _takes_newest(self) -> bool:
        return "model" in self._own.builds

    @override
    def _construct(self) -> None:
        config = self.config.clone()
        for part in ("trainer", "checkpoint"):
            config[config.subcommand].pop(part)
        self.config_init = self.parser.instantiate_classes(config)
        self.model, self.datamodule = (self._get(self.config_init, part) for part in PARTS)

    @override
    def _check_parts(self) -> None:
        check_processes(os.environ, 1)

    @override
    def _stepped(self) -> bool:
        return not describes_only(self.run_folder, besides="manifest.json")

    @override
    def _run_subcommand(self, subcommand: str) -> None:
        self._runs = True
        try:
            self._record.add({"world_size": 1, "hardware": hardware()})
            self._given.seed_everything = self.config[subcommand].seed_everything
            SavedConfig(self._parser(subcommand), self._given).save_in(self.run_folder)
            with raised_by_sigterm():
                self._call(subcommand)
            self._record.end("finished")
        except BaseException as error:
            with suppress(OSError):  # the error that is on its way says more
                self._record.end_at_last("interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {error}")
            explained = explain_failure(error, type(self.model).__name__, self.checkpoint, self._different)
            if explained is None:
                raise
            raise explained from error
        passing = self.config[subcommand].trainer.fast_dev_run
        print("no run folder was kept" if passing else f"the run is in {os.path.relpath(self.run_folder)}")

    def _call(self, subcommand: str) -> None:
        if self.model is not None:
            if self.checkpoint is not None:
                restore(self.model, read_checkpoint(self.checkpoint))
            self.model.eval()
        options = {name: self._get(self.config_init, name) for name in self._subcommand_method_arguments[subcommand]}
        built = Built(
            folder=self.run_folder,
            method=self._method,
            module=self.model,
            datamodule=self.datamodule,
            checkpoint=self.checkpoint,
        )
        self._own.load()(built, **options)


def command_line_of(args: list[str]) -> CommandLine:
    """Run a command and return its command line.

    Args:
        args: words of the command line.
    """
    return OwnCommandLine(args) if args[0] in OWN else CommandLine(args)


def restore(module: LightningModule, checkpoint: dict[str, Any]) -> None:
    """Give a module the weights of a checkpoint, as Lightning does before it evaluates.

    Args:
        module: freshly built.
        checkpoint: as read; where a run kept an average of weights, that is what it has as the weights.

    Raises:
        RuntimeError: the checkpoint is of another network.
    """
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading)
