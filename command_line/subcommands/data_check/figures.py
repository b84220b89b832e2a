"""Pictures of a data set: examples, sizes of its pictures and of its boxes."""

from typing import Any

import numpy as np

from callbacks.results.figures import PALETTE, as_png, new_figure
from datamodules.common.inspection.examples import sheet
from datamodules.common.inspection.inspect_data import DataReport

DPI = 100


def figures_of(report: DataReport) -> dict[str, bytes]:
    """Return pictures as PNG by the names of their files: examples_<loader>, sizes, boxes."""
    pictures = {}
    for name, examples in report.examples.items():
        if examples:
            pictures[f"examples_{file_name(name)}.png"] = as_png(sheet(examples))
    if len({size for stored in report.stored.values() for size in map(tuple, stored.sizes.tolist())}) > 1:
        pictures["sizes.png"] = as_png(_sizes(report), DPI)
    if any(part.boxes is not None and len(part.boxes.corners) for part in report.contents.values()):
        pictures["boxes.png"] = as_png(_boxes(report), DPI)
    return pictures


def file_name(loader: str) -> str:
    """Return the name of a loader as a part of the name of a file."""
    return "".join(each if each.isalnum() else "_" for each in loader)


def _sizes(report: DataReport) -> Any:
    figure = new_figure(9, 3.4)
    cloud, ratio = figure.subplots(1, 2)
    for (name, stored), colour in zip(report.stored.items(), PALETTE[5:] + PALETTE, strict=False):
        if len(stored.sizes):
            different, often = np.unique(stored.sizes, axis=0, return_counts=True)
            width, height = different.T
            area = 8 * (1 + np.log2(often))  # square points, so that what is there often shows
            cloud.scatter(width, height, s=area, alpha=0.4, color=colour, label=name, linewidths=0)
            ratio.hist(
                np.log2(stored.sizes[:, 0] / stored.sizes[:, 1]), bins=41, range=(-3, 3), **_hollow(name, colour)
            )
    cloud.set(xlabel="width, pixels", ylabel="height, pixels", title="Sizes of the pictures")
    ratio.set(xlabel="width by height", ylabel="pictures", title="Aspect ratios")
    cloud.set_xscale("log", base=2)
    cloud.set_yscale("log", base=2)
    for axis in (cloud.xaxis, cloud.yaxis):
        axis.set_major_formatter("{x:g}")
    _ratio_ticks(ratio)
    _plain(cloud, ratio)
    return figure


def _boxes(report: DataReport) -> Any:
    figure = new_figure(9, 3.4)
    sides, ratio = figure.subplots(1, 2)
    for (name, part), colour in zip(report.contents.items(), PALETTE[5:] + PALETTE, strict=False):
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
    _plain(sides, ratio)
    return figure


def _hollow(name: str, colour: str) -> dict[str, Any]:
    return {"histtype": "step", "color": colour, "label": name, "linewidth": 1.5}


def _ratio_ticks(panel: Any) -> None:
    panel.set_xticks([-3, -2, -1, 0, 1, 2, 3], ["1:8", "1:4", "1:2", "1", "2:1", "4:1", "8:1"])


def _plain(*panels: Any) -> None:
    for panel in panels:
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].legend(frameon=False)
