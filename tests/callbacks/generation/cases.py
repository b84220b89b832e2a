"""The smallest module that translates images, and samples for it."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from networks.gan.noise import NoiseInjection
from networks.generated import Generated
from tests.helpers.quiet_trainer import quiet_trainer

LABELS = ("background", "skin", "hair", "l_brow")
SIZE = 16
BLUR = 4  # pixels that the reconstruction is the mean of


class TinyTranslator(LightningModule):
    """Gives the truth, less sharp and wrong by ``shift``, plus noise where there is hair.

    Args:
        shift: error of the image in units of [-1, 1].
        strength: of the noise in units of [-1, 1].
        parts: whether it has parts.
    """

    def __init__(self, shift: float = 0.1, strength: float = 0.2, parts: bool = True):
        super().__init__()
        self.shift, self.strength, self.parts = shift, strength, parts
        self.layer = nn.Sequential(NoiseInjection(2), NoiseInjection(3))

    def generate(self, batch: dict[str, Any], noise: torch.Generator | None = None) -> Generated:
        truth = 2 * batch.get("image", batch.get("style")) - 1
        reconstruction = nn.functional.avg_pool2d(truth, BLUR)
        reconstruction = reconstruction.repeat_interleave(BLUR, 2).repeat_interleave(BLUR, 3)
        residual = truth - reconstruction + self.shift
        if "labels" in batch:
            drawn = torch.randn(len(truth), 1, *truth.shape[2:], generator=noise)
            residual = residual + self.strength * (batch["labels"] == LABELS.index("hair"))[:, None] * drawn
        parts = {"reconstruction": reconstruction, "residual": residual} if self.parts else {}
        return Generated(reconstruction + residual, parts)

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Generated | None:
        # Fixed noise, so that any division into batches gives the same images.
        return self.generate(batch) if self.strength == 0 else _each(self, batch)

    validation_step = predict_step = test_step

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        loss = sum((weight - 0.5).square().sum() for weight in self.parameters())
        self.log("train/loss", loss, on_step=True, on_epoch=True, batch_size=1)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


def _each(module: TinyTranslator, batch: dict[str, Any]) -> Generated:
    singles = [
        module.generate(collate([sample_of(batch, k)]), torch.Generator().manual_seed(len(name) + ord(name[-1])))
        for k, name in enumerate(batch["name"])
    ]
    names = singles[0].parts
    return Generated(
        torch.cat([each.image for each in singles]), {n: torch.cat([each.parts[n] for each in singles]) for n in names}
    )


def sample_of(batch: dict[str, Any], index: int) -> dict[str, Any]:
    return {key: value[index] for key, value in batch.items() if key != "task"}


def sample(index: int, size: int = SIZE) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(index)
    labels = torch.zeros(size, size, dtype=torch.uint8)
    labels[:, : size // 2] = 1
    labels[: size // 4 + index % 3] = 2
    image = 0.2 + 0.6 * torch.rand(3, size, size, generator=generator)
    deviation = 0.1 * (labels == 2) + 0.001 * torch.rand(size, size, generator=generator)
    return {"image": image, "labels": labels, "texture_std": deviation, "name": f"face {index}"}


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    stacked = {k: torch.stack([s[k] for s in samples]) for k, v in samples[0].items() if isinstance(v, Tensor)}
    return {"task": "translation", "name": [s["name"] for s in samples], **stacked}


class TinyPairs(LightningDataModule):
    """Samples of several sizes, of which each process gets a share.

    Args:
        samples: the number of samples.
        sizes: of the images.
        batch_size: of the batches.
        shares: of the first size, which samples each process gets; all if None.
    """

    def __init__(
        self,
        samples: int = 7,
        sizes: tuple[int, ...] = (SIZE,),
        batch_size: int = 3,
        shares: list[list[int]] | None = None,
    ):
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.samples, self.sizes, self.batch_size, self.shares = samples, sizes, batch_size, shares
        self.label_names, self.classes = LABELS, len(LABELS)

    def loader(self) -> dict[str, DataLoader]:
        loaders = {}
        for place, size in enumerate(self.sizes):
            data: Any = [sample(index, size) for index in range(self.samples)]
            if self.shares is not None:  # other sizes are for the first process alone
                rank = self.trainer.global_rank  # type: ignore[union-attr]
                data = Subset(data, self.shares[rank] if place == 0 else range(self.samples if rank == 0 else 0))
            loaders[f"pairs@{size}"] = DataLoader(data, self.batch_size, collate_fn=collate)
        other = {"task": "other", "image": torch.rand(1, 3, 8, 8)}
        return {"other": DataLoader([other], collate_fn=lambda batch: batch[0]), **loaders}

    test_dataloader = val_dataloader = loader

    def train_dataloader(self) -> DataLoader:
        return DataLoader([sample(0)], collate_fn=collate)


class Skipping(TinyTranslator):
    """Returns nothing for batches of other tasks, as a module of several tasks does."""

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> Generated | None:
        return super().test_step(batch, batch_idx) if batch["task"] == "translation" else None

    validation_step = predict_step = test_step


def run_test(
    folder: Any, callbacks: list[Callback], module: TinyTranslator | None = None, data: TinyPairs | None = None
) -> Trainer:
    trainer = quiet_trainer(folder, callbacks)
    trainer.test(module or Skipping(), datamodule=data or TinyPairs(), verbose=False)
    return trainer


def values(callback: Any) -> dict[tuple[str, str], float]:
    """Return the values of rows by metric and method."""
    return {(row.metric, row.method): row.value for row in callback.results}
