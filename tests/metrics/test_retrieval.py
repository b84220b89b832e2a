import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics.retrieval import average_precision, compute_map, medium_and_hard


def positions(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def official_map(ranks: np.ndarray, gnd: list[dict[str, np.ndarray]], kappas: tuple[int, ...]) -> tuple[float, ...]:
    """The loops of the authors' evaluation, from their description: (D, Q) ranks, positives "ok", and "junk"."""
    aps, precisions = [], []
    for query, answer in enumerate(gnd):
        if not len(answer["ok"]):
            continue
        pos = [rank for rank, one in enumerate(ranks[:, query]) if one in answer["ok"]]
        junk = [rank for rank, one in enumerate(ranks[:, query]) if one in answer["junk"]]
        pos = [rank - sum(1 for other in junk if other < rank) for rank in pos]
        ap = 0.0
        for found, rank in enumerate(pos):
            before = 1.0 if rank == 0 else found / rank
            ap += (before + (found + 1) / (rank + 1)) / 2 / len(answer["ok"])
        aps.append(ap)
        last = [min(max(pos) + 1, k) for k in kappas]
        precisions.append([sum(rank + 1 <= k for rank in pos) / k for k in last])
    return (float(np.mean(aps)), *np.mean(precisions, axis=0))


def test_average_precision_by_hand() -> None:
    # Found at ranks 0 and 2: precision goes 1 -> 1, then 1/2 -> 2/3; half of the area each.
    assert average_precision(positions(0, 2), 2) == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    assert average_precision(positions(1), 1) == pytest.approx((0 + 1 / 2) / 2)
    assert average_precision(positions(), 3) == 0


def test_junk_ranked_first_does_no_harm() -> None:
    scores = compute_map(np.array([[4, 3, 0, 2, 1]]), [positions(0, 1)], [positions(3, 4)])
    # Without junk: 0 (positive), 2, 1 (positive).
    assert scores.mean_ap == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    assert scores.mean_precision == pytest.approx([1, 2 / 3, 2 / 3])


def test_queries_without_positives_do_not_count() -> None:
    ranking = np.array([[0, 1, 2], [2, 1, 0]])
    scores = compute_map(ranking, [positions(), positions(0)], [positions(1), positions()])
    assert np.isnan(scores.ap[0])
    assert scores.mean_ap == scores.ap[1] == pytest.approx((0 + 1 / 3) / 2)
    nothing = compute_map(ranking, [positions()] * 2, [positions()] * 2)
    assert np.isnan(nothing.mean_ap)
    assert np.isnan(nothing.mean_precision).all()


def test_medium_and_hard_count_different_pictures() -> None:
    # Ranked: hard 1, junk 2, easy 0, other 3.
    ranking = np.array([[1, 2, 3, 0]])
    settings = medium_and_hard([positions(0)], [positions(1)], [positions(2)])
    medium, hard = (compute_map(ranking, *settings[name]).mean_ap for name in ("medium", "hard"))
    assert hard == 1
    assert medium == pytest.approx((1 + (1 / 2 + 2 / 3) / 2) / 2)
    only_easy = medium_and_hard([positions(0)], [positions()], [positions(2)])
    assert np.isnan(compute_map(ranking, *only_easy["hard"]).mean_ap)


@given(st.integers(0, 10**6), st.integers(3, 25), st.integers(1, 4))
def test_equals_the_loops_of_the_protocol(seed: int, size: int, queries: int) -> None:
    generator = np.random.default_rng(seed)
    ranking = np.stack([generator.permutation(size) for _ in range(queries)])
    kinds = generator.integers(0, 3, (queries, size))  # 0 neither, 1 positive, 2 junk
    kinds[0, 0] = 1
    positives, junk = ([np.flatnonzero(row == kind) for row in kinds] for kind in (1, 2))
    scores = compute_map(ranking, positives, junk)
    gnd = [{"ok": ok, "junk": bad} for ok, bad in zip(positives, junk, strict=True)]
    expected = official_map(ranking.T, gnd, (1, 5, 10))
    assert (scores.mean_ap, *scores.mean_precision) == pytest.approx(expected)
