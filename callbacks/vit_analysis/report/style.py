"""How models look in every figure of the report: one colour a method, one marker and line a variant of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from callbacks.vit_analysis.report.arrays import AnalysedModel

RANDOM = "Random"
MAIN_VARIANT = "B/16"  # the six models of the thesis' main figures (section 2.2.1)
# Okabe and Ito's colours, as in ``callbacks.results.figures.PALETTE``; related supervisions have related colours.
METHOD_COLOURS = {
    "FS": "#000000",
    "CLIP": "#E69F00",
    "DINO": "#0072B2",
    "MoCo": "#56B4E9",
    "MAE": "#D55E00",
    "BEiT": "#CC79A7",
    RANDOM: "#999999",
}
OTHER_COLOURS = ["#009E73", "#7F3C8D", "#8C6D31", "#3B5B52", "#B8002E"]
MARKERS = "os^vDPX*<>ph"
LINES = ["-", "--", ":", "-."]


@dataclass(frozen=True)
class Look:
    """Colour, marker and line style of one model."""

    colour: str
    marker: str
    line: str


def looks(models: Sequence[AnalysedModel]) -> dict[str, Look]:
    """Return the look of every model by name: the colour tells the method, marker and line tell its variants."""
    methods = list(dict.fromkeys(model.method for model in models))
    unknown = [method for method in methods if method not in METHOD_COLOURS]
    colours = METHOD_COLOURS | {m: OTHER_COLOURS[i % len(OTHER_COLOURS)] for i, m in enumerate(unknown)}
    known = list(dict.fromkeys([*METHOD_COLOURS, *methods]))
    found = {}
    variants: dict[str, int] = {}
    for model in models:
        variant = variants.get(model.method, 0)
        variants[model.method] = variant + 1
        marker = MARKERS[(known.index(model.method) + variant) % len(MARKERS)]
        line = "--" if model.method == RANDOM else LINES[variant % len(LINES)]
        found[model.name] = Look(colours[model.method], marker, line)
    return found


def main_models(models: Sequence[AnalysedModel]) -> list[AnalysedModel]:
    """Return one model a method, as the thesis' main figures show: its B/16 where there is one, else its first."""
    chosen: dict[str, AnalysedModel] = {}
    for model in models:
        held = chosen.get(model.method)
        if held is None or (MAIN_VARIANT in model.name and MAIN_VARIANT not in held.name):
            chosen[model.method] = model
    return list(chosen.values())


def layers(depth: int) -> np.ndarray:
    """Return the numbers 1..depth of the layers."""
    return np.arange(1, depth + 1)


def normalised_depth(depth: int) -> np.ndarray:
    """Return layer / depth of every layer: the share of the network that is passed, 1 at the last layer."""
    return layers(depth) / depth


def layer_ticks(depth: int, most: int = 12) -> list[int]:
    """Return the layers that an axis names: all up to ``most``, of more the first and every fourth or eighth."""
    if depth <= most:
        return list(range(1, depth + 1))
    step = 4 if depth <= 4 * most else 8
    return [1, *range(step, depth + 1, step)]


def file_names(names: Sequence[str]) -> dict[str, str]:
    """Return a part of a file name for every name, in lower-case letters, digits and underscores, all different."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "model"
        candidate, number = plain, 2
        while candidate in found.values():
            candidate, number = f"{plain}_{number}", number + 1
        found[name] = candidate
    return found
