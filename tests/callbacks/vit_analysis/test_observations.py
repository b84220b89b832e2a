import numpy as np
import pytest

from callbacks.vit_analysis import observations
from callbacks.vit_analysis.report.arrays import AnalysedModel
from tests.callbacks.vit_analysis.report.synthetic import METHODS, model, random_model, seven


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def described(name="FS", depth=12, **arrays):
    return AnalysedModel(name, name, depth, 2, 16, 224, (14, 14), arrays)


def observed(*models):
    rows = observations.observe({each.name: (each, each.arrays) for each in models})
    assert len({row[:2] for row in rows}) == len(rows)
    return {(metric, method): value for metric, method, value in rows}


def layers(count, low, high):
    return (np.flatnonzero(observations._layers(count, low, high)) + 1).tolist()


def test_layers_are_those_that_the_thesis_names():
    initial, half, late = observations.INITIAL, observations.HALF, observations.LATE
    assert layers(12, 0, initial) == [1, 2]
    assert layers(12, initial, half) == [3, 4, 5, 6]
    assert layers(12, half, 1) == [7, 8, 9, 10, 11, 12]
    assert layers(6, 0, initial) == [1]
    assert layers(6, initial, half) == [2, 3]
    assert layers(6, late, 1) == [5, 6]
    assert layers(24, late, 1) == [19, 20, 21, 22, 23, 24]
    assert layers(1, 0, half) == []


def test_repeating_patterns():
    arrays = {
        "attention": {"repeating": np.array([0.0, 0.2, 0.4, 0.8])},
        "clustering": {"image_cls": np.array([[0.1, 9, 9], [0.3, 9, 9], [0.6, 9, 9], [0.5, 9, 9]])},
    }
    assert observations.repeating_patterns(arrays) == pytest.approx(
        {"repeating early": 0.1, "repeating late": 0.6, "image CLS purity gained late": 0.2}
    )


def aligned(grid, spots, sigma=0.5):
    """Return an AAAM whose attention is a Gaussian ``spots`` (x, y) tokens away; None is uniform attention."""
    side = 2 * grid - 1
    y, x = np.mgrid[:side, :side] - (grid - 1)
    maps = []
    for spot in spots:
        if spot is None:
            maps.append((grid - np.abs(x)) * (grid - np.abs(y)) / grid**2)
        else:
            maps.append(np.exp(-((x - spot[0]) ** 2 + (y - spot[1]) ** 2) / (2 * sigma**2)))
    return np.stack(maps)


def test_offset_local_heads_are_counted():
    early = aligned(8, [(0, 0), None, (-1, 0), (0, 2)])
    late = aligned(8, [(1, 1), (2, 0.4), (0.3, 0.3), None])
    found = observations.offset_local_heads({"attention": {"aligned": np.stack([early, late])}})
    assert found == {
        "local heads": 6,  # all but the two uniform ones
        "offset local heads": 4,  # (0.3, 0.3) is 0.42 tokens away
        "offset local heads late": 2,
        "diagonal offset local heads": 1,  # (2, 0.4) lies 11 degrees off the axis
    }


def test_global_head_with_an_offset_is_not_local():
    wide = aligned(8, [(3, 0)], sigma=4.0)[None]
    assert observations.offset_local_heads({"attention": {"aligned": wide}})["offset local heads"] == 0


def test_order_of_attention():
    distance = np.array([[0.6, 0.6], [0.2, 0.4], [0.1, 0.1], [0.3, 0.3], [0.5, 0.7], [0.6, np.nan]])
    assert observations.order_of_attention({"attention": {"distance": distance}}) == pytest.approx(
        {
            "attention distance initial": 0.6,
            "attention distance dip": (0.3 + 0.1) / 2,
            "attention distance late": 0.6,
            "attention distance spread late": (0.1 + 0) / 2,
        }
    )


def test_salient_objects_are_judged_by_the_best_head_over_data_sets():
    one = np.array([[0.1, 0.2], [0.5, 0.1], [0.3, 0.6], [0.4, 0.4], [0.1, 0.1], [0.2, 0.2]])
    found = observations.salient_objects({"saliency": {"a/cls_head": one, "a/images": 3, "b/cls_head": one + 0.1}})
    # Best heads of "a": 0.2 0.5 0.6 0.4 0.1 0.2; with "b" 0.05 more. 95 % of 0.65 is 0.6175, which layer 3 reaches.
    assert found == pytest.approx(
        {"saliency IoU mid": 0.6, "saliency IoU late": (0.4 + 0.1 + 0.2) / 3 + 0.05, "saliency plateau": 3 / 6}
    )


def test_plateau_is_the_first_layer_near_the_best_one():
    curve = np.array([0.2, 0.48, 0.5, 0.49])[:, None]
    assert observations.salient_objects({"saliency": {"a/cls_head": curve}})["saliency plateau"] == 2 / 4


def test_best_layers():
    arrays = {
        "knn": {"top1": np.array([0.1, 0.2, 0.3, 0.4])},
        "dense-video": {"J&F": np.array([0.1, 0.5, np.nan, 0.4])},
        "keypoints": {"PCK@0.1": np.array([0.1, 0.2, 0.3, 0.2])},
        "retrieval": {"scenes/medium": np.array([0.1, 0.2, 0.2, 0.1]), "scenes/hard": np.array([1.0, 0, 0, 0])},
    }
    assert observations.best_layers(arrays) == {
        "dense J&F layer share": 2 / 4,
        "PCK@0.1 layer share": 3 / 4,
        "best layer spread": 2 / 4,  # from 2 to 4; hard retrieval is not in table 2.1
    }


