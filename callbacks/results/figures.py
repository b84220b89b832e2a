"""How pictures of results look, and how they are saved: one palette, one size limit."""

import io
from pathlib import Path
from typing import Any

from visionscapes.files import write_bytes

# Okabe and Ito's colours, which remain apart for colour-blind readers; methods take them in the order they are offered.
PALETTE = ["#000000", "#E69F00", "#999999", "#D55E00", "#CC79A7", "#0072B2", "#009E73", "#56B4E9"]
LARGEST_PNG = 300_000  # bytes


def new_figure(width: float, height: float) -> Any:
    """Return an empty matplotlib figure of this size in inches, drawn off screen and unknown to pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def save_figure(figure: Any, path: Path, dpi: float = 110) -> None:
    """Write a figure as PNG, in a lower resolution where it would take more than ``LARGEST_PNG`` bytes."""
    write_bytes(path, figure_png(figure, dpi))


def figure_png(figure: Any, dpi: float = 110) -> bytes:
    """Return a figure as PNG, in a lower resolution where it would take more than ``LARGEST_PNG`` bytes."""
    picture = as_png(figure, dpi)
    while len(picture) > LARGEST_PNG and dpi > 40:
        dpi *= 0.85
        picture = as_png(figure, dpi)
    return picture


def save_photographs(figure: Any, path: Path, dpi: float = 110) -> None:
    """Write a figure that shows photographs as PNG of at most ``LARGEST_PNG`` bytes.

    Where it would take more, it gets 256 colours, which takes a third, and then a lower resolution.
    """
    from PIL import Image

    picture = as_png(figure, dpi)
    while len(picture) > LARGEST_PNG:
        with Image.open(io.BytesIO(picture)) as image:
            enough = image.width * image.height // 20  # pixels that still change colour when k-means stops
            reduced = image.convert("RGB").quantize(256, kmeans=enough)
        picture = as_png(reduced)
        if len(picture) <= LARGEST_PNG or dpi <= 40:
            break
        dpi *= 0.85
        picture = as_png(figure, dpi)
    write_bytes(path, picture)


def as_png(picture: Any, dpi: float | None = None) -> bytes:
    """Return a picture as the content of a PNG file.

    Args:
        picture: a matplotlib figure, if ``dpi`` is given; else an image of Pillow.
        dpi: pixels an inch.
    """
    buffer = io.BytesIO()
    if dpi is None:
        picture.save(buffer, "PNG", optimize=True)
    else:
        picture.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
