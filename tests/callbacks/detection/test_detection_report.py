import csv

import numpy as np
import pytest
from torch.utils.data import DataLoader

from callbacks.detection.coco_evaluation import COCOEvaluation
from callbacks.detection.detection_report import PAGE, DetectionReport, unverified
from callbacks.detection.lvis_evaluation import LVISEvaluation
from callbacks.detection.report.files import CLASSES as CLASS_FILE
from callbacks.detection.report.files import FILES
from tests.callbacks.detection.cases import FakeData, FakeDetector, fuzzed, image, run_test
from tests.callbacks.detection.report.cases import some
from tests.helpers.processes import two_processes
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError


def column(folder, name):
    with (folder / "results" / CLASS_FILE).open(newline="") as file:
        return [float(row[name]) for row in csv.DictReader(file) if row[name]]


def test_the_mean_over_classes_is_the_figure_of_the_test(tmp_path, capsys):
    evaluation = COCOEvaluation()
    run_test(tmp_path, [evaluation, DetectionReport()], fuzzed(np.random.default_rng(0), masks=True, classes=5))
    for method, name in {"boxes": "AP", "masks": "mask AP"}.items():
        figure = next(row.value for row in evaluation.results if (row.metric, row.method) == ("AP", method))
        assert np.mean(column(tmp_path, name)) == pytest.approx(figure, abs=1e-5)
    assert {path.name for path in (tmp_path / "results").iterdir()} == {*FILES, "coco.csv"}
    assert f"report on the detector: {tmp_path / PAGE}" in capsys.readouterr().out


def test_data_of_lvis_are_evaluated_by_its_rules(tmp_path):
    images = fuzzed(np.random.default_rng(1), classes=5)
    evaluation = LVISEvaluation()
    run_test(tmp_path, [evaluation, DetectionReport()], images, frequencies=("r", "c", "f", "f", "c"))
    figure = next(row.value for row in evaluation.results if row.metric == "AP")
    assert np.mean(column(tmp_path, "AP")) == pytest.approx(figure, abs=1e-5)


def test_labels_that_nobody_verified():
    each = image([(0, 0, 0, 9, 9), (1, 0, 0, 9, 9)], negative=(2,), not_exhaustive=(1,))
    data = FakeData([each], frequencies=("f",) * 5)
    assert unverified(each, data).tolist() == [1, 3, 4]
    assert unverified(each, FakeData([each])) is None


def test_the_worst_mistakes_are_on_the_page(tmp_path):
    images = some(0)
    run_test(tmp_path, [DetectionReport(mistakes=3)], images)
    content = (tmp_path / PAGE).read_text()
    assert content.count("data:image/jpeg") == 9
    assert "taken for" in content


def test_no_mistakes_are_kept_if_none_are_asked_for(tmp_path):
    run_test(tmp_path, [DetectionReport(mistakes=0)], some(0))
    assert "data:image/jpeg" not in (tmp_path / PAGE).read_text()


def test_other_batches_leave_nothing(tmp_path):
    images = some(0)

    class Others(FakeData):
        def test_dataloader(self):
            return DataLoader([0], collate_fn=lambda _: {"task": "other"})

    quiet_trainer(tmp_path, [DetectionReport()]).test(FakeDetector(images), datamodule=Others(images), verbose=False)
    assert not list(tmp_path.iterdir())


def test_it_is_for_detectors(tmp_path):
    images = [image(image_id=1)]

    class Silent(FakeDetector):
        def test_step(self, batch, batch_idx):
            return None

    with pytest.raises(UserError, match="DetectionReport needs the detections"):
        quiet_trainer(tmp_path, [DetectionReport()]).test(Silent(images), datamodule=FakeData(images), verbose=False)


def in_process(rank, folder, images):
    trainer = quiet_trainer(folder, [DetectionReport(mistakes=4)], devices=2, strategy="ddp")
    trainer.test(FakeDetector(images), datamodule=FakeData(images, batch_size=1), verbose=False)


@pytest.mark.slow
def test_two_processes_report_what_one_does(tmp_path):
    images = some(2)
    run_test(tmp_path / "one", [DetectionReport(mistakes=4)], images, batch_size=1)
    two_processes(in_process, tmp_path / "two", images)
    for name in (PAGE, *(f"results/{file}" for file in FILES)):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
