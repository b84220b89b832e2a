import contextlib
import csv
from io import StringIO
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from rich.console import Console

from callbacks.source_discovery.attribution_robustness import AttributionRobustness, show
from callbacks.source_discovery.discovery_evaluation import DiscoveryEvaluation
from tests.callbacks.source_discovery.cases import Images, trainer_of
from visionscapes.errors import UserError

SMALL = {"jpeg": [90, 5], "resize": [0.1], "blur": [4.0]}
CONDITIONS = ["as given", "JPEG 90", "JPEG 5", "resize 0.1", "blur 4"]
# Images 0, 1, 4, 5, 8, ... are of the known sources 0 and 1. Stripes of a source are finer the larger its number.
WIDTHS = (8, 4, 2, 1)


def stripes(truth, size=32):
    bright = (np.arange(size) // WIDTHS[truth]) % 2
    return np.broadcast_to(np.where(bright, 200, 60)[:, None, None], (size, size, 3)).astype(np.float32) / 255


class Stripes:
    """A module that tells sources by the width of their stripes, and knows nothing where there are none."""

    def __init__(self):
        self.asked = 0

    def test_step(self, batch, batch_idx):
        self.asked += 1
        image = batch["image"].double().mean((1, 3))
        edges = ((image[:, 1:] - image[:, :-1]).abs() > 0.2).sum(1)
        wanted = torch.tensor([32 // width - 1 for width in WIDTHS])
        off = (edges[:, None] - wanted).abs()
        names = [
            "unknown" if least > 1 else ("one", "two", "cluster 2", "cluster 3")[kind]
            for least, kind in zip(off.amin(1).tolist(), off.argmin(1).tolist(), strict=True)
        ]
        return {"name": names, "known": off[:, :2].argmin(1), "known_margin": -off[:, :2].amin(1).double()}


def after_test(folder, images=None, module=None, rank=0, only=None, **options):
    """Return the callback after a test, its module and its trainer."""
    images = images or Images(count=16)
    images.image_size = 32
    callback, module = AttributionRobustness(**(SMALL | options)), module or Stripes()
    trainer = trainer_of(folder, images, rank)
    trainer.precision_plugin = SimpleNamespace(forward_context=contextlib.nullcontext)
    callback.on_test_start(trainer, module)
    pictures = torch.from_numpy(np.stack([stripes(truth) for truth in images.truth])).permute(0, 3, 1, 2)
    for number, index in enumerate(torch.tensor(only or range(len(pictures))).flip(0).split(5)):
        batch = {"task": "discovery", "image": pictures[index], "index": index}
        callback.on_test_batch_end(trainer, module, module.test_step(batch, number), batch, number)
    callback.on_test_epoch_end(trainer, module)
    return callback, module, trainer


def values(callback, method):
    return {row.metric: row.value for row in callback.results if row.method == method}


def test_a_row_for_every_condition_with_the_metrics_of_the_test(tmp_path):
    callback, module, trainer = after_test(tmp_path)
    assert list(dict.fromkeys(row.method for row in callback.results)) == CONDITIONS
    assert {row.protocol for row in callback.results} == {"robustness"}
    assert module.asked == 4 * len(CONDITIONS)
    plain, images = DiscoveryEvaluation(), trainer.datamodule
    plain.on_test_start(trainer, module)
    pictures = torch.from_numpy(np.stack([stripes(truth) for truth in images.truth])).permute(0, 3, 1, 2)
    batch = {"task": "discovery", "image": pictures, "index": torch.arange(16)}
    plain.on_test_batch_end(trainer, module, module.test_step(batch, 0), batch, 0)
    plain.on_test_epoch_end(trainer, module)
    assert values(callback, "as given") == values(plain, "attributed")
    assert values(callback, "as given")["ACC"] == values(callback, "as given")["OSCR"] == 1


def test_what_a_change_takes_away_shows_in_its_row(tmp_path):
    callback, *_ = after_test(tmp_path)
    assert values(callback, "JPEG 90")["named"] == 1
    for condition in ("resize 0.1", "blur 4"):  # after which the stripes of a few pixels are gone
        found = values(callback, condition)
        assert found["clustered"] < 1
        assert found["ACC"] < 1


def test_file_log_and_table(tmp_path, capsys):
    callback, _, trainer = after_test(tmp_path)
    with (tmp_path / "results" / "robustness.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["metric"], row["method"]) for row in rows] == [(row.metric, row.method) for row in callback.results]
    [(step, logged)] = trainer.loggers[0].rows
    assert step == 7
    assert logged["robustness/ACC/blur 4"] == values(callback, "blur 4")["ACC"]
    assert "Robustness of the attribution" in capsys.readouterr().out
    text = StringIO()
    show(callback.results, Console(file=text, width=80))
    lines = text.getvalue().splitlines()
    assert lines[2].split() == ["condition", "named", "in", "out", "purity", "NMI", "ACC", "AUROC", "OSCR"]
    assert [line[:11].strip() for line in lines[4:9]] == CONDITIONS
    assert lines[4].split()[2:] == ["100.0"] * 8
    after_test(tmp_path / "other", rank=1)
    assert not (tmp_path / "other").exists(), "the first rank writes"


def test_some_images_alone(tmp_path):
    callback, *_ = after_test(tmp_path, only=[0, 1, 2])  # --trainer.limit_test_batches
    assert {row.count for row in callback.results if row.metric == "ACC"} == {3}


def test_nothing_is_changed_unless_asked(tmp_path):
    callback, module, _ = after_test(tmp_path, jpeg=[], resize=[], blur=[])
    assert {row.method for row in callback.results} == {"as given"}
    assert module.asked == 4


def test_what_cannot_be_is_told(tmp_path):
    with pytest.raises(UserError, match="for each source"):
        AttributionRobustness().on_test_start(trainer_of(tmp_path, Images(with_truth=False)), None)
    batch = {"task": "discovery"}
    with pytest.raises(UserError, match="a module that attributes images, which SimpleNamespace does not"):
        AttributionRobustness().on_test_batch_end(trainer_of(tmp_path), SimpleNamespace(), None, batch, 0)
    AttributionRobustness().on_test_batch_end(trainer_of(tmp_path), None, None, {"task": "other"}, 0)
    for wrong in ({"jpeg": [0]}, {"jpeg": [101]}, {"resize": [0.0]}, {"blur": [-1.0]}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            AttributionRobustness(**wrong)
