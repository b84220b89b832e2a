"""Modules whose options stand in groups: what their checkpoints hold."""

from lightning_modules.method import Method
from visionscapes.options import plain


class GroupedOptions(Method):
    """A method that takes groups of options, dataclasses; its checkpoints hold them as dictionaries."""

    def keep_plain_hyperparameters(self) -> None:
        """Make dictionaries of the groups that ``save_hyperparameters`` has found; call it right after."""
        self.hparams.update(plain(self.hparams))
