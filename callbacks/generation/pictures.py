"""How inputs, outputs and their parts are shown: colours of labels, pictures beside each other."""

import colorsys
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from callbacks.results.figures import new_figure, save_figure
from networks.gan.conditions import UNLABELLED
from networks.generated import Generated, to_unit_range

_GOLDEN_RATIO = 0.618034  # of a turn of hue between colours, which keeps neighbours apart
# Black for the background, then colours that people tell apart by name.
_COLOURS = """
    000000 e6beff 3cb44b ffe119 4363d8 42d4f4 f58231 911eb4 f032e6 bfef45 800000 e6194b fabed4 9a6324 469990 808000
    ffd8b1 aaffc3 000075 a9a9a9 fffac8 ffffff
"""


@cache
def label_colours() -> Tensor:
    """Return the colours (256, 3) uint8 of all labels; the first 22 are named colours far apart from each other."""
    named = [[int(colour[k : k + 2], 16) for k in (0, 2, 4)] for colour in _COLOURS.split()]
    others = [
        [round(255 * channel) for channel in colorsys.hsv_to_rgb(k * _GOLDEN_RATIO % 1, 0.55 + 0.4 * (k % 2), 0.8)]
        for k in range(256 - len(named))
    ]
    return torch.tensor(named + others, dtype=torch.uint8)


def shown_condition(batch: Mapping[str, Any]) -> Tensor:
    """Return what a batch is translated from as pictures (B, 3, H, W) in [0, 1]: coloured labels, or edges as they are.

    Pixels that are ``UNLABELLED`` have a grey checkerboard, as transparency is shown.

    Args:
        batch: with "labels" (B, H, W) or "condition" (B, C, H, W) in [0, 1], of which C other than 1 or 3 are averaged.
    """
    if "labels" in batch:
        labels = batch["labels"].long().cpu()
        colours = label_colours()[labels].permute(0, 3, 1, 2).float() / 255
        return torch.where((labels == UNLABELLED)[:, None], checkerboard(*labels.shape[1:]), colours)
    condition = batch["condition"].float().cpu()
    return condition if condition.shape[1] == 3 else condition.mean(1, keepdim=True).expand(-1, 3, -1, -1)


def checkerboard(height: int, width: int) -> Tensor:
    """Return a grey checkerboard (height, width) in [0, 1] of about sixteen fields a side."""
    side = max(1, max(height, width) // 16)
    rows, columns = torch.arange(height)[:, None] // side, torch.arange(width) // side
    return 0.4 + 0.25 * ((rows + columns) % 2)


def shown_columns(batch: Mapping[str, Any], generated: Generated, count: int) -> dict[str, Tensor]:
    """Return the first samples as columns: input, the parts, image and truth, each (count, 3, H, W) on the CPU.

    The GAN residual r (thesis Eq. 5.1) comes as 0.5 + r / 2, as all else in units of [-1, 1].
    """
    columns = {"input": shown_condition(batch)}
    columns |= {name: to_unit_range(part) for name, part in generated.parts.items()}
    columns |= {"image": to_unit_range(generated.image), "truth": batch["image"].float()}
    return {name: images[:count].cpu() for name, images in columns.items()}


def joined(columns: Sequence[dict[str, Tensor]], count: int) -> dict[str, Tensor]:
    """Return the columns of several batches below each other, ``count`` samples at most."""
    return {name: torch.cat([each[name] for each in columns])[:count] for name in columns[0]}


def save_columns(columns: Mapping[str, Tensor], path: Path) -> None:
    """Write a picture with a column a name and a row a sample.

    Args:
        columns: name to (N, 3, H, W) in [0, 1].
        path: of a PNG.
    """
    images = list(columns.values())
    figure, panels = new_grid(len(images[0]), len(images))
    for column, (name, samples) in enumerate(columns.items()):
        panels[0, column].set_title(name, fontsize=9)
        for row, sample in enumerate(samples):
            show(panels[row, column], sample)
    save_figure(figure, path)


def new_grid(rows: int, columns: int, side: float = 1.55, height: float | None = None) -> tuple[Any, np.ndarray]:
    """Return a figure and its panels (rows, columns) without axes, ``side`` inches wide and, if None, as high."""
    figure = new_figure(side * columns, (side if height is None else height) * rows + 0.3)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    panels = figure.subplots(rows, columns, squeeze=False)
    for panel in panels.flat:
        panel.set_axis_off()
    return figure, panels


def show(panel: Any, image: Tensor) -> None:
    """Draw an image (3, H, W) in [0, 1]."""
    panel.imshow(image.clamp(0, 1).permute(1, 2, 0).cpu().numpy())


def to_bytes(images: Tensor) -> Tensor:
    """Return images in [0, 1] rounded to uint8."""
    return (images.float() * 255).round().clamp(0, 255).to(torch.uint8)
