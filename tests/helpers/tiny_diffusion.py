"""A diffusion model for boxes with random weights and few of them, in a file as its training leaves it."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from datamodules.detection.scenes import NAMES
from networks.box_diffusion import BoxDiffusion

CHANNELS = (8, 16)


def tiny_diffusion(classes: tuple[str, ...] = NAMES, seed: int = 0) -> BoxDiffusion:
    """Return a small network with random weights, the same for the same seed."""
    torch.manual_seed(seed)
    network = BoxDiffusion(classes, CHANNELS)
    torch.nn.init.normal_(network.unet.conv_out.weight, std=0.1)  # which begins at 0
    return network.requires_grad_(False).eval()


def write_diffusion(path: Path, classes: tuple[str, ...] = NAMES, seed: int = 0) -> Path:
    """Write such a network, and return the path."""
    network = tiny_diffusion(classes, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(network.state_dict(), path, network.described())
    return path
