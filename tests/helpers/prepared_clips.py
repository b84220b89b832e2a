"""Prepared clips without a video: pictures of noise, landmarks that wander, a sound that hums."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from datamodules.clips.clip_files import ClipArrays, JpegFrames, write_clip
from networks.audio import SAMPLE_RATE, MelSpectrogram


def clip_arrays(frames: int, size: int = 32, seed: int = 0) -> ClipArrays:
    generator = np.random.default_rng(seed)
    audio = generator.uniform(-0.3, 0.3, frames * SAMPLE_RATE // 25).astype(np.float32)
    box = np.array([size / 4, size / 4, 3 * size / 4, 3 * size / 4], np.float32)
    return ClipArrays(
        boxes=box + generator.uniform(-1, 1, (frames, 1)).astype(np.float32),
        landmarks=generator.uniform(size / 4, 3 * size / 4, (frames, 68, 2)).astype(np.float32),
        found=np.ones(frames, bool),
        crops=np.tile(np.array([10, 20, 90, 100], np.float32), (frames, 1)),
        mel=MelSpectrogram()(torch.from_numpy(audio)).numpy(),
        audio=audio,
    )


def smooth_picture(seed: int, width: int = 32, height: int = 32) -> Image.Image:
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


def make_prepared_clip(
    path: Path, frames: int = 10, seed: int = 0, about: dict[str, Any] | None = None, **changed: Any
) -> ClipArrays:
    """Write a prepared clip and return what was put into it; ``changed`` replaces some of it."""
    arrays = clip_arrays(frames, seed=seed)._replace(**changed)
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = JpegFrames(path.parent)
    for index in range(frames):
        pictures.append(smooth_picture(1000 * seed + index))
    write_clip(path, pictures, arrays, about or {"source": f"{path.stem}.mp4", "settings": {}})
    pictures.close()
    return arrays
