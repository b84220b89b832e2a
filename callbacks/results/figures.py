"""How pictures of results look, and how they are saved: one palette, one resolution."""

import io
from pathlib import Path
from typing import Any

from visionscapes.files import write_bytes

# Okabe and Ito's colours, which remain apart for colour-blind readers; methods take them in the order they are offered.
PALETTE = ["#000000", "#E69F00", "#999999", "#D55E00", "#CC79A7", "#0072B2", "#009E73", "#56B4E9"]
DPI = 110  # pixels an inch


def new_figure(width: float, height: float) -> Any:
    """Return an empty matplotlib figure of this size in inches, drawn off screen and unknown to pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained", facecolor="white")


def save_figure(figure: Any, path: Path, dpi: float = DPI) -> None:
    """Write a figure as PNG, however many bytes it takes: ``python -m experiments picture`` makes small copies."""
    write_bytes(path, as_png(figure, dpi))


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
