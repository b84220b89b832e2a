"""The smallest module that offers dense features, and loaders of objects on plain ground for it."""

from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from networks.dense import Upsampled
from tests.helpers.quiet_trainer import quiet_trainer


class Pooled(nn.Module):
    """Mean colours of cells of ``patch`` pixels, centred and doubled to six channels."""

    def __init__(self, patch: int = 4):
        super().__init__()
        self.patch = patch

    def forward(self, images: Tensor) -> Tensor:
        cells = F.avg_pool2d(images, self.patch) - 0.5
        return torch.cat([cells, cells**2], 1)


class TinyModule(LightningModule):
    """Offers pooled colours, the same upsampled, and a useless constant."""

    def __init__(self):
        super().__init__()
        self.pooled = Pooled()
        self.useless = nn.Sequential(Pooled(), nn.Conv2d(6, 3, 1))
        nn.init.zeros_(self.useless[1].weight)

    def dense_features(self) -> dict[str, nn.Module]:
        return {"base": self.pooled, "bilinear": Upsampled(self.pooled), "useless": self.useless}

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        pass

    test_step = validation_step

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self.pooled(batch["image"])


class Objects(Dataset):
    """A red rectangle on blue ground, its box annotated; noise makes every image different."""

    def __init__(self, count: int, size: int):
        self.count, self.size = count, size

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        generator = torch.Generator().manual_seed(index)
        unit = self.size // 8
        left, top = (int(torch.randint(1, 4, (), generator=generator)) * unit for _ in range(2))
        image = torch.tensor([0.1, 0.2, 0.9])[:, None, None].repeat(1, self.size, self.size)
        image[:, top : top + 3 * unit, left : left + 2 * unit] = torch.tensor([0.9, 0.2, 0.1])[:, None, None]
        noise = torch.rand(3, 8, 8, generator=generator).repeat_interleave(unit, 1).repeat_interleave(unit, 2)
        box = torch.tensor([[left, top, left + 2 * unit, top + 3 * unit]], dtype=torch.float32)
        return {"image": (image + 0.1 * noise).clamp(0, 1), "boxes": box}


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "task": "discovery",
        "image": torch.stack([sample["image"] for sample in samples]),
        "boxes": [sample["boxes"] for sample in samples],
        "image_id": [str(index) for index in range(len(samples))],
    }


def object_discovery_loaders(
    count: int = 6, sizes: tuple[int, ...] = (32,), batch_size: int = 2
) -> dict[str, DataLoader]:
    return {
        f"discovery@{size}": DataLoader(Objects(count, size), batch_size=batch_size, collate_fn=collate)
        for size in sizes
    }


def run_test(folder: Any, callbacks: list[Callback], loaders: Any, module: LightningModule | None = None) -> Trainer:
    """Run ``Trainer.test`` quietly in a run folder."""
    trainer = quiet_trainer(folder, callbacks)
    trainer.test(module or TinyModule(), dataloaders=loaders, verbose=False)
    return trainer
