"""The stages of one round in their order (thesis 4.2.3 to 4.2.5), and what they leave behind."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np

from lightning_modules.gan_discovery.advice import of_clusters, of_sizes
from lightning_modules.gan_discovery.attributing import attribute
from lightning_modules.gan_discovery.attributor import Attributor, FeatureTransform
from lightning_modules.gan_discovery.detectors import Detectors, fit_detectors
from lightning_modules.gan_discovery.labels import next_label
from lightning_modules.gan_discovery.merging import merge
from lightning_modules.gan_discovery.overclustering import over_cluster
from lightning_modules.gan_discovery.refining import refine
from lightning_modules.gan_discovery.stage_results import StageResults, digest
from lightning_modules.gan_discovery.stages import Sizes, Stages
from lightning_modules.gan_discovery.wta import WTAHash
from visionscapes.seeding import derived_seed

DISSOLVED = 0.5  # share of the clustered images, from which on fewer clusters are tried
Plan = list[tuple[str, Callable[[np.ndarray], np.ndarray]]]


@dataclass(frozen=True)
class Extracted:
    """What the network says of images: features (N, d), logits (N, C) and, of labelled ones, labels (N,)."""

    features: np.ndarray
    logits: np.ndarray
    label: np.ndarray | None = None


@dataclass(frozen=True)
class Stage:
    """The labels (n,) of the discovery images after a stage."""

    name: str
    labels: np.ndarray


@dataclass(frozen=True)
class Round:
    """What a round found out about the n discovery images that are present.

    Attributes:
        number: of the round, from 1.
        known: number of known sources.
        stages: "attribution", "clustering", "merge" and "refine", or "clustering" alone.
        features: (n, d) float32 of the discovery images.
        logits: (n, C) of the classifier, before the round changes the labels.
        labelled_features: (m, d) of the labelled images.
        labelled_labels: (m,) int64.
        distances: (n,) mean distance to the class that accepts most readily, at the end of the round.
        margins: (n,) threshold of that class less the distance; positive inside.
    """

    number: int
    known: int
    stages: tuple[Stage, ...]
    features: np.ndarray
    logits: np.ndarray
    labelled_features: np.ndarray
    labelled_labels: np.ndarray
    distances: np.ndarray
    margins: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Labels (n,) after the last stage."""
        return self.stages[-1].labels


class Stager:
    """The stages of one round as functions of labels (n,) of the discovery images.

    Detectors of known sources are made of labelled images, those of clusters of their members, as in the official
    code; images attributed to a known source earlier play no part in its detector.

    Args:
        labelled: what the network says of the labelled images.
        discovery: and of the n discovery images.
        labels: (n,) of the round before; clusters with larger ones are new in this round.
        known: number of known sources.
        stages: how they work.
        number: of the round, from 1.
        seed: of hash, k-means and negatives.
    """

    def __init__(
        self,
        labelled: Extracted,
        discovery: Extracted,
        labels: np.ndarray,
        known: int,
        stages: Stages,
        number: int,
        seed: int,
    ):
        assert labelled.label is not None
        self.labelled, self.discovery, self.known = labelled, discovery, known
        self.stages, self.number, self.seed = stages, number, seed
        self.sizes = self.measure(labels)
        self.transform = FeatureTransform.fit(labelled.features, stages, derived_seed(seed, 0))
        self.first_new = next_label(labels, known)
        self._refined: tuple[tuple[np.ndarray, int], np.ndarray] | None = None

    def plan(self) -> Plan:
        """Return the stages in their order, by name."""
        if self.stages.method == "reclustering":
            return [("clustering", lambda labels: self.clustering(np.full_like(labels, -1)))]
        plan: Plan = [("attribution", self.attribution), ("clustering", self.clustering)]
        for n in range(1 + self.stages.repeats):
            merge, number = (self.merge_again, f" {n + 1}") if n else (self.merge, "")
            plan += [(f"merge{number}", merge)] * self.stages.merging + [(f"refine{number}", self.refine)]
        return plan

    def detectors(self, labels: np.ndarray) -> Detectors:
        """Return a detector for every known source and every cluster."""
        assert self.labelled.label is not None
        members = np.where(labels >= self.known, labels, -1)
        features = np.concatenate([self.labelled.features, self.discovery.features])
        return fit_detectors(
            self.transform(features),
            np.concatenate([self.labelled.label, members]),
            range(max(self.known, int(labels.max(initial=-1)) + 1)),
            percentile=self.stages.percentile,
            members=self.stages.members,
            distance=self.stages.inside,
            window=self.stages.window,
            seed=derived_seed(self.seed, 1),
        )

    def attribution(self, labels: np.ndarray) -> np.ndarray:
        """Attribute what lies inside a source or cluster (4.2.3)."""
        accepted = self.detectors(labels).accepted(self.transform(self.discovery.features))
        return attribute(labels, accepted, self.discovery.logits, self.known, self.stages.rule)

    def measure(self, labels: np.ndarray) -> Sizes:
        """Let k and tau follow from what attribution has left."""
        left = len(labels) if self.stages.method == "reclustering" else int((labels == -1).sum())
        self.sizes = self.stages.sizes_of(self.number, left)
        return self.sizes

    def settle(self, labels: np.ndarray) -> Sizes:
        """Let tau follow from the clusters that there are, whether they were just made or read from a file."""
        made = len(np.unique(labels[labels >= self.first_new]))
        self.sizes = self.stages.sizes_of(self.number, self.sizes.left, made or None)
        return self.sizes

    def clustering(self, labels: np.ndarray) -> np.ndarray:
        """Over-cluster the rest (4.2.4).

        Where k follows from the data it is halved as long as refining would dissolve more than `DISSOLVED` of what is
        clustered: clusters of one source are each other's negatives, and sources that are clearly apart make each of
        their clusters look like the rest. If all are dissolved too far, the number is taken that keeps most.
        """
        features, left = self.transform.scaled(self.discovery.features), labels == -1
        best, kept, k = labels, -1.0, self.sizes.k
        while kept < 1 - DISSOLVED and k >= 2:
            found = over_cluster(features, labels, k, self.known, seed=derived_seed(self.seed, 2) % 2**32)
            if self.stages.clusters_of(self.number) is not None or self.stages.method == "reclustering":
                return found
            self.settle(found)
            refined = self.refine(self.merge(found) if self.stages.merging else found)
            share = (refined[left] >= self.known).mean() if left.any() else 1.0
            if share > kept:
                best, kept = found, float(share)
            k //= 2
        return best

    def merge(self, labels: np.ndarray) -> np.ndarray:
        """Merge the clusters of this round with each other, then all clusters (4.2.5.1, 4.5.1)."""
        return self._merged(labels, self.first_new)

    def merge_again(self, labels: np.ndarray) -> np.ndarray:
        """Merge all clusters once more; none is new any longer (4.5.7)."""
        return self._merged(labels, next_label(labels, self.known))

    def _merged(self, labels: np.ndarray, first_new: int) -> np.ndarray:
        by: WTAHash | Literal["cosine", "euclidean"]
        if self.stages.merge_distance == "wta":
            seed = derived_seed(self.seed, 0)
            settings = self.stages.hashes, self.stages.window
            by = self.transform.hash or WTAHash.fit(self.labelled.features, *settings, seed)
        else:
            by = self.stages.merge_distance
        return merge(self.discovery.features, labels, self.known, first_new, by, self.stages.components)

    def refine(self, labels: np.ndarray) -> np.ndarray:
        """Drop members, and clusters, that an SVM does not recognise (4.2.5.2)."""
        asked = labels, self.sizes.tau
        if (
            self._refined is not None
            and self._refined[0][1] == asked[1]
            and np.array_equal(self._refined[0][0], labels)
        ):
            return self._refined[1]  # as the search for k has found
        result = refine(
            self.discovery.features,
            labels,
            self.known,
            epsilon=self.stages.epsilon,
            tau=self.sizes.tau,
            max_negatives=self.stages.max_negatives,
            jobs=self.stages.jobs,
            seed=derived_seed(self.seed, 3),
        ).labels
        self._refined = asked, result
        return result


