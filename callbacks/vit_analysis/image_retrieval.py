"""Retrieval of pictures of the same thing by the class token, layer by layer."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from callbacks.results.array_store import Arrays
from callbacks.results.presentation import SHARE, Presentation
from callbacks.vit_analysis.feature_bank import (
    INTEGER,
    NAME,
    Column,
    FeatureBank,
    decoded_names,
    encoded_name,
    first_of_each,
)
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from metrics.retrieval import compute_map, medium_and_hard
from networks.vit_layers import BlockView, Layered, Observer
from visionscapes.errors import UserError

DATABASE, QUERIES, RELEVANT = "retrieval-database", "retrieval-queries", "relevant"
KINDS = ("easy", "hard", "junk")


class ImageRetrieval(LayerEvaluation):
    """Mean average precision of every block's class token by the protocol of the revisited Oxford and Paris buildings.

    Class tokens have length one, and the pictures of task "retrieval-database" are ranked by their product with each
    of "retrieval-queries"; equally similar ones keep the order of the database. Medium counts easy and hard pictures as
    positives, Hard the hard ones only, see ``metrics.retrieval``. Queries are whole pictures, not cut to their box, as
    in the official code of chapter 2. Data sets are told apart by batch["dataset"].

    Thesis 2.5.1 and 2.7.6.2.
    """

    protocol = "retrieval"
    presentation = Presentation("Image retrieval", SHARE)
    tasks = (DATABASE, QUERIES)

    @override
    def new_state(self, vit: Layered) -> FeatureBank:
        columns = {f"cls{layer}": Column((vit.dim,), torch.float32) for layer in range(vit.depth)}
        columns |= {"index": INTEGER, "dataset": NAME}
        relevant = {"dataset": NAME, "query": INTEGER, "kind": INTEGER, "position": INTEGER}
        tables = {DATABASE: columns, QUERIES: columns, RELEVANT: relevant}
        return FeatureBank(tables, partial(self.summary, depth=vit.depth))

    @override
    def observer(self, state: FeatureBank, vit: Layered, batch: Mapping[str, Any]) -> Observer:  # type: ignore[override]
        task, index, dataset = batch["task"], batch["index"], batch["dataset"]
        state.update(task, {"index": index, "dataset": encoded_name(dataset, len(index))})
        if task == QUERIES:
            for kind, name in enumerate(KINDS):
                for query, found in zip(index.tolist(), batch[name], strict=True):
                    found = torch.as_tensor(found, dtype=torch.int64).reshape(-1)
                    columns = {"query": torch.full_like(found, query), "kind": torch.full_like(found, kind)}
                    columns |= {"position": found, "dataset": encoded_name(dataset, len(found))}
                    state.update(RELEVANT, columns)

        def keep(view: BlockView) -> None:
            state.update(task, {f"cls{view.layer}": F.normalize(view.cls.float(), dim=-1)})

        return keep

    def summary(self, bank: FeatureBank, depth: int) -> dict[str, Any]:
        """Return for each data set d "<d>/medium" and "<d>/hard" (L,), and "_precision" of both (L, 3), at 1, 5, 10.

        Raises:
            UserError: queries without a database, or that ask for pictures which it does not hold.
        """
        arrays: dict[str, Any] = {}
        queries = _by_dataset(bank, QUERIES)
        if not queries:
            raise UserError(
                f"ImageRetrieval has a database but nothing to look for: evaluate the task {QUERIES} as well"
            )
        databases = _by_dataset(bank, DATABASE)
        answers = _by_dataset(bank, RELEVANT)
        for dataset, asked in queries.items():
            stored = databases.get(dataset)
            if stored is None:
                raise UserError(f"'{dataset}' has queries but no database: evaluate its task {DATABASE} as well")
            asked, stored = _unique(bank, QUERIES, asked), _unique(bank, DATABASE, stored)
            relevant = self._relevant(bank, dataset, asked, stored, answers.get(dataset, torch.empty(0).long()))
            settings = medium_and_hard(*(relevant[kind] for kind in range(len(KINDS))))
            scores = {name: [] for name in settings} | {f"{name}_precision": [] for name in settings}  # type: ignore[var-annotated]
            for layer in range(depth):
                one, other = bank.raw(QUERIES, f"cls{layer}")[asked], bank.raw(DATABASE, f"cls{layer}")[stored]
                ranking = (one @ other.T).argsort(dim=1, descending=True, stable=True).numpy()
                for name, (positives, junk) in settings.items():
                    found = compute_map(ranking, positives, junk)
                    scores[name].append(found.mean_ap)
                    scores[f"{name}_precision"].append(found.mean_precision)
            arrays |= {f"{dataset}/{name}": np.array(values, dtype=np.float32) for name, values in scores.items()}
        return arrays

    def _relevant(self, bank: FeatureBank, dataset: str, asked: Tensor, stored: Tensor, answers: Tensor) -> Any:
        """Return for each kind, for each query, the rows among ``stored`` that the annotation names."""
        known, wanted = bank.raw(DATABASE, "index")[stored], bank.raw(RELEVANT, "position")[answers]
        places = torch.searchsorted(known, wanted).clamp_max(len(known) - 1)
        if not torch.equal(known[places], wanted):
            missing = wanted[known[places] != wanted].unique().tolist()
            raise UserError(
                f"queries of '{dataset}' name {len(missing)} pictures that its database of {len(known)} does not hold, "
                f"such as number {missing[0]}: evaluate the whole database (no --trainer.limit_test_batches)"
            )
        query, kind = bank.raw(RELEVANT, "query")[answers], bank.raw(RELEVANT, "kind")[answers]
        return [
            [places[(query == one) & (kind == number)].unique().numpy() for one in bank.raw(QUERIES, "index")[asked]]
            for number in range(len(KINDS))
        ]

    @override
    def figures(self, arrays: Arrays) -> dict[str, np.ndarray]:
        endings = {"/medium": "mAP M", "/hard": "mAP H"}
        return {
            f"{key.removesuffix(ending)} {name}": arrays[key]
            for key in arrays
            for ending, name in endings.items()
            if key.endswith(ending)
        }


def _by_dataset(bank: FeatureBank, table: str) -> dict[str, Tensor]:
    """Return the rows of each data set, in the order of their names, which is the same on every process."""
    if not len(bank.raw(table, "dataset")):
        return {}
    codes, numbers = bank.raw(table, "dataset").unique(dim=0, return_inverse=True)
    return {name: (numbers == number).nonzero()[:, 0] for number, name in enumerate(decoded_names(codes))}


def _unique(bank: FeatureBank, table: str, rows: Tensor) -> Tensor:
    return rows[first_of_each(bank.raw(table, "index")[rows])]
