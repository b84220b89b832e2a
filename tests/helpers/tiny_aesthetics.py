"""An aesthetic predictor with random weights, and few of CLIP's, in the files of the published ones."""

from pathlib import Path

import torch

PLACES = (0, 2, 4, 6, 7)  # of the matrices in LAION's file, between which it has dropout
SIZES = (768, 1024, 128, 64, 16, 1)


def write_clip(folder: Path) -> Path:
    """Write the vision tower of a CLIP of 28 pixels as ``save_pretrained`` does."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14,
        projection_dim=768,
    )  # fmt: skip
    CLIPVisionModelWithProjection(config).save_pretrained(folder)
    return folder


def write_predictor(path: Path, *, mean: float = 0.0) -> Path:
    """Write LAION's matrices, with the names that its file has.

    Args:
        path: of the file.
        mean: added to all scores.
    """
    generator = torch.Generator().manual_seed(1)
    state = {}
    for place, inner, outer in zip(PLACES, SIZES, SIZES[1:], strict=False):
        state[f"layers.{place}.weight"] = torch.randn(outer, inner, generator=generator) / inner**0.5
        state[f"layers.{place}.bias"] = torch.randn(outer, generator=generator)
    state[f"layers.{PLACES[-1]}.bias"] += mean
    torch.save(state, path)
    return path
