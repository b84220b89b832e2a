"""Writes the trained backbone alone, small enough to keep."""

import os
import shlex
import sys
from pathlib import Path
from typing import Protocol, cast, runtime_checkable

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from safetensors.torch import save
from torch import Tensor
from typing_extensions import override

from callbacks.run.run_record import git_state
from visionscapes.checksums import UNSEALED, sealed
from visionscapes.errors import UserError
from visionscapes.files import write_bytes


@runtime_checkable
class _HasBackbone(Protocol):
    def backbone_state(self) -> dict[str, Tensor]: ...


@runtime_checkable
class _HasOptions(Protocol):
    def backbone_options(self) -> dict[str, str]: ...


class BackboneWriter(Callback):
    """Writes ``backbone.safetensors`` into the run folder when training ends: float16, with how it was made.

    The module offers ``backbone_state()``, the weights that ``networks.ViTFeatures`` or a detector loads. The header of
    the file keeps command, seed and git commit, what ``backbone_options()`` gives of a module that has it, and a
    checksum that is checked when the weights are read.
    """

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a module without a backbone before it is trained.

        Raises:
            UserError: the module offers no ``backbone_state()``.
        """
        if stage == "fit" and not isinstance(pl_module, _HasBackbone):
            raise UserError(
                f"BackboneWriter writes the backbone that was trained, and {type(pl_module).__name__} trains none: "
                "leave it out of --trainer.callbacks"
            )

    @override
    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        state = cast(_HasBackbone, pl_module).backbone_state()
        halved = {key: _halved(value.detach().cpu()) for key, value in state.items()}
        made_by = {
            "command": shlex.join(["python", Path(sys.argv[0]).name, *sys.argv[1:]]),
            "seed": os.environ.get("PL_GLOBAL_SEED", "none"),
            "commit": str((git_state(Path.cwd()) or {}).get("commit")),
            "steps": str(trainer.global_step),
        }
        if isinstance(pl_module, _HasOptions):
            made_by |= pl_module.backbone_options()
        made_by |= UNSEALED
        # Not save_file, whose files only their owner may read.
        write_bytes(Path(trainer.default_root_dir) / "backbone.safetensors", sealed(save(halved, made_by)))


def _halved(value: Tensor) -> Tensor:
    """Return floating-point values in float16, counters as they are."""
    return (value.to(torch.float16) if value.is_floating_point() else value).contiguous()
