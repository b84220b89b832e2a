"""What the callbacks of source discovery see: the outcome of a round, and where its images come from."""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from pytorch_lightning import Callback, Trainer

from metrics.source_discovery import UNCLUSTERED
from visionscapes.errors import UserError


class StageOutcome(Protocol):
    """A stage of a round."""

    @property
    def name(self) -> str:
        """What the stage is called, such as "merge"."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """Labels (n,) int64 after the stage: -1 not clustered, below ``known`` a known source, above a cluster."""
        ...


class RoundOutcome(Protocol):
    """The outcome of a round for the n discovery images that are present."""

    @property
    def number(self) -> int:
        """Number of the round, from 1 on."""
        ...

    @property
    def stages(self) -> Sequence[StageOutcome]:
        """Its stages in the order in which they ran, at least one."""
        ...

    @property
    def labels(self) -> np.ndarray:
        """Labels (n,) of the last stage."""
        ...

    @property
    def features(self) -> np.ndarray:
        """Raw features (n, d)."""
        ...

    @property
    def distances(self) -> np.ndarray:
        """Distances (n,) to the detector that accepts most readily."""
        ...

    @property
    def margins(self) -> np.ndarray:
        """Margins (n,): threshold less distance of that detector, positive inside."""
        ...

    @property
    def known(self) -> int:
        """Number of known sources."""
        ...

    @property
    def logits(self) -> np.ndarray:
        """Logits (n, C) of the classifier."""
        ...

    @property
    def labelled_features(self) -> np.ndarray:
        """Raw features (m, d) of the labelled images."""
        ...

    @property
    def labelled_labels(self) -> np.ndarray:
        """Sources (m,) of the labelled images."""
        ...


def images_of(trainer: Trainer, callback: Callback) -> Any:
    """Return the datamodule, which knows names, sources and pictures of the discovery images.

    Raises:
        UserError: it is one of something else.
    """
    datamodule = getattr(trainer, "datamodule", None)
    if not hasattr(datamodule, "discovery_names"):
        raise UserError(
            f"{type(callback).__name__} needs a datamodule of source discovery, such as SourceImages; leave the "
            "callback out of other trainings"
        )
    return datamodule


def truth_of(images: Any, count: int) -> np.ndarray | None:
    """Return the true sources (count,) of the images that are present, None if they are unknown."""
    return None if images.truth is None else images.truth[:count]


def label_name(label: int, classes: Sequence[str]) -> str:
    """Return what a label is called: a known source, "cluster <label>" or "unclustered"."""
    if label == UNCLUSTERED:
        return "unclustered"
    return classes[label] if label < len(classes) else f"cluster {label}"


def number(value: float) -> str:
    """Return a figure to six digits, nothing for NaN."""
    return "" if np.isnan(value) else f"{value:.6g}"
