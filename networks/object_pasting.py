"""Objects that are pasted onto pictures, as by methods that Gen2Det is compared with (thesis 7.5.3, X-Paste)."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import override

from networks.inpainting import GroundedInpainter, Inpainted, PictureLayout, Truth, Verdict, options_of
from visionscapes.checks import check_options


class ObjectPicture(NamedTuple):
    """A picture of one object.

    Attributes:
        pixels: (H, W, 4) uint8 RGBA, alpha 0 where the object is not.
        background: (H, W, 3) uint8 RGB, the same picture with what is around the object.
        verdict: what it shows of what was asked for, where that is known.
    """

    pixels: NDArray[np.uint8]
    background: NDArray[np.uint8]
    verdict: Verdict | None = None


class ObjectPictures(ABC):
    """Base of where pictures of single objects come from; a subclass keeps its options in attributes of their names."""

    @property
    def options(self) -> dict[str, Any]:
        """The options that it was made with, as plain values."""
        return options_of(self)

    @abstractmethod
    def draw(self, name: str, size: tuple[int, int], rng: np.random.Generator) -> ObjectPicture:
        """Return a picture of an object of a class.

        Args:
            name: of the class.
            size: height and width in pixels.
            rng: random numbers; the only ones that are used.

        Raises:
            UserError: there is none of that class.
        """


class ObjectPasting(GroundedInpainter):
    """Pastes pictures of objects into the boxes of a layout, the largest first; the rest of the picture stays as it is.

    Args:
        objects: where the pictures of objects come from, such as ``datamodules.ObjectFolder``.
        cut_out: whether objects are pasted along their outline, as by X-Paste; whole pictures of them otherwise, with
            what is around the object (7.5.3).

    Raises:
        UserError: ``cut_out`` is no truth value.
    """

    title = "pasted objects"

    def __init__(self, objects: ObjectPictures, cut_out: bool = True):
        check_options(ObjectPasting, locals())
        super().__init__()
        self.objects, self.cut_out = objects, cut_out

    @property
    @override
    def options(self) -> dict[str, Any]:
        cls = type(self.objects)
        objects = {"class": f"{cls.__module__}.{cls.__qualname__}", "options": self.objects.options}
        return {"objects": objects, "cut_out": self.cut_out}

    @override
    def inpaint(self, layout: PictureLayout, seed: int) -> Inpainted:
        canvas = layout.image.permute(1, 2, 0).numpy().astype(np.float32)
        height, width = canvas.shape[:2]
        boxes = layout.boxes.double().numpy()
        verdicts: list[Verdict | None] = [None] * len(boxes)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(1)
        for row in np.argsort(-areas, kind="stable").tolist():
            x1, y1 = (int(side) for side in boxes[row, :2].clip(0).round())
            x2, y2 = max(x1 + 1, round(boxes[row, 2])), max(y1 + 1, round(boxes[row, 3]))
            picture = self.objects.draw(layout.names[row], (y2 - y1, x2 - x1), np.random.default_rng([seed, row]))
            verdicts[row] = picture.verdict
            place = canvas[y1 : min(y2, height), x1 : min(x2, width)]
            pasted = picture.pixels[: place.shape[0], : place.shape[1]].astype(np.float32)
            if self.cut_out:
                alpha = pasted[..., 3:] / 255
                place[:] = alpha * pasted[..., :3] + (1 - alpha) * place
            else:
                place[:] = picture.background[: place.shape[0], : place.shape[1]]
        image = torch.from_numpy(canvas.round().astype(np.uint8)).permute(2, 0, 1).contiguous()
        known = [each for each in verdicts if each is not None]
        truth = None
        if known and len(known) == len(verdicts):
            truth = Truth(tuple(known), low_quality=False, extra_boxes=torch.zeros(0, 4), extra_names=())
        return Inpainted(image, torch.ones(len(boxes), dtype=torch.bool), truth=truth)

    @override
    def ignores_boxes(self, layout: PictureLayout, seed: int) -> bool:
        return False  # it pastes into them and nowhere else
