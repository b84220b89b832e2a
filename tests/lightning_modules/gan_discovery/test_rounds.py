from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import StandardScaler

from callbacks.source_discovery.stage_files import StageFiles
from lightning_modules.gan_discovery.attributing import attribute
from lightning_modules.gan_discovery.attributor import Attributor
from lightning_modules.gan_discovery.detectors import fit_detectors
from lightning_modules.gan_discovery.labels import next_label
from lightning_modules.gan_discovery.merging import merge, merge_once
from lightning_modules.gan_discovery.overclustering import over_cluster
from lightning_modules.gan_discovery.refining import refine
from lightning_modules.gan_discovery.rounds import Extracted, Round, run_round
from lightning_modules.gan_discovery.stage_results import computed_anew
from lightning_modules.gan_discovery.stages import Stages
from lightning_modules.gan_discovery.wta import WTAHash
from metrics.clustering import purity
from tests.lightning_modules.gan_discovery.cases import are_contiguous, blobs
from visionscapes.errors import UserError

KNOWN = 3
STAGES = Stages(k=8, hashes=128, members=None, scale="standard", tau=5)
Labelled = tuple[np.ndarray, np.ndarray]


def round_of(
    labelled: Labelled,
    features: np.ndarray,
    labels: np.ndarray,
    seed: int,
    folder: Path | None = None,
    told: list[str] | None = None,
    **options,
) -> tuple[Round, Attributor]:
    """Run a round, whose warnings are added to ``told``; the classifier is the nearest mean."""
    stages = replace(STAGES, **options)
    everything, targets = np.concatenate([labelled[0], features]), np.concatenate([labelled[1], labels])
    classes = range(next_label(labels, KNOWN))
    means = np.stack([everything[targets == label].mean(axis=0) for label in classes])
    logits = [-((each[:, None] - means) ** 2).sum(axis=2).astype(np.float32) for each in (labelled[0], features)]
    known, discovery = Extracted(labelled[0], logits[0], labelled[1]), Extracted(features, logits[1])
    run = SimpleNamespace(default_root_dir=folder)
    results = computed_anew if folder is None else StageFiles().stage_results(cast(Any, run), 1)

    def say(text: str | None) -> None:
        if told is not None and text is not None:
            told.append(text)

    return run_round(1, known, discovery, labels, ["a", "b", "c"], stages, seed, results, lambda _: None, say)


def one_round(
    labelled: Labelled,
    features: np.ndarray,
    labels: np.ndarray,
    seed: int,
    k: int | None = 8,
    tau: int | None = 5,
    **options,
) -> dict[str, np.ndarray]:
    """Return the labels after each stage of a round."""
    ended, _ = round_of(labelled, features, labels, seed, k=k, tau=tau, **options)
    return {stage.name: stage.labels for stage in ended.stages}


def number(labels: np.ndarray) -> int:
    return len(np.unique(labels[labels >= KNOWN]))


@given(
    sizes=st.lists(st.integers(0, 30), min_size=KNOWN, max_size=6),
    spread=st.sampled_from([0.0, 0.3, 2.0]),
    k=st.integers(2, 12),
    tau=st.integers(1, 10),
    seed=st.integers(0, 50),
)
@settings(max_examples=15, deadline=None)
def test_what_holds_after_every_stage_of_two_rounds(sizes, spread, k, tau, seed) -> None:
    """Also with known sources that have no discovery images, and with fewer images than clusters."""
    features, _ = blobs(sizes, spread=spread, seed=seed)
    labelled = blobs([20] * KNOWN, spread=spread, seed=seed + 1000)
    labels = np.full(len(features), -1)
    for _ in range(2):
        before, after = labels, one_round(labelled, features, labels, seed, k, tau)
        for name, found in after.items():
            assert are_contiguous(found, KNOWN), name
            if name != "refine":
                assert (found[before != -1] != -1).all(), name
            before = found
        attributed, clustered, merged, refined = after.values()
        assert np.array_equal(attributed[labels != -1], labels[labels != -1])
        assert not (clustered == -1).any() or (clustered == -1).sum() <= k
        assert np.array_equal(merged == -1, clustered == -1)
        assert number(clustered) >= number(merged) >= (number(clustered) + 3) // 4  # two stages of at most one half
        assert number(refined) <= number(merged)
        known = (merged >= 0) & (merged < KNOWN)
        assert np.array_equal(refined[known], merged[known])
        again = one_round(labelled, features, labels, seed, k, tau)
        assert all(np.array_equal(again[name], after[name]) for name in after)
        labels = refined


