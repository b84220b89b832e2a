"""How many sources are discovered and how pure their clusters are (Tables 4.3, 4.4, 4.7 and 4.13)."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from callbacks.results.presentation import COUNT, SHARE, MetricKind, Presentation
from callbacks.results.result import Result, write_results
from callbacks.results.table import MISSING, Table
from callbacks.results.terminal import print_tables
from callbacks.source_discovery.round_outcome import RoundOutcome, images_of, truth_of
from callbacks.source_discovery.round_results import RoundResults, of_round
from metrics.out_of_distribution import open_set_classification_rate, separation
from metrics.source_discovery import (
    UNCLUSTERED,
    SourceDiscoveryScores,
    attribution_accuracy,
    clustering_accuracy,
    majorities,
    nearest_centroids,
    scores_of_all,
    scores_of_clustered,
    source_count_error,
)
from visionscapes.errors import UserError
from visionscapes.processes import gather_entries


class DiscoveryEvaluation(RoundResults):
    """Scores of the discovered clusters after every stage and round, protocol "sources".

    Rows of method "round <n> <stage>" are about the clustered images after a stage, such as "round 1 merge". Rows of
    method "round <n>" are about all images present after the round, those not clustered attributed to the nearest
    clusters (thesis 4.3.1). The metrics are purity, NMI, ARI, clustered (share of the images), clusters (known sources
    that have images are among them, so that the printed table says groups), sources and unknown sources (numbers; the
    counts of the rows are how many sources there are), and in, out and net, the accuracy of the attribution to known
    sources, which no later stage of the round changes. A source counts where it is the majority of a cluster; an
    unknown one among the unknown sources only if that cluster was discovered: who makes up most of what a known source
    was given is not found. The last round stands once more under "last" and "last <stage>". Without true sources there
    are clusters and clustered alone.

    Rows of method "round <n>" have what the literature reports besides: ACC, ACC known and ACC novel, the accuracy of
    clusters that stand for sources one for one (``metrics.source_discovery.clustering_accuracy``); count error, by
    which share of their number the sources are miscounted; AUROC and OSCR, how well the detectors of known sources
    tell them from unknown ones by margin, and that with the classifier's choice among them.

    A table of the rounds is printed when training ends.

    In ``test`` the method is "attributed": what a finished module says of the discovery images, which it need not have
    seen, one by one. Beside the metrics above there is named, the share of the images of known sources that are
    attributed to their own; purity, NMI and ARI are of the images that are attributed to anything, ACC of all.

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
            "count error": MetricKind("lower", share=True, digits=".1f"),
        },
        ranked=False,
    )

    def __init__(self) -> None:
        super().__init__()
        self._attributed: dict[int, AttributedImage] = {}

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
        rows += _accuracies(method, round.labels, truth, round.known, images.image_size) if attributes else []
        everywhere = nearest_centroids(round.labels, round.features)
        rows += _matched(method, everywhere, truth, round.known, images.image_size)
        rows.append(_count_error(method, scores, images.image_size))
        chosen = round.logits[:, : round.known].argmax(1)
        margins = pl_module.attributor.known_margins(round.features)  # type: ignore[operator, union-attr]
        return rows + _open_set(method, margins, chosen == truth, truth < round.known, images.image_size)

    @override
    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        check_truth(images_of(trainer, self))
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
            self._attributed |= attributed_images(batch, outputs)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        attributed = gather_entries(self._attributed)
        if not attributed:
            return
        images = images_of(trainer, self)
        tested = sorted(attributed)  # not all of them under --trainer.limit_test_batches
        self.results = attributed_results([attributed[number] for number in tested], images.truth[tested], images)
        for logger in trainer.loggers:
            logged = {f"sources/{row.metric}/attributed": row.value for row in self.results}
            logger.log_metrics(logged, step=trainer.global_step)
        if trainer.is_global_zero:
            write_results(self.results, Path(trainer.default_root_dir) / "results" / f"{self.protocol}.csv")
            metrics = ("named", "in", "out", "purity", "NMI", "ACC", "AUROC", "OSCR")
            shown = [row for row in self.results if row.metric in metrics]
            of = "" if len(tested) == len(images.truth) else f" of {len(images.truth)}"
            figures = ", ".join(f"{row.metric} {_percent(row.value)} %" for row in shown)
            print(f"{len(tested)}{of} images attributed: {figures}")

    @override
    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.results and trainer.is_global_zero:
            show(self.results)


def check_truth(images: Any) -> None:
    """Check that the true sources of the discovery images are known, which ``test`` is about.

    Raises:
        UserError: they are not.
    """
    if images.truth is None:
        raise UserError(
            "test needs the true sources of the discovery images: give --data.discovery a folder with a sub-folder"
            " for each source, or attribute images without a truth with predict"
        )


