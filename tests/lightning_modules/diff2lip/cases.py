"""Small modules that dub, and batches that they train on in milliseconds."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.diff2lip.module import Diff2Lip
from tests.helpers.runs import ROOT

SIZE = 16
SYNCNET = str(ROOT / "weights" / "syncnet.safetensors")
UNET: dict[str, Any] = {
    "base": 8,
    "multipliers": (1, 2),
    "blocks": 1,
    "attention_levels": (1,),
    "head_channels": 8,
}
SMALL: dict[str, Any] = {
    "face_size": SIZE,
    "unet": UNET,
    "audio": {"width": 4},
    "experts": {"syncnet": SYNCNET, "perceptual": "small"},
    "discriminator": {"base": 4, "layers": 1},
    "optimizer": {"lr": 1e-3},
    "sampling": {"steps": 3},
}
NO_EXPERTS = {"losses": {"lambda_sync": 0.0, "lambda_perceptual": 0.0, "lambda_gan": 0.0}}


def diff2lip(seed: int = 0, **changes: Any) -> Diff2Lip:
    """Return a small Diff2Lip; groups of options are added to those of `SMALL`."""
    torch.manual_seed(seed)
    given = {**SMALL}
    for name, value in changes.items():
        given[name] = {**given.get(name, {}), **value} if isinstance(value, dict) else value
    return Diff2Lip(**given)


def moved(module: Any, scale: float = 0.05, seed: int = 1) -> Any:
    """Return the module with all of its weights moved at random: a new one gives zeros."""
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for each in filter(lambda each: each.requires_grad, module.parameters()):
            each.add_(scale * torch.randn(each.shape, generator=random))
    return module


def batch_of(seed: int = 0, clips: int = 2, windows: int = 2, size: int = SIZE) -> dict[str, Any]:
    random = torch.Generator().manual_seed(seed)
    frames = (clips, windows, 5)
    return {
        "task": "sync",
        "faces": torch.rand(*frames, 3, size, size, generator=random),
        "mel": torch.randn(clips, windows, 80, 16, generator=random),
        "frame_mel": torch.randn(*frames, 80, 16, generator=random),
        "landmarks": face_landmarks(size).expand(*frames, 68, 2),
    }


def face_landmarks(size: int = SIZE, roll: float = 0.0) -> Tensor:
    """Return the landmarks (68, 2) of eyes and nose of an upright face, or one that is turned by radians."""
    points = torch.full((68, 2), 0.5)
    points[36:42] = torch.tensor([0.3, 0.4])
    points[42:48] = torch.tensor([0.7, 0.4])
    points[33] = torch.tensor([0.5, 0.6])
    turn = torch.tensor(roll)
    matrix = torch.stack([torch.stack([turn.cos(), turn.sin()]), torch.stack([-turn.sin(), turn.cos()])])
    return size * ((points - points[33]) @ matrix + points[33])


def frames_of(count: int = 7, seed: int = 0, size: int = SIZE) -> tuple[Tensor, Tensor, Tensor]:
    """Return faces, references and the sound of each frame."""
    random = torch.Generator().manual_seed(seed)
    faces, references = torch.rand(2, count, 3, size, size, generator=random)
    return faces, references, torch.randn(count, 80, 16, generator=random)


def fit(module: pl.LightningModule, steps: int = 3, ckpt_path: Path | str | None = None, **options: Any) -> pl.Trainer:
    """Train for as many batches in one epoch, and return the trainer."""
    quiet = ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary")
    trainer = pl.Trainer(**{"max_epochs": 1, "accelerator": "cpu", **dict.fromkeys(quiet, False), **options})
    batches = [batch_of(seed, clips=1) for seed in range(steps)]
    trainer.fit(module, DataLoader(batches, batch_size=None), ckpt_path=ckpt_path)  # type: ignore[arg-type]
    return trainer


def weights_of(module: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}
