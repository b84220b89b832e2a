"""Pictures of what batches show: images with their boxes, and what belongs to them beside them."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from networks.gan.conditions import UNLABELLED

BESIDE = ("condition", "labels", "style")  # keys of what is shown to the right of an image
COLOURS = ["#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#FFFFFF"]


def example_pictures(batch: Any, most: int, side: int = 160) -> list[Image.Image]:
    """Return pictures of the samples of a batch, at most ``side`` pixels high and wide each.

    Args:
        batch: of any kind; what shows nothing gives no picture.
        most: pictures.
        side: in pixels.
    """
    if not isinstance(batch, Mapping):
        return []
    images = _images_of(batch)
    pictures = []
    for number, image in enumerate(images[:most]):
        picture = _shrunken(Image.fromarray(image), side)
        if "image" in batch:  # of clips, boxes are those of the face in the whole picture
            boxes, labels = (_sample(batch.get(key), number) for key in ("boxes", "labels"))
            _draw_boxes(picture, image.shape[1], boxes, labels)
        parts = [picture, *(_shrunken(Image.fromarray(each), side) for each in _beside(batch, number))]
        pictures.append(_in_a_row(parts))
    return pictures


def sheet(pictures: Sequence[Image.Image], width: int = 1100, gap: int = 4) -> Image.Image:
    """Return pictures side by side in rows on white.

    Args:
        pictures: at least one.
        width: of the sheet, pixels.
        gap: between pictures, pixels.
    """
    rows: list[list[Image.Image]] = [[]]
    for picture in pictures:
        taken = sum(each.width + gap for each in rows[-1])
        if rows[-1] and taken + picture.width > width:
            rows.append([])
        rows[-1].append(picture)
    widest = max(sum(each.width + gap for each in row) - gap for row in rows)
    heights = [max(each.height for each in row) for row in rows]
    canvas = Image.new("RGB", (widest, sum(heights) + gap * (len(rows) - 1)), "white")
    top = 0
    for row, height in zip(rows, heights, strict=True):
        left = 0
        for picture in row:
            canvas.paste(picture, (left, top))
            left += picture.width + gap
        top += height + gap
    return canvas


def _images_of(batch: Mapping[str, Any]) -> list[NDArray[np.uint8]]:
    """Return the images under "image", or else under the first key that has some; of clips the middle frames."""
    keys = ["image", *(key for key in batch if key not in ("image", *BESIDE))]
    for key in keys:
        images = list(_pictures(batch.get(key)))
        if images:
            return images
    return []


def _pictures(value: Any) -> Iterator[NDArray[np.uint8]]:
    if isinstance(value, list | tuple):
        for each in value:
            yield from _pictures(each)
    elif isinstance(value, Tensor) and value.ndim >= 3 and value.shape[-3] in (1, 3) and min(value.shape[-2:]) > 3:
        if value.ndim == 3:
            yield _as_rgb(value)
        elif value.ndim == 4:
            for each in value:
                yield _as_rgb(each)
        else:  # frames, or several pictures, of each sample
            for each in value:
                yield from list(_pictures(each[len(each) // 2]))[:4]


def _as_rgb(image: Tensor) -> NDArray[np.uint8]:
    numbers = image.detach().cpu()
    if numbers.is_floating_point():
        numbers = (numbers.nan_to_num() * 255).round().clamp(0, 255)
    array = numbers.numpy().astype(np.uint8).transpose(1, 2, 0)
    return np.repeat(array, 3, 2) if array.shape[2] == 1 else np.ascontiguousarray(array)


def _beside(batch: Mapping[str, Any], number: int) -> Iterator[NDArray[np.uint8]]:
    for key in BESIDE:
        value = batch.get(key)
        if not isinstance(value, Tensor) or number >= len(value):
            continue
        each = value[number]
        if each.ndim == 2:
            colours = np.random.default_rng(0).integers(40, 256, (256, 3), dtype=np.uint8)
            colours[0], colours[UNLABELLED] = 0, 127
            yield colours[each.cpu().numpy().astype(np.int64) % 256]
        elif each.ndim == 3:
            yield from _pictures(each)


def _sample(values: Any, number: int) -> Any:
    return values[number] if isinstance(values, list | tuple | Tensor) and number < len(values) else None


def _draw_boxes(picture: Image.Image, width: int, boxes: Any, labels: Any) -> None:
    if not isinstance(boxes, Tensor) or boxes.ndim != 2 or boxes.shape[-1] != 4:
        return
    scale = picture.width / width
    pencil = ImageDraw.Draw(picture)
    named = isinstance(labels, Tensor) and labels.ndim == 1 and len(labels) == len(boxes)
    for place, box in enumerate((boxes * scale).tolist()):
        colour = COLOURS[int(labels[place]) % len(COLOURS) if named else 0]
        left, top, right, bottom = box
        if right >= left and bottom >= top:
            pencil.rectangle((left, top, max(right - 1, left), max(bottom - 1, top)), outline=colour, width=2)


def _shrunken(picture: Image.Image, side: int) -> Image.Image:
    scale = side / max(picture.size)
    width, height = (max(1, round(length * scale)) for length in picture.size)
    return picture.resize((width, height), Image.Resampling.BILINEAR if scale < 1 else Image.Resampling.NEAREST)


def _in_a_row(parts: Sequence[Image.Image]) -> Image.Image:
    canvas = Image.new("RGB", (sum(each.width for each in parts), max(each.height for each in parts)), "white")
    left = 0
    for each in parts:
        canvas.paste(each, (left, 0))
        left += each.width
    return canvas
