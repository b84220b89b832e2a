"""The page of pictures of clusters, one HTML file, and the figure of their purity and size."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from callbacks.results.figures import PALETTE, new_figure
from callbacks.results.html import render

SIDE = 96  # pixels of a picture
PURITY = "Purity and size of every cluster, the purest first"


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
        unknown: how many of the sources that are not known are the majority of a discovered cluster, and how many there
            are; None if unknown.
        arrivals: rounds from the second on in which images arrived, and how many.
    """

    round: int
    images: int
    clustered: int
    clusters: int
    purity: float | None
    sources: int | None
    missed: Sequence[str] | None
    unknown: tuple[int, int] | None
    arrivals: Sequence[tuple[int, int]]


@dataclass(frozen=True)
class EmbeddedPicture:
    """A picture as the page holds it.

    Attributes:
        jpeg: its content in base64.
        width: in pixels.
        height: in pixels.
    """

    jpeg: str
    width: int
    height: int


Pictures = Sequence[np.ndarray]


def page(
    overview: Overview,
    clusters: Sequence[tuple[Cluster, Pictures]],
    left_out: int,
    images_left_out: int,
    unclustered: Pictures,
) -> str:
    """Return the page as HTML, with its pictures inside; purity.png lies beside.

    Args:
        overview: of all clusters.
        clusters: that are shown, with pictures (H, W, 3) uint8.
        left_out: number of clusters that are not shown.
        images_left_out: in these.
        unclustered: pictures of images that are in no cluster.
    """
    groups = [pictures for _, pictures in clusters] + [unclustered]
    strips = [[_embedded(picture) for picture in pictures] for pictures in groups]
    shown = [(cluster, strip) for (cluster, _), strip in zip(clusters, strips, strict=False)]
    return render(
        Path(__file__).with_name("cluster_page.html"),
        overview=overview,
        facts=_facts(overview),
        caption="Size of every cluster" if overview.sources is None else PURITY,
        clusters=shown,
        left_out=left_out,
        images_left_out=images_left_out,
        unclustered=strips[-1],
    )


def _facts(overview: Overview) -> dict[str, str]:
    facts = {
        "images": str(overview.images),
        "clustered": f"{100 * overview.clustered / overview.images:.1f} %",
        "clusters": str(overview.clusters),
    }
    if overview.purity is not None:
        facts["purity of the clustered"] = f"{100 * overview.purity:.1f} %"
    if overview.sources is not None and overview.missed is not None:
        facts["sources discovered"] = f"{overview.sources - len(overview.missed)} of {overview.sources}"
    if overview.unknown is not None:
        facts["unknown sources, in clusters of their own"] = "{} of {}".format(*overview.unknown)
    return facts


def _embedded(picture: np.ndarray) -> EmbeddedPicture:
    image = Image.fromarray(picture)
    image.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    image.save(file, "JPEG", quality=85, optimize=True)
    return EmbeddedPicture(base64.b64encode(file.getvalue()).decode(), image.width, image.height)


def cluster_figure(clusters: Sequence[Cluster]) -> Any:
    """Return the figure of size and, where true sources are known, purity of every cluster.

    Args:
        clusters: in any order; drawn by falling purity, or by falling size.
    """
    known_colour, found_colour, purity_colour = PALETTE[2], PALETTE[7], PALETTE[3]
    ordered = sorted(clusters, key=lambda cluster: (-(cluster.purity or 0), -cluster.size))
    figure = new_figure(4.8, 3.3)  # whose letters can still be read at the width of a phone
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
