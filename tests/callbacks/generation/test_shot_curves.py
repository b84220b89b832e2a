import csv
import math

import pytest
from pytorch_lightning import Callback, LightningModule

from callbacks.generation.head_evaluation import HeadEvaluation
from callbacks.generation.shot_curves import ShotCurves, curves_of, draw, unmoved_of
from callbacks.results.result import Result
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.reenacted_subjects import PerfectReenactor, loader

FRECHET = "Frechet distance (dense-contrastive ViT)"


def row(metric, method, value, protocol="heads", error=0.1):
    return Result(protocol, metric, method, image_size=64, value=value, standard_error=error, count=5)


def rows():
    """Results in no order, with some that are of no curve."""
    found = [row("ID-SIM", "source unmoved", 0.9), row("NMKE", "source unmoved", 0.3), row("NMKE, low", "K = 1", 9)]
    for shots in (32, 4, 1, 8):
        for tuned in ("", ", fine-tuned"):
            better = math.log2(shots) * (2 if tuned else 1)
            method = f"K = {shots}{tuned}"
            found += [row("ID-SIM", method, 0.5 + 0.04 * better), row("NMKE", method, 0.1 - 0.002 * better)]
            found += [row("L1", method, 30 - better, "reconstruction"), row("L1", method, 99, "heads")]
            found += [row(FRECHET, method, 5 - 0.3 * better, "frechet_distance", math.nan)]
    return found


def test_curves_are_in_the_order_of_the_shots_and_panels_in_that_of_the_figure():
    curves = curves_of(rows())
    assert list(curves) == ["ID-SIM", "NMKE", FRECHET, "L1"]
    for both in curves.values():
        assert list(both) == [False, True]
        for tuned, points in both.items():
            assert [each.method for each in points] == [f"K = {k}{', fine-tuned' * tuned}" for k in (1, 4, 8, 32)]
    assert [each.value for each in curves["L1"][False]] == [30, 28, 27, 25]
    assert unmoved_of(rows()) == {"ID-SIM": 0.9, "NMKE": 0.3}


def test_meta_learned_is_dotted_and_fine_tuned_solid():
    panels = draw(curves_of(rows()), unmoved_of(rows())).axes
    lines = {line.get_label(): line for line in panels[1].get_lines()}
    styles = [container.lines[0].get_linestyle() for container in panels[1].containers]
    assert styles == [":", "-"]
    assert list(panels[1].containers[0].lines[0].get_xdata()) == [1, 4, 8, 32]
    assert lines["source unmoved"].get_ydata()[0] == 0.3


class Measured(Callback):
    """Has results when the test ends, whichever callback comes first."""

    protocol = "heads"

    def __init__(self):
        self.results = []

    def on_test_epoch_end(self, trainer, pl_module):
        self.results = rows()


def test_files(tmp_path):
    class Idle(LightningModule):
        def test_step(self, batch, batch_idx):
            return None

    quiet_trainer(tmp_path, [ShotCurves(), Measured()]).test(Idle(), loader([0]), verbose=False)
    with (tmp_path / "results" / "shot_curves.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 4 * 2 * 4
    (point,) = [each for each in lines if (each["metric"], each["shots"], each["fine_tuned"]) == ("NMKE", "8", "True")]
    assert float(point["value"]) == pytest.approx(0.1 - 0.012)
    assert (tmp_path / "pictures" / "shot_curves.png").is_file()


def test_what_another_callback_has_measured_is_drawn_and_nothing_else(tmp_path):
    quiet_trainer(tmp_path, [ShotCurves(), HeadEvaluation()]).test(PerfectReenactor(), loader([0]), verbose=False)
    with (tmp_path / "results" / "shot_curves.csv").open() as file:
        assert {each["metric"] for each in csv.DictReader(file)} == {"ID-SIM", "NMKE", "L1"}
    quiet_trainer(tmp_path / "none", [ShotCurves()]).test(PerfectReenactor(), loader([0]), verbose=False)
    assert not (tmp_path / "none" / "pictures").exists()