class AttributedImage(NamedTuple):
    """What a finished module says of an image.

    Attributes:
        name: of the source or cluster that it is attributed to, or "unknown".
        known: number of the known source that the classifier prefers.
        known_margin: of the known source that accepts the image most readily.
    """

    name: str
    known: int
    known_margin: float


def attributed_images(batch: Mapping[str, Any], outputs: Mapping[str, Any]) -> dict[int, AttributedImage]:
    """Return what the outputs of ``test_step`` say of a batch of task "discovery", by the numbers of its images."""
    said = zip(outputs["name"], outputs["known"].tolist(), outputs["known_margin"].tolist(), strict=True)
    return {number: AttributedImage(*each) for number, each in zip(batch["index"].tolist(), said, strict=True)}


def attributed_results(attributed: Sequence[AttributedImage], truth: np.ndarray, images: Any) -> list[Result]:
    """Return the rows of method "attributed".

    Args:
        attributed: what is said of N images.
        truth: (N,) their true sources.
        images: the datamodule.
    """
    method, known, size = "attributed", len(images.classes), images.image_size
    labels = labels_of([each.name for each in attributed], images.sources)
    scores, clustered = scores_of_clustered(labels, truth), int((labels != UNCLUSTERED).sum())
    rows = _scores(method, scores, clustered, len(truth), size)
    rows.append(_unknown_sources(method, labels, truth, known, size))
    rows += _accuracies(method, labels, truth, known, size)
    inside = truth < known
    named = float((labels == truth)[inside].mean()) if inside.any() else math.nan
    rows.append(
        Result(
            "sources",
            "named",
            method,
            image_size=size,
            value=named,
            standard_error=math.nan,
            count=int(inside.sum()),
        )
    )
    rows += _matched(method, labels, truth, known, size)
    rows.append(_count_error(method, scores, size))
    margins, chosen = (np.array([getattr(each, name) for each in attributed]) for name in ("known_margin", "known"))
    return rows + _open_set(method, margins, chosen == truth, inside, size)


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
    """Return how many unknown sources are the majority of a discovered cluster; the count is how many there are."""
    found = np.unique(majorities(np.where(labels >= known, labels, UNCLUSTERED), truth)[1])
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


def _matched(method: str, labels: np.ndarray, truth: np.ndarray, known: int, size: int) -> list[Result]:
    accuracy, inside = clustering_accuracy(labels, truth, known), int((truth < known).sum())
    figures = {
        "ACC": (accuracy.all, len(truth)),
        "ACC known": (accuracy.known, inside),
        "ACC novel": (accuracy.novel, len(truth) - inside),
    }
    return [
        Result("sources", name, method, image_size=size, value=value, standard_error=math.nan, count=n)
        for name, (value, n) in figures.items()
    ]


def _count_error(method: str, scores: SourceDiscoveryScores, size: int) -> Result:
    """Return by which share of their number the sources are miscounted; the count is how many there are."""
    return Result(
        "sources",
        "count error",
        method,
        image_size=size,
        value=source_count_error(scores.clusters, scores.sources),
        standard_error=math.nan,
        count=scores.sources,
    )


def _open_set(method: str, margins: np.ndarray, right: np.ndarray, inside: np.ndarray, size: int) -> list[Result]:
    """Return AUROC and OSCR of margins (N,) of known sources, the classifier's choice among them being ``right``."""
    figures = {
        "AUROC": separation(margins[inside], margins[~inside]).auroc,
        "OSCR": open_set_classification_rate(margins[inside], right[inside], margins[~inside]),
    }
    return [
        Result("sources", name, method, image_size=size, value=value, standard_error=math.nan, count=len(inside))
        for name, value in figures.items()
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
    matched = any("ACC" in row for row in rounds.values())  # not of a run that an older version has begun
    scores = ("purity", "NMI", "ARI", *["ACC"] * matched) if judged else ()
    header = ["round", "images", *scores, "clustered", *(["sources", "new"] if judged else []), "groups"]
    rows = []
    for method, row in rounds.items():
        texts = [_percent(row[metric].value) if metric in row else MISSING for metric in (*scores, "clustered")]
        if judged:
            texts += [f"{row[name].value:.0f}/{row[name].count}" for name in ("sources", "unknown sources")]
        images = str(row["clustered"].count)
        rows.append([method.removeprefix("round "), images, *texts, f"{row['clusters'].value:.0f}"])
    note = f"{', '.join(scores)} (%): of all images, those not clustered in the nearest cluster; " if judged else ""
    note += "new: unknown sources that are most of a discovered cluster; " if judged else ""
    note += "groups: known sources and clusters that have images; "
    table = Table.of_texts(DiscoveryEvaluation.presentation.title, header, rows)
    print_tables([table], f"{note}clustered: % of the images", console)


def _percent(value: float) -> str:
    return MISSING if math.isnan(value) else f"{100 * value:.1f}"
