"""Which source or cluster new images come from, once a round has ended."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import numpy as np
import torch

from lightning_modules.gan_discovery.detectors import Detectors
from lightning_modules.gan_discovery.stages import Stages
from lightning_modules.gan_discovery.wta import WTAHash


def moments(reference: np.ndarray) -> np.ndarray:
    """Return mean and standard deviation (2, d) of features (m, d), 1 for the deviation of a constant feature."""
    mean, deviation = reference.mean(0, dtype=np.float64), reference.std(0, dtype=np.float64)
    constant = reference.max(0) == reference.min(0)  # their deviation is not 0 after rounding
    return np.stack([mean, np.where(constant, 1, deviation)])


class FeatureTransform:
    """What features pass through before detectors see them: standardised or not, hashed or not.

    Args:
        positions: of the hash (H, K); None where detectors take features as they are.
        scale: mean and deviation (2, d) that features are standardised with; None for none.
    """

    def __init__(self, positions: np.ndarray | None, scale: np.ndarray | None):
        self.positions, self.scale = positions, scale
        self.hash = None if positions is None else WTAHash.of(positions)

    @classmethod
    def fit(cls, reference: np.ndarray, stages: Stages, seed: int) -> Self:
        """Return what the stages ask for, with the features (m, d) of the labelled images as reference."""
        scale = moments(reference) if stages.scale == "standard" else None
        seen = reference if scale is None else (reference - scale[0]) / scale[1]
        if stages.inside == "cosine":
            return cls(None, scale)
        return cls(WTAHash.fit(seen, stages.hashes, stages.window, seed).positions, scale)

    def scaled(self, features: np.ndarray) -> np.ndarray:
        """Return features (N, d), standardised if asked for."""
        return features if self.scale is None else ((features - self.scale[0]) / self.scale[1]).astype(features.dtype)

    def __call__(self, features: np.ndarray) -> np.ndarray:
        """Return what detectors take: codes (N, H) uint8, or features (N, d)."""
        scaled = self.scaled(features)
        return scaled if self.hash is None else self.hash(scaled)


class Attributor:
    """Tells of new images which source or cluster they come from, by the detectors at the end of a round.

    Args:
        transform: what features pass through before the detectors see them.
        detectors: of all known sources and discovered clusters.
        names: of the known sources.
    """

    def __init__(self, transform: FeatureTransform, detectors: Detectors, names: list[str]):
        self.transform, self.detectors, self.names = transform, detectors, names

    def __call__(self, features: np.ndarray, logits: np.ndarray) -> dict[str, Any]:
        """Attribute images.

        What no detector accepts is "unknown". The rest is of a class that accepts it: of the cluster, if that is where
        the distance is the smallest share of the threshold, for thresholds of clusters are short; else of that known
        source, among those that accept, which the classifier prefers. The classifier has no output for the clusters of
        the last round, and gives what is of them to a known source; so it has no say between the two.

        Args:
            features: (B, d).
            logits: (B, C).

        Returns:
            "name", a list; "distance" (B,) to that class and "margin" (B,), its threshold less that distance, both
            float64 in differing hashes or cosine distances, of the class that is nearest to accepting where none does;
            "probability" (B,) that the classifier gives to the known source it prefers; "known" (B,) int64, that
            source; "known_margin" (B,), see `known_margins`.
        """
        known, classes = len(self.names), self.detectors.classes
        distances = self.detectors.distances(self.transform(features))
        margins = self.detectors.thresholds - distances
        accepted, of_known = margins > 0, classes < known
        readiness = np.divide(margins, self.detectors.thresholds, out=np.full_like(margins, -np.inf), where=accepted)
        chosen = np.where(accepted.any(1), readiness.argmax(1), margins.argmax(1))
        preference = np.where(accepted[:, of_known], logits[:, classes[of_known]], -np.inf)
        by_classifier = np.flatnonzero(of_known)[preference.argmax(1)]
        chosen = np.where(accepted.any(1) & of_known[chosen], by_classifier, chosen)
        rows = np.arange(len(chosen))
        distance, margin = distances[rows, chosen], margins[rows, chosen]
        labels = zip(classes[chosen].tolist(), margin, strict=True)
        names = [self.name(label) if inside > 0 else "unknown" for label, inside in labels]
        shares, preferred = torch.from_numpy(logits).double().softmax(1)[:, :known].max(1)
        return {
            "name": names,
            "distance": torch.from_numpy(distance),
            "margin": torch.from_numpy(margin),
            "probability": shares,
            "known": preferred,
            "known_margin": torch.from_numpy(self.known_margins(features)),
        }

    def nearest(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which class accepts each image most readily (N,), its distance (N,) and margin (N,)."""
        distances = self.detectors.distances(self.transform(features))
        margins = self.detectors.thresholds - distances
        best = margins.argmax(1)
        rows = np.arange(len(best))
        return self.detectors.classes[best], distances[rows, best], margins[rows, best]

    def known_margins(self, features: np.ndarray) -> np.ndarray:
        """Return the margin (N,) of the known source that accepts each image most readily, whatever clusters say."""
        known = self.detectors.classes < len(self.names)
        detectors = replace(
            self.detectors,
            classes=self.detectors.classes[known],
            sums=self.detectors.sums[known],
            counts=self.detectors.counts[known],
            thresholds=self.detectors.thresholds[known],
        )
        return (detectors.thresholds - detectors.distances(self.transform(features))).max(1)

    def name(self, label: int) -> str:
        """Return the name of a label: of a known source its own, of a cluster its number."""
        return self.names[label] if label < len(self.names) else f"cluster {label}"

    def state(self) -> dict[str, Any]:
        """Return tensors and plain values that `of` makes the same attributor of."""
        arrays = {name: getattr(self.detectors, name) for name in ("classes", "sums", "counts", "thresholds")}
        fitted = {name: getattr(self.transform, name) for name in ("positions", "scale")}
        arrays |= {name: value for name, value in fitted.items() if value is not None}
        plain = {"names": self.names, "distance": self.detectors.distance, "window": self.detectors.window}
        return {"arrays": {name: torch.from_numpy(value) for name, value in arrays.items()}, **plain}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> Self:
        """Return the attributor that gave ``state``."""
        arrays = {name: value.numpy() for name, value in state["arrays"].items()}
        transform = FeatureTransform(arrays.pop("positions", None), arrays.pop("scale", None))
        return cls(transform, Detectors(**arrays, distance=state["distance"], window=state["window"]), state["names"])
