import re

import numpy as np
import pytest

from callbacks.vit_analysis.report.style import file_names, layer_ticks, looks, main_models, normalised_depth
from tests.callbacks.vit_analysis.report import synthetic


def bare(name, method, depth=2):
    return synthetic.AnalysedModel(name, method, depth, 1, 8, 64, (8, 8))


def test_one_colour_a_method_whatever_else_is_shown():
    alone = looks([bare("m", "MAE")])["m"].colour
    models = [bare("a", "SimMIM"), bare("b", "DINO"), bare("m", "MAE"), bare("n", "MAE"), bare("c", "data2vec")]
    found = looks(models)
    assert found["m"].colour == found["n"].colour == alone
    assert len({found[name].colour for name in "abmc"}) == 4


def test_variants_of_one_method_differ_in_marker_and_line():
    found = looks([bare(str(i), "FS") for i in range(6)])
    assert len({(look.marker, look.line) for look in found.values()}) == 6
    assert len({look.marker for look in found.values()}) == 6


def test_random_is_grey_and_dashed():
    look = looks([bare("x", "Random")])["x"]
    assert (look.colour, look.line) == ("#999999", "--")


def test_main_models_are_one_a_method():
    models = [bare("FS S/32", "FS"), bare("FS B/16", "FS"), bare("mine", "MAE"), bare("yours", "MAE")]
    assert [model.name for model in main_models(models)] == ["FS B/16", "mine"]


def test_depth_is_normalised_to_the_last_layer():
    np.testing.assert_allclose(normalised_depth(4), [0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize(("depth", "ticks"), [(3, [1, 2, 3]), (24, [1, 4, 8, 12, 16, 20, 24])])
def test_layer_ticks(depth, ticks):
    assert layer_ticks(depth) == ticks


def test_file_names_are_plain_and_different():
    found = file_names(["MoCo S/16*", "MoCo S/16", "<b>", "***", "ViT"])
    assert len(set(found.values())) == 5
    assert all(re.fullmatch("[a-z0-9_]+", part) for part in found.values())
    assert found["MoCo S/16*"] == "moco_s_16"