def run_round(
    number: int,
    labelled: Extracted,
    discovery: Extracted,
    labels: np.ndarray,
    names: list[str],
    stages: Stages,
    seed: int,
    results: StageResults,
    say: Callable[[str], None],
    warn: Callable[[str | None], None],
) -> tuple[Round, Attributor]:
    """Run the stages of a round.

    Args:
        number: of the round, from 1.
        labelled: what the network says of the labelled images.
        discovery: and of the n discovery images.
        labels: (n,) of the round before, -1 for those that are not clustered or have just arrived.
        names: of the known sources.
        stages: how they work.
        seed: of hash, k-means and negatives.
        results: gives the results of stages, kept by an interrupted run or computed.
        say: is told of progress.
        warn: is told what the round suffers from; None if nothing.
    """
    known = len(names)
    stager = Stager(labelled, discovery, labels, known=known, stages=stages, number=number, seed=seed)
    inputs = digest(
        str((asdict(stages), seed)), labelled.features, labelled.label, discovery.features, discovery.logits
    )
    done = []
    for name, stage in stager.plan():
        start, before = time.perf_counter(), labels
        if name == "clustering":
            stager.measure(labels)
        inputs = digest(inputs, name, before)
        kept = results(name, inputs, lambda stage=stage, before=before: {"labels": stage(before)})  # type: ignore[misc]
        labels = kept["labels"]
        if name == "clustering":
            sizes = stager.settle(labels)
            say(f"round {number}: k {sizes.k} and tau {sizes.tau} of {sizes.left} images left")
            warn(of_sizes(number, sizes, stages, len(labels)))
        done.append(Stage(name, labels))
        clusters, clustered = len(np.unique(labels[labels >= known])), (labels >= 0).mean()
        took = time.perf_counter() - start
        say(f"round {number}, {name}: {clusters} clusters, {clustered:.1%} of the images in a source ({took:.1f} s)")
    warn(of_clusters(number, stager.sizes, done[-1].labels, known, stages))
    attributor = Attributor(stager.transform, stager.detectors(labels), names)
    _, distances, margins = attributor.nearest(discovery.features)
    assert labelled.label is not None
    ended = Round(
        number=number,
        known=known,
        stages=tuple(done),
        features=discovery.features,
        logits=discovery.logits,
        labelled_features=labelled.features,
        labelled_labels=labelled.label,
        distances=distances,
        margins=margins,
    )
    return ended, attributor
