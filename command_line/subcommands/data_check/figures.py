"""Pictures of a data set: examples, sizes of its pictures and of its boxes."""

from typing import Any

import numpy as np

from callbacks.results.figures import PALETTE, as_png, new_figure
from datamodules.common.inspection.examples import sheet
from datamodules.common.inspection.inspect_data import DataReport

DPI = 100
RANGE = 4  # times as large, from which on an axis is logarithmic
COLOURS = PALETTE[5:] + PALETTE  # of the parts


def figures_of(report: DataReport) -> dict[str, bytes]:
    """Return pictures as PNG by the names of their files: examples_<loader>, sizes, aspects, box_sizes, box_aspects."""
    pictures = {}
    for name, examples in report.examples.items():
        if examples:
            pictures[f"examples_{file_name(name)}.png"] = as_png(sheet(examples))
    if len({size for stored in report.stored.values() for size in map(tuple, stored.sizes.tolist())}) > 1:
        pictures |= {"sizes.png": as_png(_sizes(report), DPI), "aspects.png": as_png(_aspects(report), DPI)}
    if any(part.boxes is not None and len(part.boxes.corners) for part in report.contents.values()):
        pictures |= {f"box_{name}.png": as_png(figure, DPI) for name, figure in _boxes(report).items()}
    return pictures


def file_name(loader: str) -> str:
    """Return the name of a loader as a part of the name of a file."""
    return "".join(each if each.isalnum() else "_" for each in loader)


def _sizes(report: DataReport) -> Any:
    figure, panel = _new_panel()
    sizes = [stored.sizes for stored in report.stored.values() if len(stored.sizes)]
    for (name, stored), colour in zip(report.stored.items(), COLOURS, strict=False):
        if len(stored.sizes):
            different, often = np.unique(stored.sizes, axis=0, return_counts=True)
            width, height = different.T
            area = 20 * (1 + np.log2(often))  # square points, so that what is there often shows
            panel.scatter(width, height, s=area, alpha=0.5, color=colour, label=name, linewidths=0)
    panel.set(xlabel="width, pixels", ylabel="height, pixels", title="Sizes of the pictures")
    for axis, sides in (("x", np.concatenate(sizes)[:, 0]), ("y", np.concatenate(sizes)[:, 1])):
        if sides.max() >= RANGE * sides.min():  # else there are powers of two enough to name
            getattr(panel, f"set_{axis}scale")("log", base=2)
            getattr(panel, f"{axis}axis").set_major_formatter("{x:g}")
        else:
            getattr(panel, f"{axis}axis").get_major_locator().set_params(nbins=5, integer=True)
    panel.legend(frameon=False)
    return figure


def _aspects(report: DataReport) -> Any:
    figure, panel = _new_panel()
    for (name, stored), colour in zip(report.stored.items(), COLOURS, strict=False):
        if len(stored.sizes):
            ratios = np.log2(stored.sizes[:, 0] / stored.sizes[:, 1])
            panel.hist(ratios, bins=41, range=(-3, 3), **_hollow(name, colour))
    panel.set(xlabel="width by height", ylabel="pictures", title="Aspect ratios")
    _ratio_ticks(panel)
    return figure


def _boxes(report: DataReport) -> dict[str, Any]:
    (figure, sides), (other, ratio) = _new_panel(), _new_panel()
    for (name, part), colour in zip(report.contents.items(), COLOURS, strict=False):
        if part.boxes is None or not len(part.boxes.corners):
            continue
        width, height = (part.boxes.corners[:, 2:] - part.boxes.corners[:, :2]).astype(np.float64).T
        sound = (width > 0) & (height > 0)
        side = np.sqrt(width * height)[sound]
        sides.hist(np.log2(side.clip(1, 4096)), bins=49, range=(0, 12), **_hollow(name, colour))
        ratio.hist(np.log2(width[sound] / height[sound]), bins=41, range=(-3, 3), **_hollow(name, colour))
    for edge in (5, np.log2(96)):  # of COCO's small and medium
        sides.axvline(edge, color="#999999", linewidth=0.8, linestyle=":")
    ticks = range(0, 13, 2)
    sides.set_xticks(list(ticks), [f"{2**tick}" for tick in ticks])
    sides.set(xlabel="square root of the area, pixels", ylabel="boxes", title="Sizes of the boxes")
    ratio.set(xlabel="width by height", ylabel="boxes", title="Aspect ratios of the boxes")
    _ratio_ticks(ratio)
    sides.legend(frameon=False)
    return {"sizes": figure, "aspects": other}


def _new_panel() -> tuple[Any, Any]:
    """Return a figure as wide as the page of a phone, on a wider one half of it, and its panel."""
    figure = new_figure(4.5, 3.4)
    panel = figure.subplots()
    panel.spines[["top", "right"]].set_visible(False)
    return figure, panel


def _hollow(name: str, colour: str) -> dict[str, Any]:
    return {"histtype": "step", "color": colour, "label": name, "linewidth": 1.5}


def _ratio_ticks(panel: Any) -> None:
    panel.set_xticks([-3, -2, -1, 0, 1, 2, 3], ["1:8", "1:4", "1:2", "1", "2:1", "4:1", "8:1"])
