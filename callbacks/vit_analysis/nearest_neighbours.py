"""Classification by nearest neighbours of the class token, layer by layer."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from lightly.utils.benchmarking import knn_predict
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from callbacks.results.array_store import Arrays
from callbacks.results.presentation import SHARE, Presentation
from callbacks.vit_analysis.feature_bank import INTEGER, Column, FeatureBank, class_numbers
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from networks.vit_layers import BlockView, Layered, Observer
from visionscapes.checks import PositiveFloat, PositiveInt, check_options
from visionscapes.errors import UserError

_SIMILARITIES_AT_ONCE = 2**26  # bounds the memory: test samples in a chunk times samples in the bank


class NearestNeighbours(LayerEvaluation):
    """k-NN accuracy of the class tokens of every block: training samples vote for the class of a test sample.

    Class tokens have length one; the k most similar of task "knn-train" vote with exp(similarity / temperature) for
    each sample of "knn-test", which is right if its label has the most votes (top-1), or is among the five that have
    most (top-5). Where fewer than five classes have votes, classes without any fill up, as in the official code; fewer
    than five neighbours name k classes at most, and top-5 then counts the k first alone, as there.
    Samples with label -1 are left out; a test sample whose class the training samples do not have counts as wrong.

    One pass gathers all layers, N x L x C numbers; the official code passes once a layer.

    Args:
        k: number of neighbours.
        temperature: of the votes.
        half: keep features in half precision: 1.28 million images at 12 layers of 768 take 24 GB instead of 47.

    Raises:
        UserError: k or temperature not positive; at the end of the tasks, more neighbours than training samples.

    Thesis 2.5.1 and 2.7.6.2, with the protocol of Caron et al., "Emerging Properties in Self-Supervised Vision
    Transformers", ICCV 2021.
    """

    protocol = "knn"
    presentation = Presentation("k-NN classification", SHARE)
    tasks = ("knn-train", "knn-test")

    def __init__(self, k: PositiveInt = 20, temperature: PositiveFloat = 0.07, half: bool = False):
        check_options(NearestNeighbours, locals())
        super().__init__()
        self.k, self.temperature, self.half = k, temperature, half

    @override
    def new_state(self, vit: Layered) -> FeatureBank:
        features = Column((vit.dim,), torch.float16 if self.half else torch.float32)
        columns = {"index": INTEGER, "label": INTEGER} | {f"cls{layer}": features for layer in range(vit.depth)}
        return FeatureBank(dict.fromkeys(self.tasks, columns), partial(self.summary, depth=vit.depth))

    @override
    def observer(self, state: FeatureBank, vit: Layered, batch: Mapping[str, Any]) -> Observer:  # type: ignore[override]
        task = batch["task"]
        state.update(task, {"index": batch["index"], "label": batch["label"]})

        def keep(view: BlockView) -> None:
            state.update(task, {f"cls{view.layer}": F.normalize(view.cls.float(), dim=-1)})

        return keep

    def summary(self, bank: FeatureBank, depth: int) -> dict[str, Any]:
        """Return "top1" and "top5" (L,) and "k" ().

        Raises:
            UserError: nothing to vote or to vote for, or fewer training samples than neighbours.
        """
        train, test = (bank.labelled(task) for task in self.tasks)
        if not len(test) or len(train) < self.k:
            raise UserError(
                f"NearestNeighbours has {len(train)} labelled samples of task knn-train and {len(test)} of knn-test: "
                f"give it both tasks, and at least k={self.k} of the first, or a smaller k"
            )
        known, asked = (bank.raw(task, "label")[rows] for task, rows in zip(self.tasks, (train, test), strict=True))
        known, asked, classes = class_numbers(known, asked)
        known, asked = known.to(bank.device), asked.to(bank.device)
        accuracy = []
        for layer in range(depth):
            voters, queries = (
                bank.raw(task, f"cls{layer}")[rows].to(bank.device).float()
                for task, rows in zip(self.tasks, (train, test), strict=True)
            )
            accuracy.append(vote(voters, known, queries, asked, classes, self.k, self.temperature))
        top1, top5 = np.array(accuracy, dtype=np.float32).T
        return {"top1": top1, "top5": top5, "k": np.array(self.k)}

    @override
    def figures(self, arrays: Arrays) -> dict[str, np.ndarray]:
        return {"k-NN top-1": arrays["top1"], "k-NN top-5": arrays["top5"]}


def vote(
    voters: Tensor, known: Tensor, queries: Tensor, asked: Tensor, classes: int, k: int, temperature: float
) -> tuple[float, float]:
    """Return the share of queries whose label comes first, and among the first min(5, k), in the votes of k neighbours.

    Args:
        voters: (N, C) of length one.
        known: (N,) their labels in [0, classes).
        queries: (M, C) of length one, M >= 1.
        asked: (M,) their labels; what is not in [0, classes) cannot be right.
        classes: number of classes.
        k: number of neighbours, at most N.
        temperature: a neighbour's vote is exp(cosine / temperature).
    """
    chunk = max(1, min(256, _SIMILARITIES_AT_ONCE // len(voters)))  # never 0, however few the samples
    hits = torch.zeros(2, dtype=torch.int64)
    bank = voters.T.contiguous()
    for some, labels in zip(queries.split(chunk), asked.split(chunk), strict=True):
        ranked = knn_predict(some, bank, known, classes, knn_k=k, knn_t=temperature)[:, : min(5, k)]
        right = ranked == labels[:, None]
        hits += torch.stack([right[:, 0].sum(), right.any(1).sum()]).cpu()
    top1, top5 = (hits / len(queries)).tolist()
    return top1, top5
