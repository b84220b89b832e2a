"""Small modules that reenact, and batches that they train on in milliseconds."""

from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from lightning_modules.lsr.fine_tuning import OwnShots
from lightning_modules.lsr.layout import LSRLayout
from lightning_modules.lsr.module import LSR
from lightning_modules.lsr.subject import LSRFineTuning
from tests.lightning_modules.grit.cases import fit, weights_of

__all__ = ["fit", "weights_of"]
SIZE, CLASSES, SHOTS = 16, 5, 2
NETWORK: dict[str, Any] = {"base": 4, "most": 8, "latent": 8, "levels": 2, "spade_hidden": 4}
SMALL: dict[str, Any] = {
    "classes": CLASSES,
    "image_size": SIZE,
    "network": NETWORK,
    "experts": {"perceptual": "small"},
    "optimizer": {"warmup": 0},
}
NO_FACES = {"lambda_vggface": 0.0, "lambda_id": 0.0}
FULL: dict[str, Any] = SMALL | {"losses": NO_FACES, "discriminator": {"base": 64}}


def with_groups(small: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return options to which others are added, those of groups to the group."""
    given = {**small}
    for name, value in changes.items():
        given[name] = {**given.get(name, {}), **value} if isinstance(value, dict) else value
    return given


def lsr(seed: int = 0, **changes: Any) -> LSR:
    torch.manual_seed(seed)
    return LSR(**with_groups(FULL, changes))


def lsr_layout(seed: int = 0, **changes: Any) -> LSRLayout:
    torch.manual_seed(seed)
    return LSRLayout(**with_groups(SMALL, changes))


def lsr_fine_tuning(seed: int = 0, **changes: Any) -> LSRFineTuning:
    torch.manual_seed(seed)
    return LSRFineTuning(**with_groups({name: each for name, each in FULL.items() if name != "optimizer"}, changes))


def shots_of(count: int, seed: int = 0, size: int = SIZE) -> OwnShots:
    """Return the shots of one person, of noise."""
    return OwnShots(*torch.rand(2, count, 3, size, size, generator=torch.Generator().manual_seed(seed)))


class OneSubject(pl.LightningDataModule):
    """OwnShots of one person, the same in every batch.

    Args:
        count: K.
    """

    def __init__(self, count: int):
        super().__init__()
        self.shots, self.known = count, shots_of(count)

    def train_dataloader(self) -> DataLoader:
        batch = {"task": "heads", "shots": self.known.images[None], "shot_drawings": self.known.drawings[None]}
        return DataLoader([batch] * 3, batch_size=None)  # type: ignore[arg-type]


def batch_of(count: int = 2, seed: int = 0, shots: int = SHOTS, size: int = SIZE) -> dict[str, Any]:
    """Return a training batch, task "heads", of noise."""
    random = torch.Generator().manual_seed(seed)
    return {
        "task": "heads",
        "shots": torch.rand(count, shots, 3, size, size, generator=random),
        "shot_drawings": torch.rand(count, shots, 3, size, size, generator=random),
        "image": torch.rand(count, 3, size, size, generator=random),
        "drawing": torch.rand(count, 3, size, size, generator=random),
        "landmarks": size * torch.rand(count, 68, 2, generator=random),
        "labels": torch.randint(0, CLASSES, (count, size, size), generator=random, dtype=torch.uint8),
        "name": [f"{number:02d}" for number in range(count)],
    }


def subject_of(sources: int = 6, targets: int = 3, seed: int = 1, size: int = SIZE) -> dict[str, Any]:
    """Return a batch of one person, task "subject", of noise."""
    random = torch.Generator().manual_seed(seed)

    def pictures(count: int) -> torch.Tensor:
        return torch.randint(0, 256, (1, count, 3, size, size), generator=random, dtype=torch.uint8)

    return {
        "task": "subject",
        "name": ["anna"],
        "shots": pictures(sources),
        "shot_drawings": pictures(sources),
        "image": pictures(targets),
        "drawing": pictures(targets),
        "labels": torch.randint(0, CLASSES, (1, targets, size, size), generator=random, dtype=torch.uint8),
    }


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    stacked = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0] if key != "name"}
    return {"task": "heads", "name": [sample["name"] for sample in samples], **stacked}


def loader_of(count: int = 4, batch_size: int = 2, seed: int = 0, **options: Any) -> DataLoader:
    batch = batch_of(count, seed, **options)
    samples = [{key: batch[key][place] for key in batch if key != "task"} for place in range(count)]
    return DataLoader(samples, batch_size=batch_size, collate_fn=collate)  # type: ignore[arg-type]


def gradients_of(loss: torch.Tensor, module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return the gradient of a loss by the parameters of a module that it depends on, by name."""
    named = dict(module.named_parameters())
    found = torch.autograd.grad(loss, list(named.values()), allow_unused=True, retain_graph=True)
    return {name: gradient for name, gradient in zip(named, found, strict=True) if gradient is not None}


def quiet(module: pl.LightningModule) -> pl.LightningModule:
    """Return a module whose steps can be called without a Trainer: what it logs is dropped."""
    module.log = lambda *args, **options: None  # type: ignore[method-assign]
    return module
