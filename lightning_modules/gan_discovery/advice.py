"""What a run is told when it is about to find nothing, and what to do about it."""

import numpy as np

from lightning_modules.gan_discovery.stages import LEAST_CLUSTERS, LEAST_MEMBERS, Sizes, Stages

FEW_STEPS = 200  # of the first round; of small pictures a network from nothing then still takes one source for another
FOLDERS = "configs/gan_discovery_folders.yaml"
FOLLOW = f"leave k and tau to the data, --model.stages.k=null --model.stages.tau=null, as {FOLDERS} does"


def of_steps(steps: int, epochs: int | None) -> str | None:
    """Return what to say of the length of the first round; None if it is long enough.

    Args:
        steps: of the round.
        epochs: that were asked for; None if steps were.
    """
    if steps >= FEW_STEPS:
        return None
    if epochs is None:
        return (
            f"the first round trains for {steps} steps: too few to tell sources apart. Give at least {FEW_STEPS}, "
            "--model.steps=<number>"
        )
    return (
        f"the first round trains for {steps} steps, --model.epochs={epochs} of few images: too few to tell sources "
        f"apart. Count steps instead, --model.epochs=null --model.epochs_later=null, as {FOLDERS} does"
    )


def of_images(images: int, stages: Stages) -> str | None:
    """Return what to say, before anything is trained, of too few images to be discovered; None if they are enough.

    Args:
        images: to be discovered, in all rounds.
        stages: how a round works.
    """
    members = LEAST_MEMBERS if stages.tau is None or stages.method == "reclustering" else stages.tau
    least = LEAST_CLUSTERS * members
    if images >= least:
        return None
    return (
        f"too few images to find an unknown source, {images} to be discovered: {LEAST_CLUSTERS} clusters of {members} "
        f"take at least {least}. Give more images, --data.discovery=<folder>"
        + (", or lower --model.stages.tau" if members > LEAST_MEMBERS else "")
    )


def of_size(size: int, trained: int | None) -> str | None:
    """Return what to say of images of another size than was trained on; None if there is nothing to say.

    Args:
        size: width and height of the images, pixels.
        trained: of those of the training; None where that is not known.
    """
    if trained in (None, size):
        return None
    return (
        f"images are {size} pixels wide and high, and the network was trained on {trained}: the traces of a source "
        f"change with the size, and attributions with them. Give --data.image_size={trained}"
    )


def of_sizes(number: int, sizes: Sizes, stages: Stages, images: int) -> str | None:
    """Return what to say of the numbers of a round before it clusters; None if there is hope.

    Args:
        number: of the round.
        sizes: its k, its tau, and the images that are left.
        stages: how it works.
        images: to be discovered in the round, those that lie in a known source too.
    """
    k, tau, left = sizes
    if left <= k:
        are_left = f"{left} image{' is' if left == 1 else 's are'} left for {k} clusters"
        if of_images(images, stages) is not None:
            return f"round {number} finds no new cluster: {are_left}, of {images} to be discovered: give more"
        return (
            f"round {number} finds no new cluster: {are_left}. If sources are missing, "
            f"lower --model.stages.percentile, {stages.percentile:g} now, so that known sources take less for their "
            "own" + ("" if stages.k is None else f", and {FOLLOW}")
        )
    if left / k < tau and (stages.k is not None or stages.tau is not None):
        return (
            f"round {number}: the clusters of k-means have {left / k:.1f} images on average, {k} of {left} images "
            f"left, and one has to keep {tau} (tau): most of them will be dissolved. Lower both, or {FOLLOW}"
        )
    return None


def of_clusters(number: int, sizes: Sizes, labels: np.ndarray, known: int, stages: Stages) -> str | None:
    """Return what to say of what a round has found; None if it is anything, or `of_sizes` has said why not.

    Args:
        number: of the round.
        sizes: its k, its tau, and the images that were left to cluster.
        labels: (n,) at its end.
        known: number of known sources.
        stages: how it works.
    """
    if sizes.left <= sizes.k or (labels >= known).any():
        return None
    follow = f", or {FOLLOW}" if stages.k is not None or stages.tau is not None else ""
    return (
        f"round {number} ends without a single cluster, so that no unknown source is found: all of the {sizes.left} "
        f"images that lie in no known source were dissolved again, k {sizes.k} and tau {sizes.tau}. Train longer "
        f"(--model.steps) or give more images{follow}"
    )