@pytest.mark.parametrize("seed", range(3))
def test_unseen_groups_are_discovered(seed: int) -> None:
    features, groups = blobs([60, 60, 60, 80, 80], dim=64, spread=0.5, seed=seed)
    labelled = blobs([60] * KNOWN, dim=64, spread=0.5, seed=seed + 1000)
    labels = np.full(len(features), -1)
    for _ in range(2):
        labels = one_round(labelled, features, labels, seed, k=8, tau=5)["refine"]
    found = labels != -1
    assert found.mean() > 0.95
    assert purity(groups[found], labels[found]) > 0.97
    assert {3, 4} <= {
        int(np.bincount(groups[labels == label]).argmax()) for label in np.unique(labels[labels >= KNOWN])
    }
    known = groups < KNOWN
    assert (labels[known] == groups[known]).mean() > 0.95


def test_a_round_is_its_stages_one_after_another(monkeypatch) -> None:
    """The whole round, once more by hand."""
    monkeypatch.setattr("lightning_modules.gan_discovery.rounds.derived_seed", lambda seed, part: part)
    features, _ = blobs([40, 40, 40, 50, 50], dim=32, spread=1.0)
    labelled = blobs([30] * KNOWN, dim=32, spread=1.0, seed=9)
    labels = np.full(len(features), -1)
    labels[160:170] = KNOWN  # a cluster of an earlier round
    ended, attributor = round_of(labelled, features, labels, seed=0)
    scaler = StandardScaler().fit(labelled[0].astype(np.float64))
    seen, known_seen = (
        scaler.transform(each.astype(np.float64)).astype(np.float32) for each in (features, labelled[0])
    )
    hashing = WTAHash.fit(known_seen, 128, seed=0)
    codes, known_codes = hashing(seen), hashing(known_seen)
    detectors = fit_detectors(
        np.concatenate([known_codes, codes[160:170]]), np.r_[labelled[1], np.full(10, KNOWN)], range(KNOWN + 1)
    )
    expected = [attribute(labels, detectors.accepted(codes), ended.logits, KNOWN)]
    expected.append(over_cluster(seen, expected[-1], 8, KNOWN, seed=2))
    expected.append(merge(features, expected[-1], KNOWN, KNOWN + 1, hashing))
    expected.append(refine(features, expected[-1], KNOWN, 0.5, 5, None, seed=3).labels)
    for stage, own in zip(ended.stages, expected, strict=True):
        assert np.array_equal(stage.labels, own), stage.name
    best = attributor.detectors.distances(codes)
    margins = attributor.detectors.thresholds - best
    np.testing.assert_allclose(ended.margins, margins.max(1))
    np.testing.assert_allclose(ended.distances, best[np.arange(len(best)), margins.argmax(1)])


def test_clusters_merge_by_hash_where_detectors_take_cosine_distances(monkeypatch) -> None:
    """Table 4.13: a hash of the labelled features, drawn for the merging alone, with the round's own seed."""
    monkeypatch.setattr("lightning_modules.gan_discovery.rounds.derived_seed", lambda seed, part: 10 * seed + part)
    features, _ = blobs([40, 40, 40, 50, 50], dim=32, spread=1.0)
    labelled = blobs([30] * KNOWN, dim=32, spread=1.0, seed=9)
    labelled[0][:, 5] = 0  # varies only in the images to discover, so that a hash of those would look at it
    labels = np.full(len(features), -1)
    options = {"inside": "cosine", "scale": "none", "merge_distance": "wta", "hashes": 24, "window": 3}
    ended, attributor = round_of(labelled, features, labels, 5, k=24, tau=1, **options)
    assert attributor.transform.hash is None
    after = {stage.name: stage.labels for stage in ended.stages}
    expected = {
        name: merge(features, after["clustering"], KNOWN, KNOWN, distance)
        for name, distance in {
            "hash": WTAHash.fit(labelled[0], 24, 3, 50),
            "hash of the images to discover": WTAHash.fit(features, 24, 3, 50),
            "cosine": "cosine",
        }.items()
    }
    assert np.array_equal(after["merge"], expected.pop("hash"))
    for name, other in expected.items():  # else the case could not tell them apart
        assert not np.array_equal(after["merge"], other), name


def test_merging_again_has_one_stage() -> None:
    features, _ = blobs([40, 40, 40, 50, 50], dim=32, spread=1.0)
    labelled = blobs([30] * KNOWN, dim=32, spread=1.0, seed=9)
    after = one_round(
        labelled, features, np.full(len(features), -1), 0, k=40, tau=1, repeats=1, merge_distance="cosine"
    )
    assert list(after) == ["attribution", "clustering", "merge", "refine", "merge 2", "refine 2"]
    assert np.array_equal(after["merge 2"], merge_once(features, after["refine"], KNOWN, "cosine"))