def grams(features):
    """Return Gram matrices (1, L, n, n) of features (n, C) by layer."""
    return np.stack([x @ x.T for x in features])[None]


def test_residual_connections_compare_the_two_paths_within_a_block(rng):
    x = rng.normal(size=(4, 40, 5))
    similarity = {"attention_skip": grams(x), "attention_branch": grams([x[0], 2 * x[1], *rng.normal(size=(2, 40, 5))])}
    found = observations.residual_connections({"similarity": similarity})
    assert found["skip-branch CKA early"] == pytest.approx(1)
    assert abs(found["skip-branch CKA late"]) < 0.2
    assert found["skip-branch CKA drop"] == found["skip-branch CKA early"] - found["skip-branch CKA late"]


def test_x_pattern_tells_a_decoder_from_steady_change(rng):
    a, b, c = rng.normal(size=(3, 60, 4))
    decoder = [a] * 4 + [b] * 4 + [a] * 4  # 12 layer norms of 6 layers
    steady = [a] * 4 + [b] * 4 + [np.hstack([b, c])] * 4
    found = [observations.x_pattern({"similarity": {"norms": grams(each)}})["X pattern"] for each in (decoder, steady)]
    assert found[0] == pytest.approx(1, abs=0.15)
    assert found[1] < -0.4


def tasks(knn, pck):
    return {"knn": {"top1": np.array([0.0, knn])}, "keypoints": {"PCK@0.1": np.array([pck, 0.0])}}


def test_shortfall_is_that_of_the_worst_task():
    models = [
        described("FS", **tasks(0.8, 0.2)),
        described("DINO", **tasks(0.4, 0.25)),
        described("MAE", knn={"top1": np.array([0.6])}),
        described("Random", **tasks(0.9, 0.9)),
    ]
    assert observations.shortfalls(models) == pytest.approx({"FS": 0.2, "DINO": 0.5, "MAE": 0.25})
    assert observations.shortfalls(models[:1]) == {}


def test_nobody_falls_short_who_is_best_at_everything():
    models = [described("FS", **tasks(0.8, 0.3)), described("DINO", **tasks(0.4, 0.25))]
    assert observations.shortfalls(models)["FS"] == 0


def test_main_models_compete_among_themselves():
    models = [described("FS B/16", **tasks(0.8, 0.2)), described("FS B/8", **tasks(0.8, 0.4))]
    models = [AnalysedModel(m.name, "FS", 12, 12, 16, 224, (14, 14), m.arrays) for m in models]
    models.append(described("MAE", **tasks(0.5, 0.1)))
    found = observed(*models)
    assert found["largest shortfall", "FS B/16"] == pytest.approx(0.5)
    assert found["largest shortfall among main models", "FS B/16"] == 0
    assert ("largest shortfall among main models", "FS B/8") not in found


def test_similarity_of_two_models_stands_in_both_orders(rng):
    x, y = rng.normal(size=(2, 30, 6))

    def one(name, last, index):
        both = grams([rng.normal(size=(30, 6)), last])
        return described(name, 2, similarity={"index": np.array([index]), "cls": both, "spatial": both})

    found = observed(one("DINO", x, range(30)), one("MAE", 3 * x, range(30)), one("BEiT", y, range(30)))
    assert found["CKA CLS", "DINO | MAE"] == found["CKA CLS", "MAE | DINO"] == pytest.approx(1)
    assert abs(found["CKA spatial", "DINO | BEiT"]) < 0.3
    others = observed(one("DINO", x, range(30)), one("MAE", x, range(1, 31)))
    assert not [key for key in others if key[0].startswith("CKA")]  # other images: nothing to compare


def test_everything_is_said_of_every_model():
    found = observed(*seven())
    own = {metric for metric, method in found if method == "FS"}
    assert own >= {
        "layers",
        "repeating late",
        "image CLS purity gained late",
        "offset local heads",
        "attention distance late",
        "saliency plateau",
        "dense J&F layer share",
        "best layer spread",
        "skip-branch CKA drop",
        "X pattern",
        "largest shortfall",
        "largest shortfall among main models",
    }
    for method in METHODS:
        assert {metric for metric, name in found if name == method} == own
    assert not [name for _, name in found if "Random" in name]
    assert sum(metric == "CKA CLS" for metric, _ in found) == 6 * 5
    assert all(np.isfinite(value) for value in found.values())


@pytest.mark.parametrize(
    ("protocol", "gone"),
    [
        ("attention", "repeating late"),
        ("saliency", "saliency plateau"),
        ("similarity", "X pattern"),
        ("clustering", "image CLS purity gained late"),
        ("keypoints", "PCK@0.1 layer share"),
        ("dense-video", "dense J&F layer share"),
        ("knn", None),  # the other tasks still have best layers
        ("retrieval", None),
    ],
)
def test_missing_protocol_leaves_only_its_own_numbers_out(protocol, gone):
    whole, lacking = observed(*seven()), observed(model("FS", "FS", seed=0, without=[protocol]), *seven()[1:])
    missing = set(whole) - set(lacking)
    assert set(lacking) <= set(whole)
    assert ((gone, "FS") in missing) == (gone is not None)
    assert all("FS" in name for _, name in missing)


def test_models_of_one_layer_or_without_arrays_do_not_break_anything():
    shallow = model("thin", "mine", depth=1)
    empty = AnalysedModel("empty", "mine", 12, 12, 16, 224, (14, 14), {})
    found = observed(shallow, empty, random_model())
    assert found["layers", "empty"] == 12
    assert ("repeating early", "thin") not in found
    assert observations.observe({}) == []
