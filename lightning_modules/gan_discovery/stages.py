"""How the stages of a round work: the options of `GANDiscovery` called ``--model.stages.<option>``."""

from dataclasses import dataclass
from typing import Annotated, Literal

from lightning_modules.gan_discovery.detectors import Distance
from lightning_modules.gan_discovery.merging import Components
from visionscapes.checks import Bounds, NonNegativeInt, PositiveInt, ShareBelowOne, check_options
from visionscapes.errors import UserError

Two = Annotated[int, Bounds(least=2)]


@dataclass(frozen=True)
class Stages:
    """How the stages of a round work.

    Args:
        method: "discovery", or "reclustering", which clusters everything anew in each round and has no other stage
            (4.5.7.3, table 4.16).
        k: clusters of k-means (4.3.1), one number for all rounds or one a round (table 4.15).
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
        tau: members that a cluster has to keep (4.3.1, table 4.18).
        max_negatives: images that a cluster's SVM is told are not of it; all others if None, as in the thesis.
        jobs: clusters that are refined at the same time.

    Raises:
        UserError: a value that makes no sense.
    """

    method: Literal["discovery", "reclustering"] = "discovery"
    k: Two | list[Two] = 500
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
    tau: PositiveInt = 100
    max_negatives: PositiveInt | None = None
    jobs: PositiveInt = 1

    def __post_init__(self) -> None:
        check_options(Stages, vars(self))

    def check_rounds(self, rounds: int) -> None:
        """Check that ``k`` goes with the number of rounds.

        Raises:
            UserError: it has one value a round, and there are more or fewer rounds.
        """
        if not isinstance(self.k, int) and len(self.k) != rounds:
            raise UserError(f"Stages.k has {len(self.k)} values for {rounds} rounds: give one number, or one a round")

    def clusters_of(self, number: int) -> int:
        """Return k of a round, counted from 1."""
        return self.k if isinstance(self.k, int) else self.k[number - 1]
