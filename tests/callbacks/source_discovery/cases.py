"""Rounds of source discovery without a network: what the module hands to the callbacks, made up."""

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from lightning_modules.gan_discovery.attributor import Attributor, FeatureTransform
from lightning_modules.gan_discovery.detectors import fit_detectors
from lightning_modules.gan_discovery.rounds import Round, Stage

SIZE = 24


@dataclass
class Images:
    """See ``datamodules.SourceImages``: two known sources of four, images in order of arrival."""

    count: int = 40
    late: int = 0  # arrive in round 2
    classes: tuple[str, ...] = ("one", "two")
    sources: tuple[str, ...] = ("one", "two", "a new", "b <new>")
    real: frozenset[str] = frozenset({"one"})
    image_size: int = SIZE
    with_truth: bool = True
    asked: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.discovery_names = [f"{(7 * index) % self.count:03d}.png" for index in range(self.count)]
        self.truth = np.arange(self.count) % len(self.sources) if self.with_truth else None

    def arrived(self, round: int) -> int:
        return self.count - self.late * (round < 2)

    def discovery_image(self, index: int) -> np.ndarray:
        self.asked.append(index)
        generator = np.random.default_rng(index)
        return generator.integers(0, 256, (self.image_size, self.image_size, 3), np.uint8)


class Log:
    """A logger that keeps what it is told."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append((step, metrics))


def trainer_of(folder: Path, images: Any = None, rank: int = 0) -> Any:
    return SimpleNamespace(
        default_root_dir=str(folder),
        datamodule=Images() if images is None else images,
        is_global_zero=rank == 0,
        loggers=[Log()],
        global_step=7,
    )


def round_of(*stages: tuple[str, np.ndarray], number: int = 1, known: int = 2) -> Round:
    """Return a round in which images of a source have similar features; two labelled images of each known source."""
    count = len(stages[-1][1])
    generator = np.random.default_rng(number)
    features = np.eye(4, dtype=np.float32)[np.arange(count) % 4] + generator.random((count, 4), np.float32) / 10
    labelled = np.eye(4, dtype=np.float32)[[0, 0, 1, 1]] + generator.random((4, 4), np.float32) / 10
    return Round(
        number,
        known,
        tuple(Stage(name, labels) for name, labels in stages),
        features,
        5 * features[:, :known],
        labelled,
        np.array([0, 0, 1, 1]),
        np.linspace(100, 200, count),
        np.linspace(50, -50, count),
    )


def module_of(ended, distance="cosine", clusters=False):
    """Return a module with detectors of the known sources, and of the clusters that the round has found."""
    features, labels = ended.labelled_features, ended.labelled_labels
    if clusters:
        found = ended.labels >= ended.known
        features = np.concatenate([features, ended.features[found]])
        labels = np.concatenate([labels, ended.labels[found]])
    classes = range(int(labels.max()) + 1)
    if distance == "cosine":
        transform, window = FeatureTransform(None, None), 2
    else:
        transform, window = FeatureTransform(np.array([[0, 1], [0, 2], [1, 2], [1, 3], [2, 3], [0, 3]]), None), 2
    detectors = fit_detectors(transform(features), labels, classes, distance=distance, window=window)
    return SimpleNamespace(attributor=Attributor(transform, detectors, ["one", "two"]))


def labels_of(count: int = 40, unclustered: int = 8) -> np.ndarray:
    """Return labels that put every source into one cluster, the last images into none."""
    labels = np.arange(count) % 4
    labels[count - unclustered :] = -1
    return labels


def usual(count: int = 40, number: int = 1) -> Round:
    """Return a round of four stages: too much attributed is not, so that every stage has labels of its own."""
    attribution = np.where(np.arange(count) % 4 < 2, np.arange(count) % 4, -1)
    clustering = np.where(attribution < 0, np.arange(count) % 6 + 2, attribution)
    merge = np.arange(count) % 4
    stages = ("attribution", attribution), ("clustering", clustering), ("merge", merge), ("refine", labels_of(count))
    return round_of(*stages, number=number)
