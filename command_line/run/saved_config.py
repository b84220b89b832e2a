"""The configuration that a run saves."""

from pathlib import Path
from typing import Any

import yaml
from jsonargparse import Namespace
from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.cli import LightningArgumentParser, SaveConfigCallback
from typing_extensions import override

from command_line.run.run_folder import SAVED_CONFIG
from visionscapes.bundled import portable
from visionscapes.files import write_text


class SavedConfig(SaveConfigCallback):
    """Saves the configuration such that it starts a new run of the same kind, wherever the code lies by then."""

    def __init__(self, parser: LightningArgumentParser, config: Namespace, **kwargs: Any):
        config = config.clone()
        config.name, config.resume = None, False
        super().__init__(parser, _with_portable_paths(config), save_to_log_dir=False, **kwargs)

    @override
    def save_config(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Write the file, whole or not at all, and tell every logger all that is in it, as nested dictionaries."""
        self.save_in(Path(trainer.default_root_dir))
        for logger in trainer.loggers:
            logger.log_hyperparams(yaml.safe_load(self._text()))

    def save_in(self, folder: Path) -> None:
        """Write the file into a run folder, whole or not at all."""
        write_text(folder / SAVED_CONFIG, self._text())

    def _text(self) -> str:
        text: str = self.parser.dump(self.config, skip_none=False)
        return text


def _with_portable_paths(value: Any) -> Any:
    if isinstance(value, Namespace):
        return Namespace(**{name: _with_portable_paths(each) for name, each in vars(value).items()})
    if isinstance(value, dict):
        return {name: _with_portable_paths(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_with_portable_paths(each) for each in value]
    return portable(value) if isinstance(value, str) else value
