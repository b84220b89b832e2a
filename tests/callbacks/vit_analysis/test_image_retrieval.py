from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from callbacks.vit_analysis.image_retrieval import DATABASE, QUERIES, ImageRetrieval
from metrics.retrieval import compute_map
from tests.callbacks.vit_analysis.feature_helpers import (
    DEPTH,
    Batches,
    Written,
    analyse,
    batches,
    noise,
    numbered,
    pictures,
    show,
    tiny_vit,
)
from visionscapes.errors import UserError


def numbers(*lists: list[int]) -> list[Tensor]:
    return [torch.tensor(own, dtype=torch.int64) for own in lists]


def tasks_of(dataset: str, database: Tensor, queries: Tensor, size: int, **relevant: list[Tensor]) -> Batches:
    """Batches of a data set from the images of its database and of its queries."""
    stored = batches(DATABASE, size, image=database, index=torch.arange(len(database)))
    asked = batches(QUERIES, size, image=queries, index=torch.arange(len(queries)), **relevant)
    return {DATABASE: [b | {"dataset": dataset} for b in stored], QUERIES: [b | {"dataset": dataset} for b in asked]}


# Angles of the pictures in degrees: the query at 0 ranks them as they stand.
ANGLES = torch.tensor([10.0, 20.0, 30.0, 40.0, 50.0])


def at_angles(angles: Tensor, scale: float = 1.0) -> Tensor:
    return scale * torch.stack([angles.deg2rad().cos(), angles.deg2rad().sin()], dim=1)


def by_hand(size: int = 2, **changes: Any) -> tuple[Written, Batches]:
    features = at_angles(torch.cat([ANGLES, torch.tensor([0.0, 60.0])]))
    features[:5] *= torch.arange(1, 6)[:, None]  # lengths must not matter
    relevant = {"easy": numbers([1], [4]), "hard": numbers([3], []), "junk": numbers([0], [])} | changes
    tasks = tasks_of("hills", numbered(torch.arange(5)), numbered(torch.arange(5, 7)), size, **relevant)
    return Written([features, -features]), tasks


def test_by_hand() -> None:
    arrays = show(ImageRetrieval(), *by_hand()).compute()
    # Query 0: junk 0 left out, then 1 (easy), 2, 3 (hard), 4. Query 1, without hard ones: 4 (easy) first.
    medium = ((1 + 1) / 2 + (1 / 2 + 2 / 3) / 2) / 2
    hard = (0 + 1 / 2) / 2  # 1 is junk as well: 2, 3, 4
    assert arrays["hills/medium"].tolist() == pytest.approx([(medium + 1) / 2, arrays["hills/medium"][1]])
    assert arrays["hills/hard"][0] == pytest.approx(hard)
    assert arrays["hills/medium_precision"].shape == (2, 3)
    assert arrays["hills/medium_precision"][0].tolist() == pytest.approx([1, (2 / 3 + 1) / 2, (2 / 3 + 1) / 2])
    # The second layer is the same, because both sides change their sign.
    assert arrays["hills/medium"][0] == arrays["hills/medium"][1]


def test_order_and_duplicates_do_not_matter() -> None:
    vit, tasks = by_hand(size=1)
    expected = show(ImageRetrieval(), vit, tasks).compute()
    again = {task: [*reversed(own), *own[:2]] for task, own in tasks.items()}
    found = show(ImageRetrieval(), vit, again).compute()
    assert all(np.array_equal(found[key], expected[key]) for key in expected)


def test_data_sets_are_told_apart() -> None:
    vit, hills = by_hand()
    _, lakes = by_hand(easy=numbers([2], [0]))
    lakes = {task: [batch | {"dataset": "lakes"} for batch in own] for task, own in lakes.items()}
    both = show(ImageRetrieval(), vit, {task: hills[task] + lakes[task] for task in hills}).compute()
    alone = [show(ImageRetrieval(), vit, tasks).compute() for tasks in (hills, lakes)]
    assert both.keys() == alone[0].keys() | alone[1].keys()
    assert all(np.array_equal(both[key], own[key]) for own in alone for key in own)
    assert alone[0]["hills/medium"][0] != alone[1]["lakes/medium"][0]
    assert list(ImageRetrieval().figures(both)) == ["hills mAP M", "hills mAP H", "lakes mAP M", "lakes mAP H"]


def test_equals_a_ranking_by_cosine() -> None:
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(40, 6, generator=generator)
    relevant = [torch.randperm(30, generator=generator)[:4] for _ in range(10)]
    nothing = numbers(*[[]] * 10)
    tasks = tasks_of(
        "x", numbered(torch.arange(30)), numbered(torch.arange(30, 40)), 8, easy=relevant, hard=nothing, junk=nothing
    )
    arrays = show(ImageRetrieval(), Written([features]), tasks).compute()
    cosine = torch.cosine_similarity(features[30:, None], features[None, :30], dim=2)
    ranking = cosine.argsort(1, descending=True).numpy()
    expected = compute_map(ranking, [r.numpy() for r in relevant], [n.numpy() for n in nothing])
    assert arrays["x/medium"][0] == pytest.approx(expected.mean_ap, rel=1e-6)
    assert np.isnan(arrays["x/hard"]).all()


def test_mistakes_are_named() -> None:
    vit, tasks = by_hand()
    with pytest.raises(UserError, match="nothing to look for"):
        show(ImageRetrieval(), vit, {DATABASE: tasks[DATABASE]}).compute()
    with pytest.raises(UserError, match="no database"):
        show(ImageRetrieval(), vit, {QUERIES: tasks[QUERIES]}).compute()
    with pytest.raises(UserError, match="database of 4 does not hold, such as number 4"):
        show(ImageRetrieval(), vit, tasks | {DATABASE: tasks[DATABASE][:2]}).compute()
    with pytest.raises(UserError, match="longer than"):
        show(ImageRetrieval(), vit, {DATABASE: [tasks[DATABASE][0] | {"dataset": "x" * 65}]})


def test_a_run_writes_arrays_and_figures(tmp_path: Path) -> None:
    database = pictures(12)
    relevant = {"easy": numbers([0], [3], []), "hard": numbers([1], [], []), "junk": numbers([2], [], [5])}
    tasks = tasks_of("scenes", database, database[[0, 3, 5]], 5, **relevant)
    callback = ImageRetrieval()
    analyse(tmp_path, [callback], tasks, {"tiny": tiny_vit(), "Random": noise()})
    for name, depth in (("tiny", DEPTH), ("Random", 1)):
        with np.load(tmp_path / "arrays" / name / "retrieval.npz") as arrays:
            assert arrays["scenes/medium"].shape == arrays["scenes/hard"].shape == (depth,)
            assert (arrays["scenes/medium_precision"][:, 0] == 1).all()  # each finds itself first
    metrics = {row.metric for row in callback.results}
    assert {"scenes mAP M", "scenes mAP M layer", "scenes mAP H"} <= metrics
    assert (tmp_path / "results" / "retrieval.csv").is_file()
