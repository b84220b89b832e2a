"""How many sources are discovered and how pure their clusters are (Tables 4.3, 4.4, 4.7 and 4.13)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from callbacks.results.presentation import COUNT, SHARE, MetricKind, Presentation
from callbacks.results.result import Result, write_results
from callbacks.results.table import MISSING, Table
from callbacks.results.terminal import print_tables
from callbacks.source_discovery.round_outcome import RoundOutcome, images_of, truth_of
from callbacks.source_discovery.round_results import RoundResults, of_round
from metrics.source_discovery import (
    UNCLUSTERED,
    SourceDiscoveryScores,
    attribution_accuracy,
    majorities,
    scores_of_all,
    scores_of_clustered,
)
from visionscapes.errors import UserError
from visionscapes.processes import gather_entries


class DiscoveryEvaluation(RoundResults):
    """Scores of the discovered clusters after every stage and round, protocol "sources".

    Rows of method "round <n> <stage>" are about the clustered images after a stage, such as "round 1 merge". Rows of
    method "round <n>" are about all images present after the round, those not clustered attributed to the nearest
    clusters (thesis 4.3.1). The metrics are purity, NMI, ARI, clustered (share of the images), clusters, sources and
    unknown sources (numbers; the counts of the rows are how many sources there are), and in, out and net, the accuracy
    of the attribution to known sources, which no later stage of the round changes. The last round stands once more
    under "last" and "last <stage>". Without true sources there are clusters and clustered alone.

    A table of the rounds is printed when training ends.

    In ``test`` the method is "attributed": what a finished module says of the discovery images, which it need not have
    seen, one by one. Beside the metrics above there is named, the share of the images of known sources that are
    attributed to their own; purity, NMI and ARI are of the images that are attributed to anything.

    Raises:
        UserError: a test without the true sources of the images.
    """

    protocol = "sources"
    presentation = Presentation(
        "Discovery of sources",
        SHARE,
        {
            "sources": MetricKind("higher", digits=".0f"),
            "unknown sources": MetricKind("higher", digits=".0f"),
            "clusters": COUNT,
        },
        ranked=False,
    )

    def __init__(self) -> None:
        super().__init__()
        self._attributed: dict[int, str] = {}

    @override
    def rows(self, trainer: Trainer, pl_module: LightningModule, round: RoundOutcome) -> list[Result]:
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

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if images_of(trainer, self).truth is None:
            raise UserError(
                "test needs the true sources of the discovery images: give --data.discovery a folder with a sub-folder"
                " for each source, or attribute images without a truth with predict"
            )
        self._attributed = {}

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if isinstance(batch, Mapping) and batch.get("task") == "discovery" and isinstance(outputs, Mapping):
            self._attributed |= zip(batch["index"].tolist(), outputs["name"], strict=True)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        attributed = gather_entries(self._attributed)
        if not attributed:
            return
        images = images_of(trainer, self)
        tested = sorted(attributed)  # not all of them under --trainer.limit_test_batches
        labels = labels_of([attributed[number] for number in tested], images.sources)
        truth, known, size = images.truth[tested], len(images.classes), images.image_size
        scores, clustered = scores_of_clustered(labels, truth), int((labels != UNCLUSTERED).sum())
        self.results = _scores("attributed", scores, clustered, len(truth), size)
        self.results.append(_unknown_sources("attributed", labels, truth, known, size))
        self.results += _accuracies("attributed", labels, truth, known, size)
        inside = truth < known
        named = float((labels == truth)[inside].mean()) if inside.any() else math.nan
        self.results.append(
            Result(
                self.protocol,
                "named",
                "attributed",
                image_size=size,
                value=named,
                standard_error=math.nan,
                count=int(inside.sum()),
            )
        )
        for logger in trainer.loggers:
            logged = {f"sources/{row.metric}/attributed": row.value for row in self.results}
            logger.log_metrics(logged, step=trainer.global_step)
        if trainer.is_global_zero:
            write_results(self.results, Path(trainer.default_root_dir) / "results" / f"{self.protocol}.csv")
            shown = [row for row in self.results if row.metric in ("named", "in", "out", "purity", "NMI")]
            of = "" if len(tested) == len(images.truth) else f" of {len(images.truth)}"
            figures = ", ".join(f"{row.metric} {_percent(row.value)} %" for row in shown)
            print(f"{len(truth)}{of} images attributed: {figures}")

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.results and trainer.is_global_zero:
            show(self.results)


def labels_of(names: Sequence[str], sources: Sequence[str]) -> np.ndarray:
    """Return labels (N,) of what images are attributed to.

    Args:
        names: (N,) of sources, of clusters, or "unknown".
        sources: by the numbers of the truth.

    Returns:
        -1 for "unknown", the number of a source of that name, and beyond these one for each other name.
    """
    numbers = {"unknown": UNCLUSTERED} | {name: number for number, name in enumerate(sources)}
    for name in sorted(set(names) - numbers.keys()):
        numbers[name] = len(numbers) - 1  # "unknown" has none of its own
    return np.array([numbers[name] for name in names], np.int64)


def _scores(method: str, scores: SourceDiscoveryScores, scored: int, present: int, size: int) -> list[Result]:
    def row(metric: str, value: float, count: int) -> Result:
        return Result(
            "sources", metric, method, image_size=size, value=float(value), standard_error=math.nan, count=count
        )

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
    return Result(
        "sources",
        "unknown sources",
        method,
        image_size=size,
        value=float((found >= known).sum()),
        standard_error=math.nan,
        count=there,
    )


def _sizes(method: str, labels: np.ndarray, size: int) -> list[Result]:
    clustered = labels != UNCLUSTERED
    return [
        Result(
            "sources",
            "clustered",
            method,
            image_size=size,
            value=float(clustered.mean()),
            standard_error=math.nan,
            count=len(labels),
        ),
        Result(
            "sources",
            "clusters",
            method,
            image_size=size,
            value=float(len(np.unique(labels[clustered]))),
            standard_error=math.nan,
            count=len(labels),
        ),
    ]


def _accuracies(method: str, labels: np.ndarray, truth: np.ndarray, known: int, size: int) -> list[Result]:
    accuracy, inside = attribution_accuracy(labels, truth, known), int((truth < known).sum())
    figures = {
        "in": (accuracy.inside, inside),
        "out": (accuracy.outside, len(truth) - inside),
        "net": (accuracy.net, len(truth)),
    }
    return [
        Result("sources", name, method, image_size=size, value=value, standard_error=math.nan, count=n)
        for name, (value, n) in figures.items()
    ]


def show(results: list[Result], console: Any = None) -> None:
    """Print a table with a row for every round.

    Args:
        results: of ``DiscoveryEvaluation``.
        console: a ``rich.console.Console``; that of the terminal if None.
    """
    rounds: dict[str, dict[str, Result]] = {}
    for result in results:
        if result.method.removeprefix("round ").isdigit():
            rounds.setdefault(result.method, {})[result.metric] = result
    judged = any("purity" in row for row in rounds.values())
    scores = ("purity", "NMI", "ARI") if judged else ()
    header = ["round", "images", *scores, "clustered", *(["sources"] if judged else []), "clusters"]
    rows = []
    for method, row in rounds.items():
        texts = [_percent(row[metric].value) for metric in (*scores, "clustered")]
        if judged:
            texts.append(f"{row['sources'].value:.0f}/{row['sources'].count}")
        images = str(row["clustered"].count)
        rows.append([method.removeprefix("round "), images, *texts, f"{row['clusters'].value:.0f}"])
    note = "purity, NMI, ARI (%): of all images, those not clustered in the nearest cluster; " if judged else ""
    table = Table.of_texts(DiscoveryEvaluation.presentation.title, header, rows)
    print_tables([table], f"{note}clustered: % of the images", console)


def _percent(value: float) -> str:
    return MISSING if math.isnan(value) else f"{100 * value:.1f}"
