import warnings

import pytest
import torch

from callbacks.generation.dubbing_figures import MESH, NAMES, DubbingFigures
from metrics.mouth_readout import FIGURES


def test_figures_that_no_clip_has_are_left_out_without_a_warning():
    figures = DubbingFigures()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert figures.compute() == {}


def test_openings_are_means_over_clips_by_the_way_in_which_they_were_read():
    figures = DubbingFigures()
    for value in (0.2, 0.6):
        figures.update_opening({"r driving": torch.tensor(value), "amplitude": torch.tensor(torch.nan)})
    figures.update_opening({"amplitude": torch.tensor(0.5)}, MESH)
    found = figures.compute()
    assert list(found) == ["r driving", "mesh amplitude"]
    assert float(found["r driving"].value) == pytest.approx(0.4)
    assert float(found["r driving"].standard_error) == pytest.approx(0.2)
    assert found["r driving"].count == 2


def test_every_figure_has_its_place():
    figures = DubbingFigures()
    metrics = (figures.lips, figures.landmarks, figures.movement, figures.opening)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert set(NAMES) == {name for metric in metrics for name in metric.compute()} - {"within 1 frame"}
    assert {f"{MESH}{name}" for name in FIGURES} < set(NAMES)
