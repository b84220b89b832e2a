"""Attribution of images that a detector accepts (thesis 4.2.3)."""

from typing import Literal

import numpy as np


def attribute(
    labels: np.ndarray,
    accepted: np.ndarray,
    logits: np.ndarray,
    known: int,
    rule: Literal["thesis", "official"] = "thesis",
) -> np.ndarray:
    """Return the labels with those images that are not clustered, but are in distribution, given to a class.

    The class is always the classifier's, which need not be one whose detector accepts the image.

    Args:
        labels: (N,) int64; images with another label than -1 keep it.
        accepted: (N, C) bool, by the detector of each class.
        logits: (N, C) of the classifier.
        known: number of known sources, the first columns.
        rule: "thesis": one detector of any class has to accept. "official": known sources and discovered clusters are
            two groups, and one detector of the group of the classifier's choice has to accept.

    Returns:
        (N,) int64, a copy.
    """
    choice = logits.argmax(axis=1)
    inside = accepted.any(axis=1)
    if rule == "official":
        inside = np.where(choice < known, accepted[:, :known].any(axis=1), accepted[:, known:].any(axis=1))
    return np.where((labels == -1) & inside, choice, labels)
