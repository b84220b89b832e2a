"""Pictures with what a detector found in them beside what is annotated."""

import colorsys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.detection.evaluation import datamodule_of, detections
from callbacks.results.figures import new_figure, save_figure
from metrics.detections import RLE
from visionscapes.checks import PositiveInt, Share, check_options

GOLDEN_RATIO = 0.618034  # of a turn of hue between classes, which keeps neighbours apart
TINTS = ((0.75, 0.95), (1.0, 0.65), (0.45, 1.0))  # saturation and value in turn: hues come near each other every five
FONT = 6.0  # points
DRAWN_SIDE = 480  # pixels of the longer side that are drawn
WIDTH = 4.0  # inches of a panel


@dataclass(frozen=True)
class Objects:
    """What is drawn into one panel; N objects, boxes and masks in pixels of the original picture.

    Attributes:
        boxes: (N, 4) xyxy.
        labels: (N,).
        scores: (N,), or None for annotations.
        ignored: (N,) bool, drawn with dashes.
        masks: N compressed RLE, or None.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor | None
    ignored: Tensor
    masks: Sequence[RLE] | None


@dataclass(frozen=True)
class ComparedPicture:
    """A picture with annotations and detections.

    Attributes:
        image: (3, h, w) uint8 RGB, as it is drawn.
        size: height and width of the original picture.
        annotated: what is annotated.
        detected: what was found, without what scored too low.
    """

    image: Tensor
    size: tuple[int, int]
    annotated: Objects
    detected: Objects


class DetectionPicture(Callback):
    """Annotations and detections of the first test pictures beside each other.

    Writes pictures/detections.png into the run folder: a picture a row, what is annotated on the left,
    what was found on the right with its scores, masks where there are any. A class has one colour throughout; crowds
    and difficult objects are dashed. Under DDP rank 0 draws what it sees.

    Args:
        images: how many pictures to show.
        min_score: in [0, 1], from which on detections are drawn.

    Raises:
        UserError: ``images`` is below 1 or ``min_score`` is outside [0, 1].
    """

    def __init__(self, images: PositiveInt = 4, min_score: Share = 0.5):
        check_options(DetectionPicture, locals())
        self.images, self.min_score = images, min_score
        self._shown: list[ComparedPicture] = []

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._shown = []

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.is_global_zero or not isinstance(batch, Mapping) or batch.get("task") != "detection":
            return
        left = self.images - len(self._shown)
        if left > 0:
            found = detections(self, pl_module, outputs, batch)
            pictures = zip(batch["image"], batch["size"], batch["truth"], found, strict=True)
            self._shown += [shown(*picture, self.min_score) for picture in islice(pictures, left)]

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._shown:
            figure = draw(self._shown, datamodule_of(trainer, self).classes)
            save_figure(figure, Path(trainer.default_root_dir) / "pictures" / "detections.png")
        self._shown = []


def shown(
    image: Tensor, size: Tensor, truth: Mapping[str, Any], found: Mapping[str, Any], min_score: float
) -> ComparedPicture:
    """Return what is kept of one picture until the end of the epoch, on the CPU."""
    from torchvision.transforms.v2 import functional as transforms  # every run imports this file

    factor = min(1.0, DRAWN_SIDE / max(image.shape[1:]))
    drawn = [max(1, round(side * factor)) for side in image.shape[1:]]
    kept = (found["scores"] >= min_score).cpu()
    masks = found.get("masks")
    detected = Objects(
        found["boxes"].cpu()[kept],
        found["labels"].cpu()[kept],
        found["scores"].cpu()[kept],
        ignored=torch.zeros(int(kept.sum()), dtype=torch.bool),
        masks=None if masks is None else [masks[k] for k in kept.nonzero().flatten()],
    )
    boxes, labels, ignored = (truth[key].cpu() for key in ("boxes", "labels", "ignored"))
    annotated = Objects(boxes, labels, None, ignored=ignored, masks=truth["masks"])
    height, width = (int(side) for side in size)
    return ComparedPicture(
        transforms.resize(image.cpu(), drawn, antialias=True), (height, width), annotated, detected=detected
    )


def draw(rows: Sequence[ComparedPicture], classes: Sequence[str]) -> Any:
    """Return the figure that shows these pictures.

    Args:
        rows: the pictures.
        classes: their names by label.
    """
    heights = [row.size[0] / row.size[1] for row in rows]
    figure = new_figure(2 * WIDTH, WIDTH * sum(heights) + 0.3)
    figure.get_layout_engine().set(w_pad=0.02, h_pad=0.02, wspace=0.02, hspace=0.02)
    panels = figure.subplots(len(rows), 2, squeeze=False, gridspec_kw={"height_ratios": heights})
    for line, row in zip(panels, rows, strict=True):
        height, width = row.size
        for panel, objects in zip(line, (row.annotated, row.detected), strict=True):
            panel.set_axis_off()
            panel.imshow(row.image.permute(1, 2, 0).numpy(), extent=(0, width, height, 0))
            _draw_objects(panel, objects, row, classes)
            panel.set_xlim(0, width)
            panel.set_ylim(height, 0)
    for panel, title in zip(panels[0], ("annotated", "detected"), strict=True):
        panel.set_title(title, fontsize=9)
    return figure


def class_colour(label: int) -> tuple[float, float, float]:
    """Return the RGB colour in [0, 1] of a class."""
    saturation, value = TINTS[label % len(TINTS)]
    return colorsys.hsv_to_rgb(label * GOLDEN_RATIO % 1, saturation, value)


def _draw_objects(panel: Any, objects: Objects, row: ComparedPicture, classes: Sequence[str]) -> None:
    """Draw the large objects first, so that the small ones and their names stay visible."""
    from matplotlib.patches import Rectangle

    taken: list[tuple[float, float, float]] = []
    areas = (objects.boxes[:, 2:] - objects.boxes[:, :2]).prod(1)
    for k in areas.argsort(descending=True).tolist():
        label = int(objects.labels[k])
        colour = class_colour(label)
        if objects.masks is not None:
            overlay = _overlay(objects.masks[k], row.image, colour)
            panel.imshow(overlay, extent=(0, row.size[1], row.size[0], 0))
        x1, y1, x2, y2 = objects.boxes[k].tolist()
        style = "--" if objects.ignored[k] else "-"
        panel.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, edgecolor=colour, lw=1.2, ls=style))
        text = classes[label] if objects.scores is None else f"{classes[label]} {objects.scores[k]:.2f}"
        panel.text(
            *_place_of(text, x1, y1, row.size[1] / WIDTH, taken),
            text,
            fontsize=FONT,
            va="bottom",
            color="black" if np.dot(colour, (0.299, 0.587, 0.114)) > 0.5 else "white",
            bbox={"facecolor": colour, "edgecolor": "none", "pad": 0.6},
            clip_on=True,
        )


def _place_of(
    text: str, x: float, y: float, pixels: float, taken: list[tuple[float, float, float]]
) -> tuple[float, float]:
    """Return the lower left corner of a name above (x, y), or lower where another one is; ``pixels`` make an inch."""
    width, height = (len(text) * 0.62 + 0.4) * FONT / 72 * pixels, 1.5 * FONT / 72 * pixels
    x, y = max(x, 0.0), max(y, height)
    while any(x < right and left < x + width and abs(y - line) < height for left, right, line in taken):
        y += height / 2
    taken.append((x, x + width, y))
    return x, y


def _overlay(mask: RLE, image: Tensor, colour: tuple[float, float, float]) -> np.ndarray:
    """Return (h, w, 4) RGBA of a mask, see-through, of the size of the image (3, h, w) that it is laid over."""
    from pycocotools import mask as rle
    from torchvision.transforms.v2 import functional as transforms  # every run imports this file

    pixels = torch.from_numpy(np.ascontiguousarray(rle.decode(mask)))[None].float()
    cover = transforms.resize(pixels, list(image.shape[1:]), antialias=True)[0].clamp(0, 1).numpy()
    return np.dstack([np.broadcast_to(colour, (*cover.shape, 3)), 0.45 * cover])
