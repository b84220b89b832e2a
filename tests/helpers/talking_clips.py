"""Toy clips for tests of SyncNets: a bright mouth whose height is the loudness of the sound."""

from typing import Any

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader
from typing_extensions import override

from networks.audio import mel_windows, whole_windows

FRAMES = 40
SIZE = 24


def talking(seed: int, frames: int = FRAMES, late: int = 0, size: int = SIZE) -> dict[str, Any]:
    """Return a whole clip, batch of task "clip", whose sound is late by some frames."""
    generator = torch.Generator().manual_seed(seed)
    opening = torch.rand(frames + 2 * abs(late) + 2, generator=generator)
    seen = opening[abs(late) : abs(late) + frames]
    heard = opening[abs(late) - late : abs(late) - late + frames]
    rows = torch.arange(size) / size
    mouth = ((rows - 0.75).abs()[None] < 0.25 * seen[:, None]).float()  # (T, S)
    noise = torch.randint(0, 40, (frames, 3, size, size), generator=generator)
    faces = (200 * mouth[:, None, :, None] + noise).to(torch.uint8)
    steps = 1 + int(3.2 * frames)
    at = (torch.arange(steps) / 3.2).long().clamp(max=frames - 1)
    mel = (8 * heard[at] - 4).expand(80, -1) + 0.1 * torch.randn(80, steps, generator=generator)
    return {
        "task": "clip",
        "faces": faces[None],
        "mel": mel.clamp(-4, 4)[None],
        "landmarks": torch.zeros(1, frames, 68, 2),
        "found": torch.ones(1, frames, dtype=torch.bool),
        "audio": torch.zeros(1, 640 * frames),
        "name": [f"clip {seed}"],
    }


def windows(seed: int, clips: int = 4, count: int = 4) -> dict[str, Any]:
    """Return a training batch of ``count`` windows of each of some clips."""
    generator = torch.Generator().manual_seed(seed)
    faces, mels, starts = [], [], []
    for clip in range(clips):
        whole = talking(100 * seed + clip)
        frames, mel = whole["faces"][0].float() / 255, whole["mel"][0]
        start = torch.randperm(whole_windows(len(frames), mel.shape[1]), generator=generator)[:count]
        faces.append(torch.stack([frames[s : s + 5] for s in start.tolist()]))
        mels.append(mel_windows(mel, start))
        starts.append(start)
    return {
        "task": "sync",
        "faces": torch.stack(faces),
        "mel": torch.stack(mels),
        "frame": torch.stack(starts),
        "name": [f"clip {100 * seed + clip}" for clip in range(clips)],
    }


class TalkingClips(LightningDataModule):
    """Some batches for training, and as many whole clips for anything else; ``late`` shifts their sound."""

    def __init__(self, batches: int = 2, clips: int = 3, late: int = 0, **options: int):
        super().__init__()
        self.batches, self.clips, self.late, self.options = batches, clips, late, options

    @override
    def train_dataloader(self) -> Any:
        return DataLoader([windows(seed, **self.options) for seed in range(self.batches)], batch_size=None)

    def _whole(self, task: str) -> Any:
        made = [talking(7000 + seed, late=self.late) | {"task": task} for seed in range(self.clips)]
        return DataLoader(made, batch_size=None)

    @override
    def val_dataloader(self) -> Any:
        return self._whole("clip")

    @override
    def test_dataloader(self) -> Any:
        return self._whole("clip")

    @override
    def predict_dataloader(self) -> Any:
        return self._whole("predict")
