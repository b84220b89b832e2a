"""How well the detectors tell known from unknown sources, beside other scores (thesis 4.5.5.2)."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from pytorch_lightning import LightningModule, Trainer
from torch.utils.data import DataLoader
from typing_extensions import override

from callbacks.results.presentation import SHARE, MetricKind, Presentation
from callbacks.results.result import Result
from callbacks.source_discovery.round_outcome import RoundOutcome, images_of, truth_of
from callbacks.source_discovery.round_results import RoundResults
from metrics.out_of_distribution import open_set_classification_rate, separation
from networks.out_of_distribution_scores import energy, max_softmax, nearest_neighbours, odin
from visionscapes.checks import NonNegativeInt, PositiveFloat, PositiveInt, check_options
from visionscapes.processes import gather_entries

METRICS = {
    "FPR95": "fpr95",
    "detection error": "detection_error",
    "AUROC": "auroc",
    "AUPR in": "aupr_in",
    "AUPR out": "aupr_out",
}


class OutOfDistributionEvaluation(RoundResults):
    """Scores that tell images of known sources from others, compared on the features of the first round.

    Protocol "ood". The methods are the largest margin of the detectors of known sources, max_j (t_j - d_j) ("WTA",
    or "cosine" where they see no hash), the probability of the likeliest class ("max softmax"), the energy
    ("energy"), the distance to the k-th nearest labelled image ("k-NN") and ODIN ("ODIN"); the metrics those of
    Table 4.12, with FPR95 for "FPR at 95 % TPR", and OSCR, for which images of known sources have to be classified
    rightly too. The first round alone, because later ones have classes for what was unknown. Nothing is measured
    where true sources are unknown, or where all of them are known ones.

    Args:
        neighbours: k of the k-NN.
        temperature: of the energy.
        reference: at most this many labelled images are searched for neighbours, drawn at random: of 240,000, each
            of 160,000 images would be compared with all. None for all.
        odin: whether to measure ODIN, which takes a pass and its gradients of all discovery images.
        seed: of the draw.

    Raises:
        UserError: settings out of range.
    """

    protocol = "ood"
    presentation = Presentation(
        "Known from unknown sources",
        SHARE,
        dict.fromkeys(("FPR95", "detection error"), MetricKind("lower", share=True, digits=".1f")),
    )

    def __init__(
        self,
        neighbours: PositiveInt = 50,
        temperature: PositiveFloat = 1.0,
        reference: PositiveInt | None = 20_000,
        odin: bool = True,
        seed: NonNegativeInt = 0,
    ) -> None:
        check_options(OutOfDistributionEvaluation, locals())
        super().__init__()
        self.neighbours, self.temperature, self.reference = neighbours, temperature, reference
        self.odin, self.seed = odin, seed

    @override
    def rows(self, trainer: Trainer, pl_module: LightningModule, round: RoundOutcome) -> list[Result]:
        images = images_of(trainer, self)
        truth = truth_of(images, len(round.labels))
        if round.number > 1 or truth is None:
            return self._rounds.get(round.number, [])
        inside = truth < round.known
        if inside.all() or not inside.any():
            return []
        rows = []
        every = self.scores(pl_module, round)
        if self.odin:
            every["ODIN"] = odin_scores(trainer, pl_module, images.discovery_dataloader(round.number))
        right = (round.logits[:, : round.known].argmax(1) == truth)[inside]
        for method, scores in every.items():
            found = separation(scores[inside], scores[~inside])
            figures = {metric: getattr(found, name) for metric, name in METRICS.items()}
            figures["OSCR"] = open_set_classification_rate(scores[inside], right, scores[~inside])
            rows += _rows(method, figures, images.image_size, len(truth))
        return rows

    def scores(self, pl_module: Any, round: RoundOutcome) -> dict[str, np.ndarray]:
        """Return the scores (n,) of the images by method, higher the more they look known."""
        detectors = pl_module.attributor.detectors
        logits, features = torch.from_numpy(round.logits), torch.from_numpy(round.features)
        reference = round.labelled_features
        if self.reference is not None and len(reference) > self.reference:
            drawn = np.random.default_rng(self.seed).choice(len(reference), self.reference, replace=False)
            reference = reference[drawn]
        return {
            # Not round.margins, for which the clusters that were found count too.
            "WTA" if detectors.distance == "hamming" else detectors.distance: pl_module.attributor.known_margins(
                round.features
            ),
            "max softmax": max_softmax(logits).numpy(),
            "energy": energy(logits, self.temperature).numpy(),
            "k-NN": nearest_neighbours(features, torch.from_numpy(reference), self.neighbours).numpy(),
        }


def odin_scores(trainer: Trainer, pl_module: Any, loader: DataLoader) -> np.ndarray:
    """Return ODIN's score (n,) of all images of a loader, in their order; called by all ranks."""
    network, training = pl_module.network, pl_module.training
    network.eval()
    found: dict[str, float] = {}
    for batch in loader:
        images = trainer.strategy.batch_to_device(batch["image"], pl_module.device)
        with trainer.precision_plugin.forward_context():
            scores = odin(lambda some: network.logits(network(some)).float(), images)
        found |= zip(map(str, batch["index"].tolist()), scores.tolist(), strict=True)
    network.train(training)
    everything = gather_entries(found)
    return np.array([everything[str(index)] for index in range(len(everything))])


def _rows(method: str, figures: Mapping[str, float], size: int, count: int) -> list[Result]:
    return [
        Result("ood", metric, method, image_size=size, value=value, standard_error=math.nan, count=count)
        for metric, value in figures.items()
    ]
