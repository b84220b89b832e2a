"""What a run is told when it is about to find nothing, and what to do about it."""

import numpy as np

from lightning_modules.gan_discovery.stages import Sizes, Stages

FEW_STEPS = 200  # of the first round; of small pictures a network from nothing then still takes one source for another
FOLDERS = "configs/gan_discovery_folders.yaml"
FOLLOW = f"leave k and tau to the data, --model.stages.k=null --model.stages.tau=null, as {FOLDERS} does"


def of_steps(steps: int, epochs: int) -> str | None:
    """Return what to say of the length of the first round; None if it is long enough.

    Args:
        steps: of the round.
        epochs: that were asked for.
    """
    if steps >= FEW_STEPS:
        return None
    return (
        f"the first round trains for {steps} steps, --model.epochs={epochs} of few images: too few to tell sources "
        f"apart. Count steps instead, --model.epochs=null --model.epochs_later=null, as {FOLDERS} does"
    )


def of_sizes(number: int, sizes: Sizes, stages: Stages) -> str | None:
    """Return what to say of the numbers of a round before it clusters; None if there is hope.

    Args:
        number: of the round.
        sizes: its k, its tau, and the images that are left.
        stages: how it works.
    """
    k, tau, left = sizes
    if left <= k:
        return (
            f"round {number} finds no new cluster: {left} images are left for {k} clusters. If sources are missing, "
            f"lower --model.stages.percentile, {stages.percentile:g} now, so that known sources take less for their "
            "own" + ("" if stages.k is None else f", and {FOLLOW}")
        )
    if left / k < tau and (stages.k is not None or stages.tau is not None):
        return (
            f"round {number}: the clusters of k-means have {left / k:.1f} images on average, {k} of {left} images "
            f"left, and one has to keep {tau} (tau): most of them will be dissolved. Lower both, or {FOLLOW}"
        )
    return None


def of_clusters(number: int, sizes: Sizes, labels: np.ndarray, known: int) -> str | None:
    """Return what to say of what a round has found; None if it is anything.

    Args:
        number: of the round.
        sizes: its k, its tau, and the images that were left to cluster.
        labels: (n,) at its end.
        known: number of known sources.
    """
    if sizes.left == 0 or (labels >= known).any():
        return None
    return (
        f"round {number} ends without a single cluster, so that no unknown source is found: all of the {sizes.left} "
        f"images that lie in no known source were dissolved again, k {sizes.k} and tau {sizes.tau}. Train longer "
        f"(--model.steps), give more images, or {FOLLOW}"
    )
