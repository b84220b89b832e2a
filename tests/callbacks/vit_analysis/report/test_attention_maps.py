import numpy as np
import pytest

from callbacks.vit_analysis.report import attention_maps as maps
from tests.callbacks.vit_analysis.report import synthetic


@pytest.fixture(scope="module")
def models():
    small = {"heads": 5, "grid": (4, 4), "examples": 3}
    made = [synthetic.model(name, name, depth=3 + i, seed=i, **small) for i, name in enumerate(["FS", "MAE"])]
    return [*made, synthetic.random_model()]


def used(figure):
    return [axes for axes in figure.axes if axes.axison]


def names(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


def test_maps_are_scaled_one_by_one():
    made = maps.scaled(np.array([[[1.0, 3.0]], [[5.0, 5.0]], [[-2.0, 0.0]]]))
    np.testing.assert_array_equal(made, [[[0, 1]], [[0, 0]], [[0, 1]]])


def test_mosaic_puts_every_map_where_its_label_is():
    values = np.arange(2 * 3).reshape(2, 3, 1, 1) * np.ones((1, 1, 3, 5))
    picture, rows, columns = maps.mosaic(values)
    for row in range(2):
        for column in range(3):
            assert picture[int(rows[row]), int(columns[column])] == values[row, column, 0, 0]
    assert np.isnan(picture).any()
    assert np.isfinite(picture).sum() == values.size


def test_every_head_has_a_row_and_a_column(models):
    for model in models[:2]:
        (panel,) = maps.every_head(model, "cls_map").axes
        assert names(panel.yaxis) == [str(layer) for layer in range(1, model.depth + 1)]
        assert names(panel.xaxis) == ["1", "2", "3", "4", "5"]
        assert (panel.get_xlabel(), panel.get_ylabel(), panel.get_title()) == ("head", "layer", model.name)
        assert not panel.collections
    assert maps.every_head(models[2], "cls_map") is None


def test_aligned_maps_have_red_mid_lines_through_every_map(models):
    (panel,) = maps.every_head(models[0], "aligned").axes
    segments = [segment for lines in panel.collections for segment in lines.get_segments()]
    assert len(segments) == 2 * 3 * 5
    assert tuple(panel.collections[0].get_color()[0][:3]) == (1, 32 / 255, 32 / 255)


def test_overview_shows_three_heads_of_every_model(models):
    panels = used(maps.overview(models))
    assert [panel.get_title() for panel in panels] == ["FS", "MAE"]
    assert all(names(panel.xaxis) == ["1", "3", "5"] for panel in panels)
    assert len(names(panels[1].yaxis)) == 4


def test_overview_of_two_heads_shows_two():
    (panel,) = used(maps.overview([synthetic.model(depth=2, heads=2, grid=(4, 4))]))
    assert names(panel.xaxis) == ["1", "2"]


def test_kinds_have_a_row_a_model_and_lines_only_for_offset_heads(models):
    panels = maps.local_heads(models).axes
    assert [panel.get_title() for panel in panels[:4]] == ["strict", "soft", "axial", "offset"]
    assert [panel.get_ylabel() for panel in panels[::4]] == ["FS", "MAE"]
    assert [len(panel.lines) for panel in panels] == [0, 0, 0, 2] * 2
    assert panels[3].get_xlabel().startswith("[2, 2]\noffset")


def test_offset_heads_say_where_there_is_none(models):
    model = models[0]
    flat = {"aligned": np.ones((3, 5, 7, 7)), "offset": np.zeros((3, 5, 2))}
    none = synthetic.AnalysedModel("flat", "DINO", 3, 5, 8, 32, (4, 4), {"attention": flat})
    first, second = used(maps.offset_heads([model, none]))
    assert len(first.lines) == 2
    assert [text.get_text() for text in second.texts] == ["none"]
    assert not second.lines


def test_example_shows_the_image_and_every_model(models):
    panels = used(maps.example(models, 1))
    assert [panel.get_title() for panel in panels] == ["image", "FS", "MAE"]
    shown = panels[0].images[0].get_array()
    np.testing.assert_allclose(shown, models[0].get("attention", "examples_image")[1].transpose(1, 2, 0) / 255)
    assert maps.example(models, 3) is None


def test_last_layer_has_a_row_an_image_and_one_for_the_mean(models):
    (panel,) = maps.last_layer(models, size=8).axes
    assert names(panel.xaxis) == ["image", "FS", "MAE"]
    picture = panel.images[0].get_array()
    assert picture.shape == (4 * 12 - 4, 3 * 12 - 4, 3)
    brightest = np.argmax(models[0].get("attention", "examples_cls")[2, -1, 0])
    cell = picture[24:32:2, 12:20:2]  # image 3, model 1, one pixel a token; yellow is the only colour with much red
    assert np.argmax(cell[..., 0]) == brightest


@pytest.mark.parametrize("draw", [maps.overview, maps.local_heads, maps.offset_heads, maps.last_layer])
def test_nothing_to_draw(draw):
    assert draw([synthetic.model(without=("attention",)), synthetic.random_model()]) is None
