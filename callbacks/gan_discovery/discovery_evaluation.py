"""How many sources are discovered and how pure their clusters are (Tables 4.3, 4.4, 4.7 and 4.13)."""

import math
from typing import Any

import numpy as np
from pytorch_lightning import LightningModule, Trainer

from callbacks.dense_evaluation import Result
from callbacks.gan_discovery.observed import Round, images_of, truth_of
from callbacks.gan_discovery.round_results import RoundResults, of_round
from metrics.source_discovery import (
    UNCLUSTERED,
    DiscoveryScores,
    attribution_accuracy,
    majorities,
    scores_of_all,
    scores_of_clustered,
)


class DiscoveryEvaluation(RoundResults):
    """Scores of the discovered clusters after every stage and round, protocol "sources".

    Rows of method "round <n> <stage>" are about the clustered images after a stage, such as "round 1 merge". Rows of
    method "round <n>" are about all images present after the round, those not clustered attributed to the nearest
    clusters (thesis 4.3.1). The metrics are purity, NMI, ARI, clustered (share of the images), clusters, sources and
    unknown sources (numbers; the counts of the rows are how many sources there are), and in, out and net, the accuracy
    of the attribution to known sources, which no later stage of the round changes. The last round stands once more
    under "last" and "last <stage>". Without true sources there are clusters and clustered alone.

    A table of the rounds is printed when training ends.
    """

    protocol = "sources"

    def rows(self, trainer: Trainer, pl_module: LightningModule, round: Round) -> list[Result]:  # noqa: D102
        images = images_of(trainer, self)
        truth, rows = truth_of(images, len(round.labels)), []
        attributes = False
        for stage in round.stages:
            method, labels = f"{of_round(round.number)} {stage.name}", stage.labels
            count = int((labels != UNCLUSTERED).sum())
            if truth is None:
                rows += _sizes(method, labels, images.image_size)
                continue
            rows += _scores(method, scores_of_clustered(labels, truth), count, len(truth), images.image_size)
            rows.append(_unknown_sources(method, labels, truth, round.known, images.image_size))
            if stage.name == "attribution":
                attributes = True
                rows += _accuracies(method, labels, truth, round.known, images.image_size)
        method = of_round(round.number)
        if truth is None:
            return rows + _sizes(method, round.labels, images.image_size)
        scores = scores_of_all(round.labels, truth, round.features)
        rows += _scores(method, scores, len(truth), len(truth), images.image_size)
        rows.append(_unknown_sources(method, round.labels, truth, round.known, images.image_size))
        return rows + (_accuracies(method, round.labels, truth, round.known, images.image_size) if attributes else [])

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        if self.results and trainer.is_global_zero:
            show(self.results)


def _scores(method: str, scores: DiscoveryScores, scored: int, present: int, size: int) -> list[Result]:
    def row(metric: str, value: float, count: int) -> Result:
        return Result("sources", metric, method, size, float(value), math.nan, count)

    return [
        row("purity", scores.purity, scored),
        row("NMI", scores.nmi, scored),
        row("ARI", scores.ari, scored),
        row("clustered", scores.clustered, present),
        row("sources", scores.sources_discovered, scores.sources),
        row("clusters", scores.clusters, scored),
    ]


def _unknown_sources(method: str, labels: np.ndarray, truth: np.ndarray, known: int, size: int) -> Result:
    """Return how many unknown sources are the majority of a cluster; the count is how many there are."""
    found = np.unique(majorities(labels, truth)[1])
    there = int((np.unique(truth) >= known).sum())
    return Result("sources", "unknown sources", method, size, float((found >= known).sum()), math.nan, there)


def _sizes(method: str, labels: np.ndarray, size: int) -> list[Result]:
    clustered = labels != UNCLUSTERED
    return [
        Result("sources", "clustered", method, size, float(clustered.mean()), math.nan, len(labels)),
        Result("sources", "clusters", method, size, float(len(np.unique(labels[clustered]))), math.nan, len(labels)),
    ]


def _accuracies(method: str, labels: np.ndarray, truth: np.ndarray, known: int, size: int) -> list[Result]:
    accuracy, inside = attribution_accuracy(labels, truth, known), int((truth < known).sum())
    figures = {
        "in": (accuracy.inside, inside),
        "out": (accuracy.outside, len(truth) - inside),
        "net": (accuracy.net, len(truth)),
    }
    return [Result("sources", name, method, size, value, math.nan, n) for name, (value, n) in figures.items()]


def show(results: list[Result], console: Any = None) -> None:
    """Print a table with a row for every round.

    Args:
        results: of ``DiscoveryEvaluation``.
        console: a ``rich.console.Console``; that of the terminal if None.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = console or Console()
    console.print("Discovery of sources", style="bold", highlight=False)
    rounds: dict[str, dict[str, Result]] = {}
    for result in results:
        if result.method.removeprefix("round ").isdigit():
            rounds.setdefault(result.method, {})[result.metric] = result
    judged = any("purity" in row for row in rounds.values())
    scores = ("purity", "NMI", "ARI") if judged else ()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for column in ("round", "images", *scores, "clustered", *(["sources"] if judged else []), "clusters"):
        table.add_column(column, justify="right", no_wrap=True)
    for method, row in rounds.items():
        cells = [_percent(row[metric].value) for metric in (*scores, "clustered")]
        if judged:
            cells.append(f"{row['sources'].value:.0f}/{row['sources'].count}")
        images = str(row["clustered"].count)
        table.add_row(method.removeprefix("round "), images, *cells, f"{row['clusters'].value:.0f}")
    console.print(table)
    note = "purity, NMI, ARI (%): of all images, those not clustered in the nearest cluster; " if judged else ""
    console.print(f"{note}clustered: % of the images", style="dim", highlight=False)


def _percent(value: float) -> str:
    return "–" if math.isnan(value) else f"{100 * value:.1f}"
