import numpy as np
import pytest
import torch

from callbacks.vit_analysis.report import similarity
from metrics.cka import MinibatchCKA
from tests.callbacks.vit_analysis.report import synthetic
from visionscapes.errors import UserError

SLOW = ("attention", "saliency", "clustering")


def vit(name, method="FS", depth=3, seed=0, shift=0):
    model = synthetic.model(name, method, depth=depth, heads=1, seed=seed, without=SLOW)
    model.arrays["similarity"]["index"] += shift
    return model


def panels(figure):
    return [axes for axes in figure.axes if axes.images and axes.get_label() != "<colorbar>"]


def picture(panel):
    return np.ma.filled(panel.images[0].get_array(), np.nan)


def naive(a, b):
    """Return CKA of two stacks of Gram matrices (b, n, n), through the metric that takes features."""
    metric = MinibatchCKA(["a", "b"])
    for pair in zip(a, b, strict=True):
        metric.update([features(gram) for gram in pair])
    return float(metric.compute()["CKA a->b"].value)


def features(gram):
    """Return features (n, n) whose Gram matrix this is."""
    values, vectors = torch.linalg.eigh(torch.tensor(gram, dtype=torch.float64))
    return vectors * values.clamp_min(0).sqrt()


def test_last_layers_of_every_pair():
    models = [vit("a", seed=1), vit("b", "MAE", depth=5, seed=2), vit("c", "DINO", seed=3), synthetic.random_model()]
    figure = similarity.between_models(models, "cls")
    (panel,) = panels(figure)
    values = picture(panel)
    assert [label.get_text() for label in panel.get_xticklabels()] == ["a", "b", "c"]
    assert not panel.yaxis_inverted()
    np.testing.assert_allclose(np.diag(values), 1)
    np.testing.assert_allclose(values, values.T)
    grams = [model.get("similarity", "cls")[:, -1] for model in models[:2]]
    assert values[0, 1] == pytest.approx(naive(*grams), abs=1e-5)
    assert [text.get_text() for text in panel.texts][:2] == ["1.00", f"{values[0, 1]:.2f}"]


def test_pairs_that_saw_other_images_are_left_blank():
    models = [vit("a"), vit("b", seed=1, shift=5), vit("c", seed=2), vit("d", seed=3, shift=5)]
    (panel,) = panels(similarity.between_models(models, "spatial"))
    values = picture(panel)
    comparable = np.array([[1, 0, 1, 0], [0, 1, 0, 1], [1, 0, 1, 0], [0, 1, 0, 1]], dtype=bool)
    np.testing.assert_array_equal(np.isfinite(values), comparable)
    assert panel.texts[1].get_text() == "–"
    assert similarity.not_comparable(models, "cls") == [("a", "b"), ("a", "d"), ("b", "c"), ("c", "d")]


def test_one_model_alone_is_compared_with_nobody():
    assert similarity.between_models([vit("a"), synthetic.random_model()], "cls") is None


def test_own_depth_has_two_rows_a_layer_and_numbers_them_from_one():
    figure = similarity.own_depth([vit("a", depth=3), vit("b", depth=5, seed=1), synthetic.random_model()])
    found = panels(figure)
    assert [panel.get_title() for panel in found] == ["a", "b"]
    assert [picture(panel).shape for panel in found] == [(6, 6), (10, 10)]
    np.testing.assert_allclose(np.diag(picture(found[1])), 1)
    assert [label.get_text() for label in found[0].get_yticklabels()] == ["1", "2", "3"]
    np.testing.assert_allclose(found[0].get_yticks(), [0.5, 2.5, 4.5])  # between the two rows of a layer


@pytest.mark.parametrize("branch", ["attention", "mlp"])
def test_skip_is_up_and_branch_across(branch):
    model = vit("a")
    figure = similarity.skip_against_branch([model], branch)
    (panel,) = panels(figure)
    skip, other = (model.get("similarity", f"{branch}_{kind}") for kind in ("skip", "branch"))
    assert picture(panel)[2, 0] == pytest.approx(naive(skip[:, 2], other[:, 0]), abs=1e-5)
    assert panel.images[0].get_cmap().name == "magma"
    assert panel.images[0].origin == "lower"
    assert figure.get_supylabel() == "skip connection of layer"


def test_two_models_of_different_depth():
    first, second = vit("a", depth=2), vit("b", depth=4, seed=1)
    figure = similarity.two_models(first, second)
    left, right = panels(figure)
    assert picture(left).shape == picture(right).shape == (2, 4)
    grams = first.get("similarity", "spatial")[:, 1], second.get("similarity", "spatial")[:, 3]
    assert picture(right)[1, 3] == pytest.approx(naive(*grams), abs=1e-5)
    assert (figure.get_supxlabel(), figure.get_supylabel()) == ("layer of b", "layer of a")


def test_two_models_that_cannot_be_compared():
    with pytest.raises(UserError, match="different images"):
        similarity.two_models(vit("a"), vit("b", shift=1))
    with pytest.raises(UserError, match="Random has no Gram matrices"):
        similarity.two_models(vit("a"), synthetic.random_model())


def test_nothing_to_draw():
    empty = [synthetic.model(without=(*SLOW, "similarity"))]
    assert similarity.own_depth(empty) is similarity.skip_against_branch(empty, "mlp") is None
    assert similarity.between_models(empty, "cls") is None
