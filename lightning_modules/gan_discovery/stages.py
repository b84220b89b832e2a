"""How the stages of a round work: the options of `GANDiscovery` called ``--model.stages.<option>``."""

from dataclasses import dataclass
from math import sqrt
from typing import Annotated, Literal, NamedTuple

from lightning_modules.gan_discovery.detectors import Distance
from lightning_modules.gan_discovery.merging import Components
from visionscapes.checks import Bounds, NonNegativeInt, PositiveInt, ShareBelowOne, check_options
from visionscapes.errors import UserError

Two = Annotated[int, Bounds(least=2)]
LEAST_CLUSTERS, LEAST_MEMBERS = 2, 2  # where they follow from the data


class Sizes(NamedTuple):
    """How many clusters there are to be, and how large.

    Attributes:
        k: clusters of k-means.
        tau: members that a cluster has to keep.
        left: images to cluster, which both follow from where they are not given.
    """

    k: int
    tau: int
    left: int


@dataclass(frozen=True)
class Stages:
    """How the stages of a round work.

    Args:
        method: "discovery", or "reclustering", which clusters everything anew in each round and has no other stage
            (4.5.7.3, table 4.16).
        k: clusters of k-means (4.3.1), one number for all rounds or one a round (table 4.15). None: twice the
            square root of the images that are left to cluster, see `sizes_of`.
        hashes: H of the WTA hash (4.3.1).
        window: K of the WTA hash (4.3.1).
        percentile: of the distances within a class, its threshold (4.5.1, table 4.17).
        inside: distance that attribution looks at, "hamming" or "cosine" (table 4.13).
        members: of a class that its threshold is computed from; all if None.
        rule: who may attribute what, see ``attributing.attribute``.
        scale: of features before k-means, see ``overclustering.over_cluster``.
        merge_distance: between centroids: "wta" (4.2.5.1), "cosine" (table 4.14) or "euclidean" (official default).
        components: of the graph: "strong" (4.2.5.1) or "weak".
        merging: whether clusters are merged (table 4.20).
        repeats: further times that merging and refining follow each other in a round (table 4.19).
        epsilon: share of a cluster that has to fire, or it is dissolved (4.3.1, table 4.18).
        tau: members that a cluster has to keep (4.3.1, table 4.18). None: half of the average cluster of k-means, see
            `sizes_of`.
        max_negatives: images that a cluster's SVM is told are not of it; all others if None, as in the thesis.
        jobs: clusters that are refined at the same time.

    Raises:
        UserError: a value that makes no sense.
    """

    method: Literal["discovery", "reclustering"] = "discovery"
    k: Two | list[Two] | None = None
    hashes: PositiveInt = 2048
    window: Two = 2
    percentile: Annotated[float, Bounds(above=0, below=1)] = 0.9
    inside: Distance = "hamming"
    members: PositiveInt | None = 4000
    rule: Literal["thesis", "official"] = "thesis"
    scale: Literal["none", "standard"] = "none"
    merge_distance: Literal["wta", "cosine", "euclidean"] = "wta"
    components: Components = "strong"
    merging: bool = True
    repeats: NonNegativeInt = 0
    epsilon: ShareBelowOne = 0.5
    tau: PositiveInt | None = None
    max_negatives: PositiveInt | None = None
    jobs: PositiveInt = 1

    def __post_init__(self) -> None:
        check_options(Stages, vars(self))

    def check_rounds(self, rounds: int) -> None:
        """Check that ``k`` goes with the number of rounds.

        Raises:
            UserError: it has one value a round, and there are more or fewer rounds.
        """
        if isinstance(self.k, list) and len(self.k) != rounds:
            raise UserError(f"Stages.k has {len(self.k)} values for {rounds} rounds: give one number, or one a round")

    def clusters_of(self, number: int) -> int | None:
        """Return k of a round, counted from 1; None if it follows from the images that are left."""
        return self.k[number - 1] if isinstance(self.k, list) else self.k

    def sizes_of(self, number: int, left: int, k: int | None = None) -> Sizes:
        """Return k and tau of a round.

        Where they are not given they follow from the n images that no detector has accepted: k = 2 sqrt(n), and tau is
        half of the average cluster, n / 2k. Over-clustering has to cut finer than sources are, or clusters are mixed
        before merging begins, and coarser than an SVM can learn from, or refining dissolves them all: clusters grow as
        slowly as their number. For the some 60,000 images that are left of the thesis' 160,000 these are 490 and 61,
        where it has 500 and 100 (4.3.1); for the 1,000 of configs/gan_discovery.yaml 63 and 8, as were found there;
        for the 300 of ten sources with 80 images each 35 and 4. It is where `rounds.Stager.clustering` begins to
        look for k.

        Args:
            number: of the round, from 1.
            left: n, images to cluster.
            k: the number of clusters, where it is settled.
        """
        k = k or self.clusters_of(number)
        if k is None:
            k = max(LEAST_CLUSTERS, round(2 * sqrt(left)))
        tau = self.tau
        if tau is None:
            tau = max(LEAST_MEMBERS, round(left / (2 * k)))
        return Sizes(k, tau, left)
