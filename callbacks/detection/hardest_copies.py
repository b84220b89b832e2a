"""The detector in training says which generated pictures it is trained on next (thesis 9.1.1, online)."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import nn
from typing_extensions import override

from visionscapes.checks import PositiveInt, check_options
from visionscapes.errors import UserError
from visionscapes.processes import gather_objects


class HardestCopies(Callback):
    """Shows the detector the copy of every real picture that is the hardest for it as it is then.

    After every so many epochs all generated pictures, better filtered ones, go through the detector in training, and of
    the copies of one real picture that with the highest mean loss of its objects is trained on until the next time; the
    first one before. An epoch has as many batches as without. The choice is the same on all processes and is kept in
    checkpoints, so that a run that goes on is the run that was not interrupted.

    Args:
        every_epochs: epochs from one choice to the next.

    Raises:
        UserError: an option is out of its bounds; data of which all copies are trained on, or a module or a detector
            that does not say what objects cost; after a resume, generated pictures that are others than before.
    """

    def __init__(self, every_epochs: PositiveInt = 1):
        check_options(HardestCopies, locals())
        self.every_epochs = every_epochs
        self._shown: list[str] | None = None

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what an earlier training has chosen."""
        self._shown = None

    @override
    def state_dict(self) -> dict[str, Any]:
        return {"shown": self._shown}

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._shown = state_dict["shown"]

    @override
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look whether there is something to choose from, and somebody to ask.

        Raises:
            UserError: there is not.
        """
        synthetic = getattr(getattr(trainer, "datamodule", None), "synthetic", None)
        if synthetic is None or synthetic.copies != "one" or synthetic.annotations is None:
            raise UserError(
                "HardestCopies chooses among the copies of generated pictures, of which the data show one at a time: "
                "give --data.synthetic.annotations=<file> and --data.synthetic.copies=one, or leave the callback out"
            )
        if not hasattr(pl_module, "annotated_losses"):
            raise UserError(
                f"{type(pl_module).__name__} does not say what single objects cost it: take --model=Gen2Det, or leave "
                "the callback HardestCopies out"
            )
        module: Any = pl_module
        module.annotated_losses({"image": [], "boxes": [], "labels": []})  # of a detector that can say it

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show what was chosen before a resume.

        Raises:
            UserError: every real picture has one copy, or others than before.
        """
        if all(len(rows) == 1 for rows in trainer.datamodule.shown.copies):  # type: ignore[attr-defined]
            raise UserError(
                "HardestCopies has nothing to choose from, for every real picture has a single copy: generate several, "
                "python cli.py predict --config configs/gen2det_generate.yaml --data.copies=4, or leave it out"
            )
        self._show(trainer)

    @override
    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Choose what the next epochs show; at their start, where a run that goes on after an epoch goes on too."""
        self._show(trainer)
        if not trainer.current_epoch or trainer.current_epoch % self.every_epochs:
            return
        shown = trainer.datamodule.shown  # type: ignore[attr-defined]
        before, hardness = shown.files, self._measured(trainer, pl_module)
        shown.show_hardest(hardness)
        self._shown = shown.files
        changed = sum(one != other for one, other in zip(before, self._shown, strict=True)) / len(before)
        pl_module.log("feedback/changed_copies", changed, sync_dist=True)

    def _show(self, trainer: Trainer) -> None:
        """Show what was chosen, for loaders are made anew."""
        if self._shown is not None and not trainer.datamodule.shown.show(self._shown):  # type: ignore[attr-defined]
            raise UserError(
                "the generated pictures are not those that this training was begun with: give the same file as "
                "--data.synthetic.annotations, or begin anew"
            )

    def _measured(self, trainer: Trainer, pl_module: LightningModule) -> list[float]:
        """Return the mean loss of the objects of every generated picture, the same on all processes."""
        asked: Any = pl_module
        modes = {module: module.training for module in asked.modules()}
        asked.eval()
        own = []
        with torch.no_grad(), trainer.precision_plugin.forward_context():
            for batch in trainer.datamodule.copies_loader():  # type: ignore[attr-defined]
                losses = asked.annotated_losses(asked.transfer_batch_to_device(batch, asked.device, 0))
                own += [each.mean() if len(each) else each.new_tensor(-1.0) for each in losses]
        _restore(modes)
        parts = gather_objects(torch.stack(own).tolist())
        return [parts[row % len(parts)][row // len(parts)] for row in range(sum(map(len, parts)))]


def _restore(modes: dict[nn.Module, bool]) -> None:
    """Put every module back into its mode: parts of a detector may be frozen."""
    for module, training in modes.items():
        module.training = training
