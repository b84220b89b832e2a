"""Pictures with boxes, masks, names and scores drawn into them, as JPEG: quick, and legible at any size of picture."""

import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from callbacks.detection.detection_picture import class_colour
from metrics.detections import RLE

LARGEST = 1280  # pixels of the longer side that are drawn
SMALLEST = 640  # and the fewest, in which names are legible
LONGEST_NAME = 28  # letters
LEGEND_LINES = 3
NARROWEST_LEGEND = 240  # pixels
QUALITY = 90  # of JPEG
MASK_STRENGTH = 0.4
Colour = tuple[int, int, int]
Area = tuple[float, float, float, float]
Entry = tuple[str, Colour | None]  # of a legend


@dataclass(frozen=True)
class Drawn:
    """An object that is drawn.

    Attributes:
        box: xyxy in pixels of the original picture.
        label: decides the colour.
        name: that the legend counts.
        text: that stands at the box, such as name and score.
        mask: compressed RLE of the original size, or None.
        dashed: whether its outline has gaps.
        colour: RGB of 8 bits in place of that of its label.
    """

    box: Sequence[float]
    label: int
    name: str
    text: str
    mask: RLE | None = None
    dashed: bool = False
    colour: Colour | None = None


def drawn(image: Image.Image, size: tuple[int, int], objects: Sequence[Drawn], note: str = "") -> Image.Image:
    """Return a picture with objects, and below it a legend of their classes.

    The first objects are drawn last, on top of the others, and their names find a place first. Where there is no room
    for a name, the colour of the box and the legend tell the class.

    Args:
        image: RGB of any size.
        size: height and width of the original picture, which boxes and masks refer to.
        objects: the most important first.
        note: text before the legend, such as what is not shown.
    """
    scale = min(LARGEST, max(SMALLEST, max(size))) / max(size)
    width, height = (max(1, round(side * scale)) for side in (size[1], size[0]))
    resampling = Image.Resampling.LANCZOS if width < image.width else Image.Resampling.BICUBIC
    canvas = image.resize((width, height), resampling)
    for each in reversed(objects):
        if each.mask is not None:
            _lay_over(canvas, each.mask, _colour_of(each))
    draw = ImageDraw.Draw(canvas)
    line = max(2, round(max(canvas.size) / 420))
    for each in reversed(objects):
        outline(draw, [side * scale for side in each.box], _colour_of(each), line=line, dashed=each.dashed)
    taken: list[Area] = []
    for each in objects:
        _write_name(draw, [side * scale for side in each.box], each, canvas.size, taken)
    return _with_legend(canvas, objects, note)


def as_image(image: Tensor) -> Image.Image:
    """Return a picture (3, H, W) uint8 RGB as Pillow has it."""
    return Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())


def as_jpeg(picture: Image.Image) -> bytes:
    """Return a picture as JPEG."""
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=QUALITY, subsampling=0)  # optimize fails on noise
    return buffer.getvalue()


def outline(
    draw: ImageDraw.ImageDraw, box: Sequence[float], colour: Colour, *, line: int, dashed: bool = False
) -> None:
    """Draw a box with a thin dark edge, which shows it on a ground of its own colour.

    Args:
        draw: into a picture.
        box: xyxy in its pixels.
        colour: of the line.
        line: its width in pixels.
        dashed: whether it has gaps.
    """
    x1, y1, x2, y2 = box
    x2, y2 = max(x1 + 1, x2 - 1), max(y1 + 1, y2 - 1)
    if not dashed:
        draw.rectangle((x1 - 1, y1 - 1, x2 + 1, y2 + 1), outline=(0, 0, 0), width=line + 2)
        draw.rectangle((x1, y1, x2, y2), outline=colour, width=line)
        return
    dash = 5 * line
    for start, end in (((x1, y1), (x2, y1)), ((x2, y1), (x2, y2)), ((x2, y2), (x1, y2)), ((x1, y2), (x1, y1))):
        length = max(abs(end[0] - start[0]), abs(end[1] - start[1]))
        for at in np.arange(0, length, 2 * dash):
            share, stop = at / length, min(1, (at + dash) / length)
            ends = [tuple(a + part * (b - a) for a, b in zip(start, end, strict=True)) for part in (share, stop)]
            draw.line(ends, fill=(0, 0, 0), width=line + 2)
            draw.line(ends, fill=colour, width=line)


def shortened(name: str, most: int = LONGEST_NAME) -> str:
    """Return a name of at most ``most`` letters, its middle left out: names of one kind differ at either end."""
    if len(name) <= most:
        return name
    start = (most - 1) * 2 // 3
    return f"{name[:start]}…{name[start + 1 - most :]}"


