import numpy as np
import pytest

from callbacks.vit_analysis.report import line_plots as plots
from tests.callbacks.vit_analysis.report import synthetic

FAST = {"without": ("attention", "similarity"), "heads": 2}


def used(figure):
    return [axes for axes in figure.axes if axes.axison]


def labels(panel):
    return [text.get_text() for text in panel.get_legend().get_texts()]


@pytest.fixture(scope="module")
def six():
    return [
        *(synthetic.model(name, name, seed=i, **FAST) for i, name in enumerate(synthetic.METHODS)),
        synthetic.random_model(),
    ]


@pytest.fixture(scope="module")
def variants():
    deep = [("FS S/16", "FS", 3), ("FS L/16", "FS", 6), ("MAE B/16", "MAE", 3), ("other", "SimMIM", 3)]
    return [
        *(synthetic.model(n, m, depth=d, seed=i, **FAST) for i, (n, m, d) in enumerate(deep)),
        synthetic.random_model(),
    ]


def test_one_panel_with_all_methods_against_the_layer(six):
    (panel,) = plots.metric(six, "knn", "top1", "k-NN top-1 (%)", per_cent=True).axes
    assert labels(panel) == [*synthetic.METHODS, "Random"]
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("layer", "k-NN top-1 (%)")
    assert list(panel.get_xticks()) == [1, 2, 3, 4, 5, 6]
    for line, model in zip(panel.lines, six[:6], strict=False):
        np.testing.assert_array_equal(line.get_xdata(), range(1, 7))
        np.testing.assert_allclose(line.get_ydata(), 100 * model.get("knn", "top1"))
    assert panel.lines[6].get_linestyle() == "--"
    np.testing.assert_allclose(panel.lines[6].get_ydata(), 10)
    assert len({line.get_color() for line in panel.lines}) == 7


def test_the_legend_lies_outside_the_axes(six):
    figure = plots.metric(six, "knn", "top1", "k-NN top-1 (%)")
    figure.draw_without_rendering()
    panel = figure.axes[0]
    assert not panel.get_legend().get_window_extent().overlaps(panel.get_window_extent())
    assert figure.bbox.containsx(panel.get_legend().get_window_extent().x0)
    assert figure.bbox.y0 <= panel.get_legend().get_window_extent().y0


def test_variants_have_one_panel_a_method_against_normalised_depth(variants):
    panels = used(plots.metric(variants, "keypoints", "PCK@0.1", "PCK@0.1 (%)", per_cent=True))
    assert [panel.get_title() for panel in panels] == ["FS", "MAE", "SimMIM"]
    assert labels(panels[0]) == ["FS S/16", "FS L/16", "Random"]
    assert all(panel.get_xlabel() == "layer / depth" for panel in panels)
    np.testing.assert_allclose(panels[0].lines[0].get_xdata(), [1 / 3, 2 / 3, 1])
    assert panels[0].lines[1].get_xdata()[-1] == 1
    assert panels[0].lines[0].get_color() == panels[0].lines[1].get_color() != panels[1].lines[0].get_color()


def test_variants_of_one_depth_keep_the_number_of_the_layer(variants):
    same = [synthetic.model(name, "FS", seed=i, **FAST) for i, name in enumerate("ab")]
    (panel,) = used(plots.metric(same, "knn", "top5", "top-5"))
    assert panel.get_xlabel() == "layer"
    assert labels(panel) == ["a", "b"]


def test_models_without_the_protocol_are_left_out(six):
    (panel,) = plots.metric(
        [six[0], synthetic.model("x", "MAE", without=("knn", "attention", "similarity"))], "knn", "top1", "top-1"
    ).axes
    assert labels(panel) == ["FS"]
    assert plots.metric([six[-1]], "knn", "top1", "top-1") is None
    assert plots.metric([], "knn", "top1", "top-1") is None


def test_a_curve_of_nothing_but_nan_is_missing():
    values = {"top1": np.full(2, np.nan)}
    model = synthetic.AnalysedModel("a", "FS", 2, 1, 8, 64, (8, 8), {"knn": values})
    assert plots.metric([model], "knn", "top1", "top-1") is None


@pytest.mark.parametrize(("name", "column"), [("purity", 0), ("NMI", 1), ("ARI", 2)])
def test_clustering_takes_the_right_column(six, name, column):
    (panel,) = plots.clustering(six, "part", name).axes
    np.testing.assert_allclose(panel.lines[0].get_ydata(), six[0].get("clustering", "part")[:, column])
    assert name in panel.get_ylabel()


def test_saliency_of_images_and_of_one_head(six):
    (panel,) = plots.saliency(six, "scenes", "spatial").axes
    np.testing.assert_allclose(panel.lines[0].get_ydata(), six[0].get("saliency", "scenes/spatial_best"))
    (panel,) = plots.saliency(six, "scenes", "cls", one_head=True).axes
    np.testing.assert_allclose(panel.lines[1].get_ydata(), six[1].get("saliency", "scenes/cls_head").max(1))
    assert plots.saliency(six, "COCO", "cls") is None


def test_distances_are_sorted_within_a_layer_and_averaged():
    distance = np.array([[0.3, 0.1, 0.2], [0.5, 0.6, 0.1]])
    arrays = {"attention": {"distance": distance}}
    model = synthetic.AnalysedModel("a", "FS", 2, 3, 8, 64, (8, 8), arrays)
    (panel,) = plots.head_distances([model, synthetic.random_model()]).axes
    x, y = panel.collections[0].get_offsets().T
    np.testing.assert_allclose(y, [0.1, 0.2, 0.3, 0.1, 0.5, 0.6])
    np.testing.assert_array_equal(x.round(), [1, 1, 1, 2, 2, 2])
    (panel,) = plots.mean_distance([model]).axes
    np.testing.assert_allclose(panel.lines[0].get_ydata(), [0.2, 0.4])


def test_norm_ratios_take_their_token_on_a_logarithmic_axis():
    model = synthetic.model(without=("attention",))
    (panel,) = plots.norm_ratio([model], "mlp", "spatial").axes
    np.testing.assert_allclose(panel.lines[0].get_ydata(), model.get("similarity", "ratio_mlp")[:, 1])
    assert panel.get_yscale() == "log"


def test_data_sets_in_order_of_appearance():
    first = synthetic.AnalysedModel("a", "FS", 1, 1, 8, 8, (1, 1), {"retrieval": {"b/medium": 0, "a/medium": 0}})
    second = synthetic.AnalysedModel("b", "FS", 1, 1, 8, 8, (1, 1), {"retrieval": {"a/medium": 0, "x/y/medium": 0}})
    assert plots.data_sets([first, second], "retrieval", "medium") == ["b", "a", "x/y"]
