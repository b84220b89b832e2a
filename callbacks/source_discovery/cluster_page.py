"""The page of pictures of clusters, one HTML file, and the figure of their purity and size."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from PIL import Image

from callbacks.results.figures import PALETTE, new_figure

SIDE = 96  # pixels of a picture, where there is room
SMALLEST = 32
LARGEST_PAGE = 1_000_000  # bytes
STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #5a6068; --line: #dfe2e6; --ground: #fff; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8eaed; --soft: #a3a9b1; --line: #3a3f45; --ground: #16181b; } }
* { box-sizing: border-box; }
html { overflow-wrap: anywhere; -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; max-width: 1240px; padding: 0 1rem 3rem; color: var(--ink); background: var(--ground);
  font: 1rem/1.5 system-ui, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: 1.5rem 0 .5rem; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .8rem; }
h3 { font-size: 1rem; margin: 0; }
p { margin: .4rem 0; max-width: 46rem; }
dl { display: flex; flex-wrap: wrap; gap: .6rem 2rem; margin: 1rem 0; }
dt, .cluster p, figcaption { color: var(--soft); font-size: .9rem; }
dd { margin: 0; font-size: 1.25rem; font-weight: 600; font-variant-numeric: tabular-nums; }
figure { margin: 1rem 0; max-width: 720px; }
figure img { display: block; width: 100%; height: auto; border-radius: 6px; }
.clusters { display: grid; gap: 1.4rem 2rem; align-items: start;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 20rem), 1fr)); }
.cluster { border-top: 1px solid var(--line); padding-top: .6rem; min-width: 0; }
.cluster p { margin: .1rem 0 .5rem; }
.strip { display: grid; gap: 4px; grid-template-columns: repeat(4, 1fr); max-width: 26rem; }
.strip img { display: block; width: 100%; height: auto; border-radius: 3px; }
"""


@dataclass(frozen=True)
class Cluster:
    """A cluster with members.

    Attributes:
        label: of its members.
        name: of the known source, or of the cluster.
        known: whether it stands for a known source.
        size: number of members.
        source: true source of most members; None if unknown.
        purity: their share in (0, 1]; None if unknown.
    """

    label: int
    name: str
    known: bool
    size: int
    source: str | None = None
    purity: float | None = None


@dataclass(frozen=True)
class Overview:
    """What there is to say of all clusters.

    Attributes:
        round: number of the round.
        images: number of images present.
        clustered: how many of them are in a cluster.
        clusters: number of clusters.
        purity: average purity of the clusters; None if unknown, or without clusters.
        sources: number of true sources of the images; None if unknown.
        missed: those that are the majority of no cluster; None if unknown.
        arrivals: rounds from the second on in which images arrived, and how many.
    """

    round: int
    images: int
    clustered: int
    clusters: int
    purity: float | None
    sources: int | None
    missed: Sequence[str] | None
    arrivals: Sequence[tuple[int, int]]


Pictures = Sequence[np.ndarray]


def page(
    overview: Overview,
    clusters: Sequence[tuple[Cluster, Pictures]],
    left_out: int,
    images_left_out: int,
    unclustered: Pictures,
) -> str:
    """Return the page as HTML, with its pictures inside, at most about ``LARGEST_PAGE`` bytes; purity.png lies beside.

    Args:
        overview: of all clusters.
        clusters: that are shown, with pictures (H, W, 3) uint8.
        left_out: number of clusters that are not shown.
        images_left_out: in these.
        unclustered: pictures of images that are in no cluster.
    """
    groups = [pictures for _, pictures in clusters] + [unclustered]
    side = SIDE
    while True:
        strips = [_strip(pictures, side) for pictures in groups]
        if sum(map(len, strips)) < 0.95 * LARGEST_PAGE or side <= SMALLEST:
            break
        side = max(SMALLEST, int(side * 0.85))
    rest = overview.images - overview.clustered
    cards = [_card(cluster, strip) for (cluster, _), strip in zip(clusters, strips, strict=False)]
    note = f"<p>{left_out} smaller clusters with {images_left_out} images are not shown.</p>" if left_out else ""
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>Discovered sources, round {overview.round}</title>",
            f"<style>{STYLE}</style>",
            "</head>",
            "<body>",
            f"<h1>Discovered sources, round {overview.round}</h1>",
            _overview(overview),
            _figure(overview),
            "<h2>Clusters, the largest first</h2>",
            "<p>Pictures are drawn at random from the members.</p>",
            '<div class="clusters">',
            *cards,
            "</div>",
            note,
            *(["<h2>In no cluster</h2>", f"<p>{rest} images</p>", strips[-1]] if rest else []),
            "</body>",
            "</html>",
            "",
        ]
    )


