"""Pictures of what pseudo-positive mining finds beside the annotations there are (Figures 3.5, 3.7 and 3.9)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.results.figures import new_figure, save_figure
from visionscapes.checks import PositiveInt, check_options

COLUMNS = 3
PANEL = 3.0  # inches
ANNOTATED, MINED, REMOVED = "#E00000", "#FFFFFF", "#00C8FF"


@runtime_checkable
class Mines(Protocol):
    """A module that mines boxes in training batches."""

    def mined(self, batch: Mapping[str, Any]) -> list[Tensor]:
        """Return what is mined in a batch, B x (n, 4) xyxy in pixels of its pictures."""


class MinedBoxPicture(Callback):
    """Mined boxes of the last training batches, white, beside the annotations, red, as in Figure 3.5.

    Where a sparse split is known, what it removed is drawn with blue dashes. Writes pictures/mined_boxes.png into the
    run folder when training ends; nothing for a module that mines no boxes, so that the methods that
    SparseDet is compared with run under its configuration. Under DDP rank 0 draws what it sees.

    Args:
        images: how many pictures to show.

    Raises:
        UserError: an option is out of its bounds.
    """

    def __init__(self, images: PositiveInt = 6):
        check_options(MinedBoxPicture, locals())
        self.images = images
        self._last: list[dict[str, Any]] = []

    @override
    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        mines = trainer.is_global_zero and isinstance(pl_module, Mines)
        if mines and isinstance(batch, dict) and batch.get("task") == "detection":
            enough = -(-self.images // len(batch["image"]))
            self._last = [*self._last, batch][-enough:]

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self._last:
            return
        pictures: list[dict[str, Any]] = []
        training = pl_module.training
        pl_module.eval()
        for batch in reversed(self._last):
            mined = cast(Mines, pl_module).mined(batch)
            keys = ("image", "boxes", "removed_boxes")
            pictures += [
                {key: batch[key][k].cpu() for key in keys} | {"mined": boxes.cpu()} for k, boxes in enumerate(mined)
            ]
            if len(pictures) >= self.images:
                break
        pl_module.train(training)
        self._last = []
        save_figure(draw(pictures[: self.images]), Path(trainer.default_root_dir) / "pictures" / "mined_boxes.png")


def draw(pictures: list[dict[str, Any]]) -> Any:
    """Return the figure.

    Args:
        pictures: "image" (3, H, W) uint8 RGB and "boxes", "mined" and "removed_boxes", (N, 4) xyxy in its pixels.
    """
    columns = min(COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = new_figure(PANEL * columns, PANEL * rows + 0.35)
    figure.get_layout_engine().set(w_pad=0.03, h_pad=0.03, wspace=0.02, hspace=0.02)
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    for panel in panels:
        panel.set_axis_off()
    for panel, picture in zip(panels, pictures, strict=False):
        panel.imshow(picture["image"].permute(1, 2, 0).numpy())
        outline(panel, picture["removed_boxes"], REMOVED, "--", 1.0)
        outline(panel, picture["boxes"], ANNOTATED, "-", 1.6)
        outline(panel, picture["mined"], MINED, "-", 1.6)
    names = {"annotated": (ANNOTATED, "-"), "removed from the annotations": (REMOVED, "--"), "mined": (MINED, "-")}
    handles = [_line(*look) for look in names.values()]
    figure.legend(handles, list(names), loc="outside upper center", ncols=3, fontsize=8, facecolor="#808080")
    return figure


def outline(panel: Any, boxes: Tensor, colour: str, style: str, width: float) -> None:
    """Draw boxes (N, 4) xyxy over a picture."""
    from matplotlib.patches import Rectangle

    for x1, y1, x2, y2 in torch.as_tensor(boxes).tolist():
        # A pixel's centre is where imshow counts from.
        corner = x1 - 0.5, y1 - 0.5
        panel.add_patch(Rectangle(corner, x2 - x1, y2 - y1, fill=False, edgecolor=colour, ls=style, lw=width))


def _line(colour: str, style: Any) -> Any:
    from matplotlib.lines import Line2D

    return Line2D([], [], color=colour, linestyle=style)
