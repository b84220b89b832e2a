"""Small baselines and batches for them."""

import torch

from lightning_modules import Wav2Lip
from lightning_modules.diff2lip.audio_network import AudioOptions
from lightning_modules.diff2lip.baselines.wav2lip import OnePassLosses
from lightning_modules.diff2lip.experts import ExpertOptions
from lightning_modules.diff2lip.network import UNetOptions
from lightning_modules.diff2lip.sequence_discriminator import SequenceDiscriminatorOptions

SIZE, FRAMES = 16, 12
UNET = UNetOptions(base=8, multipliers=(1, 2), blocks=1, attention_levels=(), head_channels=8)
SYNCNET = "weights/syncnet.safetensors"


LOSSES = OnePassLosses()


def wav2lip(objective=LOSSES, **options):
    torch.manual_seed(0)
    return Wav2Lip(
        face_size=SIZE,
        unet=UNET,
        audio=AudioOptions(width=4),
        objective=objective,
        experts=ExpertOptions(syncnet=SYNCNET),
        discriminator=SequenceDiscriminatorOptions(base=4, layers=1),
        **options,
    )


def training_batch(clips=2, windows=2, seed=0):
    random = torch.Generator().manual_seed(seed)
    return {
        "task": "sync",
        "faces": torch.rand(clips, windows, 5, 3, SIZE, SIZE, generator=random),
        "mel": torch.rand(clips, windows, 80, 16, generator=random),
        "frame_mel": torch.rand(clips, windows, 5, 80, 16, generator=random),
        "landmarks": SIZE * torch.rand(clips, windows, 5, 68, 2, generator=random),
    }


def pair(setting="reconstruction", seed=0, found=None):
    random = torch.Generator().manual_seed(seed)
    return {
        "task": "dub",
        "setting": [setting],
        "name": ["a__b"],
        "faces": torch.randint(256, (1, FRAMES, 3, SIZE, SIZE), generator=random, dtype=torch.uint8),
        "landmarks": SIZE * torch.rand(1, FRAMES, 68, 2, generator=random),
        "found": torch.ones(1, FRAMES, dtype=torch.bool) if found is None else torch.tensor([found]),
        "frame_mel": torch.rand(1, FRAMES, 80, 16, generator=random),
        "mel": torch.rand(1, 80, 39, generator=random),
    }