def _overview(overview: Overview) -> str:
    facts = {
        "images": str(overview.images),
        "clustered": f"{100 * overview.clustered / overview.images:.1f} %",
        "clusters": str(overview.clusters),
    }
    if overview.purity is not None:
        facts["purity of the clustered"] = f"{100 * overview.purity:.1f} %"
    lines = []
    if overview.sources is not None and overview.missed is not None:
        facts["sources discovered"] = f"{overview.sources - len(overview.missed)} of {overview.sources}"
        if overview.missed:
            lines.append(f"The majority of no cluster: {', '.join(overview.missed)}.")
    if overview.arrivals:
        arrived = ", ".join(f"{new} in round {n}" for n, new in overview.arrivals)
        lines.append(f"Images arrived between the rounds: {arrived}.")
    terms = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in facts.items())
    return f"<dl>{terms}</dl>" + "".join(f"<p>{escape(line)}</p>" for line in lines)


def _figure(overview: Overview) -> str:
    if not overview.clusters:
        return ""
    what = "Size of every cluster" if overview.sources is None else "Purity and size of every cluster, the purest first"
    return f'<figure><img src="purity.png" alt="{what}"><figcaption>{what}</figcaption></figure>'


def _card(cluster: Cluster, strip: str) -> str:
    facts = [f"{cluster.size} image{'s' * (cluster.size != 1)}"]
    if cluster.purity is not None and cluster.source is not None:
        facts.append(f"{100 * cluster.purity:.1f} % {escape(cluster.source)}")
    kind = "known source · " if cluster.known else ""
    return f'<section class="cluster"><h3>{escape(cluster.name)}</h3><p>{kind}{" · ".join(facts)}</p>{strip}</section>'


def _strip(pictures: Pictures, side: int) -> str:
    return f'<div class="strip">{"".join(_picture(picture, side) for picture in pictures)}</div>'


def _picture(picture: np.ndarray, side: int) -> str:
    image = Image.fromarray(picture)
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85, optimize=True)
    data = base64.b64encode(file.getvalue()).decode()
    return f'<img src="data:image/jpeg;base64,{data}" width="{image.width}" height="{image.height}" alt="">'


def cluster_figure(clusters: Sequence[Cluster]) -> Any:
    """Return the figure of size and, where true sources are known, purity of every cluster.

    Args:
        clusters: in any order; drawn by falling purity, or by falling size.
    """
    known_colour, found_colour, purity_colour = PALETTE[2], PALETTE[7], PALETTE[3]
    ordered = sorted(clusters, key=lambda cluster: (-(cluster.purity or 0), -cluster.size))
    figure = new_figure(6.5, 3.6)
    sizes = figure.subplots()
    places = np.arange(1, len(ordered) + 1)
    for known, colour, name in ((True, known_colour, "known source"), (False, found_colour, "discovered cluster")):
        chosen = [index for index, cluster in enumerate(ordered) if cluster.known == known]
        if chosen:
            sizes.bar(places[chosen], [ordered[index].size for index in chosen], 0.8, color=colour, label=name)
    sizes.set_xlabel("cluster")
    sizes.set_ylabel("size (images)")
    sizes.set_xlim(0.4, max(1, len(ordered)) + 0.6)
    sizes.xaxis.get_major_locator().set_params(integer=True)
    sizes.yaxis.get_major_locator().set_params(integer=True)
    if any(cluster.purity is not None for cluster in ordered):
        purity = sizes.twinx()
        purity.plot(places, [cluster.purity for cluster in ordered], ".-", color=purity_colour, label="purity")
        purity.set_ylim(0, 1.05)
        purity.set_ylabel("purity", color=purity_colour)
    figure.legend(loc="outside upper center", ncols=3, fontsize=8, frameon=False)
    return figure