@cache
def font(size: int) -> Any:
    """Return a font with the letters of most alphabets, ``size`` pixels high."""
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf", size)


def _colour_of(each: Drawn) -> Colour:
    if each.colour is not None:
        return each.colour
    red, green, blue = (round(255 * part) for part in class_colour(each.label))
    return red, green, blue


def _ink(colour: Colour) -> str:
    return "black" if np.dot(colour, (0.299, 0.587, 0.114)) > 128 else "white"


def _lay_over(canvas: Image.Image, mask: RLE, colour: Colour) -> None:
    from pycocotools import mask as rle

    cover = Image.fromarray(rle.decode(mask) * np.uint8(round(255 * MASK_STRENGTH)))
    canvas.paste(colour, (0, 0), cover.resize(canvas.size, Image.Resampling.BILINEAR))


def _write_name(
    draw: ImageDraw.ImageDraw, box: Sequence[float], each: Drawn, canvas: tuple[int, int], taken: list[Area]
) -> None:
    """Write a name where no other one is: above its box, in it or below it; nowhere if all these places are taken."""
    letters = font(max(13, round(max(canvas) / 68)))
    left, top, right, bottom = draw.textbbox((0, 0), each.text, font=letters)
    width, height = right - left + 6, bottom - top + 5
    x1, y1, x2, y2 = box
    steps = [y1 + k * height for k in range(1, max(1, int((y2 - y1) // height) - 1))]
    for y in (y1 - height, y1, y2, y2 - height, *steps):
        for x in (x1, x2 - width):
            x, y = min(max(x, 0), max(0, canvas[0] - width)), min(max(y, 0), max(0, canvas[1] - height))
            area = x, y, x + width, y + height
            if not any(_overlap(area, other) for other in taken):
                taken.append(area)
                draw.rectangle(area, fill=_colour_of(each))
                draw.text((x + 3 - left, y + 2 - top), each.text, font=letters, fill=_ink(_colour_of(each)))
                return


def _overlap(first: Area, second: Area) -> bool:
    return first[0] < second[2] and second[0] < first[2] and first[1] < second[3] and second[1] < first[3]


def _with_legend(canvas: Image.Image, objects: Sequence[Drawn], note: str) -> Image.Image:
    """Return the picture with the names and colours of what is in it below, the most frequent first."""
    counts = Counter(each.name for each in objects)
    colours = {each.name: _colour_of(each) for each in objects}
    letters = font(max(13, round(max(canvas.size) / 68)))
    height, width = letters.size + 9, max(canvas.width, NARROWEST_LEGEND)
    entries: list[Entry] = [(note, None)] if note else []
    entries += [(f"{shortened(name)} {count}", colours[name]) for name, count in counts.most_common()]
    rows = _in_lines(entries, letters, width - 12)
    if not rows:
        return canvas
    sheet = Image.new("RGB", (width, canvas.height + len(rows) * height + 6), "white")
    sheet.paste(canvas, (0, 0))
    draw = ImageDraw.Draw(sheet)
    for line, row in enumerate(rows):
        x, y = 6.0, canvas.height + 4 + line * height
        for text, colour in row:
            if colour is not None:
                draw.rectangle((x, y + 2, x + letters.size - 1, y + letters.size + 1), fill=colour, outline="black")
            draw.text((x + (letters.size + 5) * (colour is not None), y), text, font=letters, fill="black")
            x += _length((text, colour), letters)
    return sheet


def _in_lines(entries: Sequence[Entry], letters: Any, width: float) -> list[list[Entry]]:
    """Return the entries of each line of the legend; the last says how many have found no room."""
    lines: list[list[Entry]] = []
    used = 0.0
    for entry in entries:
        length = _length(entry, letters)
        if not lines or used + length > width:
            lines.append([])
            used = 0.0
        lines[-1].append(entry)
        used += length
    hidden = sum(map(len, lines[LEGEND_LINES:]))
    lines = lines[:LEGEND_LINES]
    while hidden and sum(_length(each, letters) for each in [*lines[-1], _more(hidden)]) > width and lines[-1]:
        lines[-1].pop()
        hidden += 1
    return [*lines[:-1], [*lines[-1], _more(hidden)]] if hidden else lines


def _more(hidden: int) -> Entry:
    return f"and {hidden} more", None


def _length(entry: Entry, letters: Any) -> float:
    return letters.getlength(entry[0]) + (letters.size + 5) * (entry[1] is not None) + 14
