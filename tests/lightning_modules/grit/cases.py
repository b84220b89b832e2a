"""Small translations: batches of random label maps and images, and modules that train on them in milliseconds."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.grit.baselines.pix2pixhd import Pix2PixHD
from lightning_modules.grit.baselines.spade import SPADE
from lightning_modules.grit.module import GRIT
from visionscapes.renamed_options import with_new_names

SIZE, CLASSES = 16, 4
SMALL: dict[str, Any] = {
    "classes": CLASSES,
    "image_size": SIZE,
    "style_dim": 8,
    "base": 4,
    "most": 8,
    "downs": 2,
    "discriminator_base": 64,
}


def batch_of(count: int = 4, seed: int = 0, size: int = SIZE, classes: int = CLASSES) -> dict[str, Any]:
    random = torch.Generator().manual_seed(seed)
    return {
        "task": "translation",
        "labels": torch.randint(0, classes, (count, size, size), generator=random, dtype=torch.uint8),
        "image": torch.rand(count, 3, size, size, generator=random),
        "name": [f"{number:02d}" for number in range(count)],
    }


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    stacked = {key: torch.stack([sample[key] for sample in samples]) for key in ("labels", "image")}
    return {"task": "translation", "name": [sample["name"] for sample in samples], **stacked}


def loader_of(count: int = 8, batch_size: int = 4, seed: int = 0) -> DataLoader:
    batch = batch_of(count, seed)
    samples = [{key: batch[key][place] for key in ("labels", "image", "name")} for place in range(count)]
    return DataLoader(samples, batch_size=batch_size, collate_fn=collate)  # type: ignore[arg-type]


def grit(**changes: Any) -> GRIT:
    """Return a small GRIT; options may stand outside their groups, for brevity."""
    torch.manual_seed(0)
    return GRIT(**with_new_names("GRIT", SMALL | changes))


def pix2pixhd(**changes: Any) -> Pix2PixHD:
    torch.manual_seed(0)
    small = {"classes": CLASSES, "image_size": SIZE, "base": 4, "downs": 2, "blocks": 1, "discriminator_base": 4}
    return Pix2PixHD(**with_new_names("Pix2PixHD", small | {"scales": 2, "lambda_vgg": 0.0} | changes))


def spade(**changes: Any) -> SPADE:
    torch.manual_seed(0)
    small = {"classes": CLASSES, "image_size": SIZE, "base": 4, "style_dim": 8, "hidden": 4, "discriminator_base": 4}
    return SPADE(**with_new_names("SPADE", small | {"scales": 2, "lambda_vgg": 0.0} | changes))


def with_noise(module: Any, strength: float = 0.5) -> Any:
    """Return the module with its noise turned on: it begins at zero."""
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.endswith("noise.weight"):
                parameter.fill_(strength)
    return module


def fit(
    module: pl.LightningModule, loader: DataLoader | None = None, ckpt_path: Path | None = None, **options: Any
) -> pl.Trainer:
    trainer = pl.Trainer(
        **{
            "max_epochs": 1,
            "accelerator": "cpu",
            "logger": False,
            "enable_checkpointing": False,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            **options,
        }
    )
    trainer.fit(module, loader or loader_of(), ckpt_path=ckpt_path)
    return trainer


def weights_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