def test_a_stage_is_taken_from_its_file_for_the_same_inputs_only(tmp_path, monkeypatch) -> None:
    features, _ = blobs([40, 40, 40, 50, 50], dim=32, spread=0.6)
    labelled, labels = blobs([30] * KNOWN, dim=32, spread=0.6, seed=9), np.full(220, -1)
    first, _ = round_of(labelled, features, labels, 0, tmp_path)
    assert sorted(path.name for path in (tmp_path / "rounds" / "1").iterdir()) == [
        f"{name}.npz" for name in ("attribution", "clustering", "merge", "refine")
    ]
    calls = []
    monkeypatch.setattr(
        "lightning_modules.gan_discovery.rounds.over_cluster", lambda *a, **k: calls.append(1) or over_cluster(*a, **k)
    )
    again, _ = round_of(labelled, features, labels, 0, tmp_path)
    assert not calls
    assert all(np.array_equal(x.labels, y.labels) for x, y in zip(first.stages, again.stages, strict=True))
    changed = features.copy()
    changed[0, 0] += 1
    round_of(labelled, changed, labels, 0, tmp_path)
    round_of(labelled, features, labels, 0, tmp_path, k=7)
    assert len(calls) == 2
    clustering = tmp_path / "rounds" / "1" / "clustering.npz"
    clustering.write_bytes(clustering.read_bytes()[:100])
    round_of(labelled, features, labels, 0, tmp_path, k=7)
    assert len(calls) == 3


@pytest.mark.parametrize("inside", ["hamming", "cosine"])
@pytest.mark.parametrize("scale", ["none", "standard"])
def test_new_images_are_attributed_as_the_detectors_say(inside, scale) -> None:
    features, _ = blobs([60, 60, 60, 80, 80], dim=64, spread=0.5)
    labelled = blobs([60] * KNOWN, dim=64, spread=0.5, seed=1000)
    _, attributor = round_of(labelled, features, np.full(len(features), -1), 0, inside=inside, scale=scale)
    new, truth = blobs([20] * 5, dim=64, spread=0.5, seed=77)
    logits = np.zeros((100, KNOWN), np.float32)
    logits[np.arange(60), truth[:60]] = 9
    restored = Attributor.of(attributor.state())
    for found in (attributor(new, logits), restored(new, logits)):
        names = np.array(found["name"])
        inside_ = found["margin"].numpy() > 0
        assert inside_.mean() > 0.9
        assert np.array_equal(names == "unknown", ~inside_)
        assert (names[:60][inside_[:60]] == np.array(["a", "b", "c"])[truth[:60]][inside_[:60]]).all()
    far, _ = blobs([20], dim=64, centre_seed=5)
    assert set(attributor(far, logits[:20])["name"]) == {"unknown"} or inside == "cosine"


@pytest.mark.parametrize("spread", [0.5, 1.0])
@pytest.mark.parametrize("tau", [None, 10])
def test_k_follows_from_the_images_left_and_is_halved_until_half_of_them_stay(spread: float, tau: int | None) -> None:
    """Of sources that are clearly apart each cluster looks like others, which its SVM is to tell it from."""
    features, _ = blobs([60, 60, 60, 80, 80], dim=64, spread=spread)
    labelled = blobs([60] * KNOWN, dim=64, spread=spread, seed=1000)
    start = np.full(340, -1)
    after = one_round(labelled, features, start, 0, k=None, tau=tau)
    left = after["attribution"] == -1
    k = round(2 * left.sum() ** 0.5)
    while True:
        members = round(left.sum() / (2 * k)) if tau is None else tau
        given = one_round(labelled, features, start, 0, k=k, tau=members)
        if (given["refine"][left] >= KNOWN).mean() >= 0.5:
            break
        k //= 2
    assert k > 1
    assert all(np.array_equal(after[name], given[name]) for name in given)


def test_reclustering_takes_all_images_for_left() -> None:
    features, _ = blobs([60, 60, 60, 80, 80], dim=64, spread=0.5)
    labelled = blobs([60] * KNOWN, dim=64, spread=0.5, seed=1000)
    after = one_round(labelled, features, np.full(340, -1), 0, k=None, tau=None, method="reclustering")
    assert number(after["clustering"]) == round(2 * 340**0.5)


def test_small_sources_are_found_where_k_and_tau_follow_and_not_where_they_are_large() -> None:
    """Two unknown sources of 80 images: 60 clusters are smaller than tau 8, and the round says what to do."""
    features, groups = blobs([60, 60, 60, 80, 80], dim=64, spread=0.5)
    labelled = blobs([60] * KNOWN, dim=64, spread=0.5, seed=1000)
    told: list[str] = []
    ended, _ = round_of(labelled, features, np.full(340, -1), 0, told=told, k=60, tau=30)
    assert number(ended.labels) == 0
    assert ["leave k and tau to the data" in each for each in told] == [True, True]
    assert "images on average" in told[0]
    assert "ends without a single cluster" in told[1]
    told.clear()
    ended, _ = round_of(labelled, features, np.full(340, -1), 0, told=told, k=None, tau=None)
    assert told == []
    found = ended.labels >= KNOWN
    assert purity(groups[found], ended.labels[found]) > 0.97
    assert set(groups[found]) >= {3, 4}


def test_features_that_are_all_the_same_end_with_advice() -> None:
    same = np.ones((30, 8), np.float32)
    with pytest.raises(UserError, match="train it longer"):
        round_of((same, np.repeat([0, 1, 2], 10)), same, np.full(30, -1), 0)
