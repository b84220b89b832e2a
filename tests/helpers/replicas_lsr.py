"""How tests start the configurations of LSR in configs/paper/: small networks, replicas of clips and weights."""

from pathlib import Path

import torch
from safetensors.torch import save_file

from lightning_modules import LSR, LSRLayout
from networks.vggface import VGGFaceNetwork
from tests.helpers.replicas_heads import make_head_clip, write_label_maps

FRAMES = 14  # of a clip: at the stride for 5 of them these are 0, 3, 6, 9 and 12
OF_LAYOUTS = {
    "image_size": 32,
    "network.base": 4,
    "network.most": 8,
    "network.latent": 8,
    "network.levels": 2,
    "experts.perceptual": "small",
    "evaluation.shots": "[1,2]",
}
OF_IMAGES = OF_LAYOUTS | {"network.spade_hidden": 4, "discriminator.base": 128}
DATA = {"image_size": 32, "frames": 5, "shots": 2, "sources": 2, "targets": 2, "batch_size": 1, "num_workers": 0}
CLIPS = ("train/a/x", "train/b/x", "train/c/x", "test/d/x", "test/e/x")


def words(options: dict, prefix: str) -> list[str]:
    return [f"--{prefix}.{key}={value}" for key, value in options.items()]


def small(options: dict) -> dict:
    """Return options with dots in their names as a constructor takes them, without what only evaluation needs."""
    found: dict = {}
    for name, value in options.items():
        group, _, option = name.rpartition(".")
        if group and group != "evaluation":
            found.setdefault(group, {})[option] = value
        elif not group:
            found[option] = value
    return found


def make_clips(root: Path) -> None:
    """Write clips of five people and label maps of their frames."""
    for person, name in enumerate(CLIPS):
        head = make_head_clip(root / "voxceleb2_heads" / f"{name}.safetensors", person, FRAMES)
        write_label_maps(root / "voxceleb2_labels" / name, head, tuple(range(FRAMES)))
    frames = [*(("source", 0), ("source", 3)), *(("target", 7), ("target", 9))]
    lines = [f"{name.removeprefix('test/')} {role} {frame}" for name in CLIPS[3:] for role, frame in frames]
    (root / "zakharov.txt").write_text("\n".join(lines))


def make_weights(root: Path) -> None:
    """Write a layout predictor, a full pipeline with its discriminator, and a thin VGGFace."""
    torch.manual_seed(0)
    save_file(LSRLayout(**small(OF_LAYOUTS)).backbone_state(), root / "lsr_layout.safetensors")
    save_file(LSR(**small(OF_IMAGES)).backbone_state(), root / "lsr.safetensors")
    torch.save(VGGFaceNetwork(2, 8, 5).state_dict(), root / "vggface.pth")


def make_data(root: Path) -> None:
    """Write all that the configurations read."""
    make_clips(root)
    make_weights(root)
