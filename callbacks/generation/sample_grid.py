"""Pictures of translated validation samples during training, and of test samples at the end."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.generation.evaluation import TASK, check_images, generated_of, generating, generator_of
from callbacks.generation.pictures import joined, save_columns, shown_columns
from networks.generated import Generated
from visionscapes.checks import AnyInt, NonNegativeInt, PositiveInt, check_options


class SampleGrid(Callback):
    """Translated samples, one a row, with the columns input, parts, image and truth (figures 5.9 and 5.16).

    During training the first validation samples, with the same noise every time, go to
    pictures/training/epoch_<number>.png in the run folder, and at the end of a test the first test samples to
    pictures/translations.png. Label maps have one palette, edges are shown as they are, and the GAN residual r (thesis
    Eq. 5.1) as 0.5 + r / 2. Under DDP the first process draws what it sees.

    Args:
        images: how many samples to show.
        every_n_epochs: how often to draw in training; 0 for not at all.
        seed: of the noise in training.

    Raises:
        UserError: ``images`` is below 1 or ``every_n_epochs`` below 0; in the run, a module that generates no images.
    """

    def __init__(self, images: PositiveInt = 6, every_n_epochs: NonNegativeInt = 5, seed: AnyInt = 0):
        check_options(SampleGrid, locals())
        self.images, self.every_n_epochs, self.seed = images, every_n_epochs, seed
        self._columns: list[dict[str, Tensor]] = []

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._columns = []

    on_validation_epoch_start = on_test_epoch_start

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
        if not self._drawing(trainer) or not self._wanted(trainer, batch):
            return
        noise = torch.Generator().manual_seed(self.seed + batch_idx)
        with generating(trainer):
            generated = generator_of(self, pl_module).generate(dict(batch), noise)
        self._show(batch, generated)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, Path("training", f"epoch_{trainer.current_epoch + 1:04}.png"))

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._wanted(trainer, batch):
            self._show(batch, generated_of(self, pl_module, outputs))

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._save(trainer, Path("translations.png"))

    def _show(self, batch: Mapping[str, Any], generated: Generated) -> None:
        check_images(self, generated)
        self._columns.append(shown_columns(batch, generated, self.images))

    def _drawing(self, trainer: Trainer) -> bool:
        if trainer.state.fn != "fit" or trainer.sanity_checking or not self.every_n_epochs:
            return False
        return (trainer.current_epoch + 1) % self.every_n_epochs == 0

    def _wanted(self, trainer: Trainer, batch: Any) -> bool:
        """Whether this process shows samples of this batch; those of one picture are of one size."""
        if not trainer.is_global_zero or not isinstance(batch, Mapping) or batch.get("task") != TASK:
            return False
        if not self._columns:
            return True
        same = self._columns[0]["truth"].shape[1:] == batch["image"].shape[1:]
        return same and sum(len(each["truth"]) for each in self._columns) < self.images

    def _save(self, trainer: Trainer, name: Path) -> None:
        if self._columns:
            save_columns(joined(self._columns, self.images), Path(trainer.default_root_dir) / "pictures" / name)
        self._columns = []
