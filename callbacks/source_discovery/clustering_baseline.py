"""What k-means alone makes of the features of a network trained on the labelled images (table 4.2)."""

import math
from pathlib import Path

import numpy as np
from pytorch_lightning import LightningModule, Trainer
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits
from typing_extensions import override

from callbacks.results.array_files import read_npz, write_npz
from callbacks.results.presentation import COUNT, SHARE, Presentation
from callbacks.results.result import Result
from callbacks.source_discovery.round_outcome import RoundOutcome, images_of, truth_of
from callbacks.source_discovery.round_results import RoundResults, of_round
from metrics.source_discovery import clustering_accuracy, scores_of_clustered
from visionscapes.checks import NumpySeed, PositiveInt, check_options


class ClusteringBaseline(RoundResults):
    """Clusters all discovery images by k-means on the features of round 1, the baseline of thesis 4.3.2.

    Protocol "k_means", metrics purity, NMI, ARI and ACC (see `DiscoveryEvaluation`). Rows of method "k=<k>" have
    that many clusters. Those of method "round <n> k-means" have as many as the round found, because purity grows
    and NMI falls with their number: only at an equal number they can be compared. The last round stands once more
    under "last k-means". Images that arrived later than round 1 are left out, as the features of round 1 do not
    know them. The features lie in rounds/features.npz of the run folder, so that a resumed run has them.

    Args:
        k: numbers of clusters to try beside those found; the true number of sources if empty.
        seed: of k-means.

    Raises:
        UserError: a number below 1.
    """

    protocol = "k_means"
    presentation = Presentation("k-means on the features", SHARE, {"clusters": COUNT}, ranked=False)

    def __init__(self, k: list[PositiveInt] | None = None, seed: NumpySeed = 0):
        check_options(ClusteringBaseline, locals())
        super().__init__()
        self.k, self.seed = k or [], seed

    @override
    def rows(self, trainer: Trainer, pl_module: LightningModule, round: RoundOutcome) -> list[Result]:
        images = images_of(trainer, self)
        path = Path(trainer.default_root_dir) / "rounds" / "features.npz"
        if round.number == 1 and trainer.is_global_zero:
            write_npz(path, {"features": round.features.astype(np.float32)})
        kept = {"features": round.features} if round.number == 1 else read_npz(path)
        features = None if kept is None else kept["features"]
        if images.truth is None or features is None:
            return []
        truth = truth_of(images, len(features))
        assert truth is not None
        found = len(np.unique(round.labels[round.labels >= 0]))
        rows = self._row(f"{of_round(round.number)} k-means", features, truth, found, images.image_size)
        if round.number == 1:
            for k in self.k or [len(images.sources)]:
                rows += self._row(f"k={k}", features, truth, k, images.image_size)
        return rows

    def _row(self, method: str, features: np.ndarray, truth: np.ndarray, k: int, size: int) -> list[Result]:
        if not 0 < k <= len(features):
            return []
        with threadpool_limits(1, user_api="openmp"):  # else sums depend on which thread is first
            clusters = KMeans(n_clusters=k, n_init=1, random_state=self.seed).fit_predict(features)
        scores = scores_of_clustered(clusters.astype(np.int64), truth)
        matched = clustering_accuracy(clusters, truth, known=0)  # of all images: k-means knows no source
        figures = {
            "purity": scores.purity,
            "NMI": scores.nmi,
            "ARI": scores.ari,
            "clusters": scores.clusters,
            "ACC": matched.all,
        }
        return [
            Result(
                "k_means",
                metric,
                method,
                image_size=size,
                value=float(value),
                standard_error=math.nan,
                count=len(truth),
            )
            for metric, value in figures.items()
        ]
