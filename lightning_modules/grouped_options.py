"""Modules whose options stand in groups: what their checkpoints hold, and how those of earlier versions are read."""

import io
from collections.abc import Mapping
from typing import Any, Self

import torch
from pytorch_lightning import LightningModule
from typing_extensions import override

from visionscapes.options import plain
from visionscapes.renamed_options import with_new_names


class GroupedOptions(LightningModule):
    """A LightningModule that takes groups of options, dataclasses; its checkpoints hold them as dictionaries."""

    def keep_plain_hyperparameters(self) -> None:
        """Make dictionaries of the groups that ``save_hyperparameters`` has found; call it right after."""
        self.hparams.update(plain(self.hparams))

    @classmethod
    @override
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Return the module of a checkpoint, as Lightning does, also of one whose options were not in groups yet.

        Args:
            checkpoint_path: path of the checkpoint, or an open file.
            args: see ``LightningModule.load_from_checkpoint``.
            kwargs: likewise; among them options that win over those of the checkpoint, of a group perhaps only some.
        """
        checkpoint = torch.load(checkpoint_path, map_location="cpu", weights_only=True)
        options = checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_KEY) or {}
        known, given = with_new_names(cls.__name__, options), with_new_names(cls.__name__, kwargs)
        for name, group in given.items():
            if isinstance(group, Mapping) and isinstance(known.get(name), Mapping):
                given[name] = {**known[name], **group}  # what is not given is as it was, not as by default
        checkpoint[cls.CHECKPOINT_HYPER_PARAMS_KEY] = known
        file = io.BytesIO()
        torch.save(checkpoint, file)
        file.seek(0)
        return super().load_from_checkpoint(file, *args, **given)
