"""Which images form which cluster: a table of all images, and a page with pictures of the clusters (Figure 4.3)."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from callbacks.results.csv_files import write_csv
from callbacks.results.figures import save_figure
from callbacks.source_discovery.cluster_page import Cluster, Overview, cluster_figure, page
from callbacks.source_discovery.round_outcome import RoundOutcome, images_of, label_name, number, truth_of
from metrics.source_discovery import UNCLUSTERED, majorities
from visionscapes.checks import NonNegativeInt, PositiveInt, check_options
from visionscapes.files import write_text

FIGURE_DPI = 150
HEADER = ("image", "round", "label", "name", "distance", "margin", "truth")


class ClusterReport(Callback):
    """Writes what the clusters of a round are made of, and replaces it after the next round.

    assignments.csv in the run folder has a line for every image that is present, sorted by name: the round, its label
    (-1: not clustered), the source or cluster that this stands for, distance and margin of the detector that accepts it
    most readily, and its true source where that is known. clusters/index.html shows pictures of the clusters, drawn at
    random as in Figure 4.3, the largest first; clusters/purity.png their purity and size. The page is at most about
    1 MB, for which pictures get smaller where there are many. Under DDP the first rank writes.

    Args:
        clusters: how many to show at most; the page says how many more there are.
        pictures: how many of each.
        seed: of the draw.

    Raises:
        UserError: nothing to show.
    """

    def __init__(self, clusters: PositiveInt = 40, pictures: PositiveInt = 8, seed: NonNegativeInt = 0):
        check_options(ClusterReport, locals())
        self.clusters, self.pictures, self.seed = clusters, pictures, seed

    def on_round_end(self, trainer: Trainer, pl_module: LightningModule, round: RoundOutcome) -> None:
        """Write table, page and figure; called by the module on every rank."""
        images = images_of(trainer, self)
        if not trainer.is_global_zero:
            return
        folder = Path(trainer.default_root_dir)
        write_csv(folder / "assignments.csv", HEADER, assignments(round, images))
        groups = clusters_of(round, images)
        shown, more = groups[: self.clusters], groups[self.clusters :]
        drawn = [(group, self._pictures(round, images, group.label)) for group in shown]
        overview = overview_of(round, images, groups)
        if groups:
            save_figure(cluster_figure(groups), folder / "clusters" / "purity.png", FIGURE_DPI)
        unclustered = self._pictures(round, images, UNCLUSTERED)
        text = page(overview, drawn, len(more), sum(group.size for group in more), unclustered)
        write_text(folder / "clusters" / "index.html", text)

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        path = Path(trainer.default_root_dir) / "clusters" / "index.html"
        if trainer.is_global_zero and path.is_file():
            print(f"pictures of the clusters: {path}")

    def _pictures(self, round: RoundOutcome, images: Any, label: int) -> list[np.ndarray]:
        members = np.flatnonzero(round.labels == label)
        generator = np.random.default_rng([self.seed, label + 1])
        chosen = generator.choice(members, min(self.pictures, len(members)), replace=False)
        return [images.discovery_image(int(index)) for index in np.sort(chosen)]


def assignments(round: RoundOutcome, images: Any) -> list[tuple[str, ...]]:
    """Return the lines of assignments.csv, sorted by image.

    Args:
        round: what came out.
        images: the datamodule.
    """
    truth, lines = truth_of(images, len(round.labels)), []
    for index, label in enumerate(round.labels.tolist()):
        source = "" if truth is None else images.sources[truth[index]]
        name = label_name(label, images.classes)
        figures = number(round.distances[index]), number(round.margins[index])
        lines.append((images.discovery_names[index], str(round.number), str(label), name, *figures, source))
    return sorted(lines)


def clusters_of(round: RoundOutcome, images: Any) -> list[Cluster]:
    """Return the clusters that have members, the largest first; of equal size, by label."""
    truth = truth_of(images, len(round.labels))
    labels, sizes = np.unique(round.labels[round.labels != UNCLUSTERED], return_counts=True)
    if truth is None:
        sources, purities = [None] * len(labels), [None] * len(labels)
    else:
        _, majority, share = majorities(round.labels, truth)
        sources, purities = [images.sources[source] for source in majority], share.tolist()
    found = [
        Cluster(label, label_name(label, images.classes), label < round.known, size=size, source=source, purity=pure)
        for label, size, source, pure in zip(labels.tolist(), sizes.tolist(), sources, purities, strict=True)
    ]
    return sorted(found, key=lambda cluster: -cluster.size)


def overview_of(round: RoundOutcome, images: Any, clusters: list[Cluster]) -> Overview:
    """Return what the page says of the round as a whole."""
    truth, count = truth_of(images, len(round.labels)), len(round.labels)
    clustered, missed, purity, sources = sum(cluster.size for cluster in clusters), None, None, None
    unknown = None
    if truth is not None:
        sources = len(np.unique(truth))
        found = {cluster.source for cluster in clusters}
        missed = [images.sources[source] for source in np.unique(truth) if images.sources[source] not in found]
        others = {images.sources[source] for source in np.unique(truth) if source >= round.known}
        unknown = len(others & {cluster.source for cluster in clusters if not cluster.known}), len(others)
        purity = sum(c.size * c.purity for c in clusters if c.purity is not None) / clustered if clustered else None
    present = [images.arrived(n) for n in range(1, round.number + 1)]
    arrivals = [(n + 1, late - early) for n, (early, late) in enumerate(pairwise(present), 1)]
    arrivals = [(n, new) for n, new in arrivals if new]
    return Overview(
        round.number,
        count,
        clustered,
        clusters=len(clusters),
        purity=purity,
        sources=sources,
        missed=missed,
        unknown=unknown,
        arrivals=arrivals,
    )
