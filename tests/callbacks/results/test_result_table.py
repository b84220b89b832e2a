import io
import math
from typing import Any

import pytest
from pytorch_lightning import Callback
from rich.console import Console

from callbacks.dense.complexity import Complexity
from callbacks.dense.keypoint_correspondence import KeypointCorrespondence
from callbacks.dense.object_discovery import ObjectDiscovery
from callbacks.dense.scale_invariance import ScaleInvariance
from callbacks.dense.video_propagation import VideoPropagation
from callbacks.detection.coco_evaluation import COCOEvaluation
from callbacks.detection.proposal_recall import ProposalRecall
from callbacks.generation.frechet_distance import FrechetDistance
from callbacks.generation.reconstruction_evaluation import ReconstructionEvaluation
from callbacks.results.presentation import COUNT, LOWER, SHARE, Presentation
from callbacks.results.result import Result
from callbacks.results.result_table import ResultTable, result_tables, summary
from callbacks.results.terminal import print_tables
from callbacks.source_discovery.out_of_distribution_evaluation import OutOfDistributionEvaluation
from tests.helpers.dense_case import TinyModule, object_discovery_loaders, run_test

PROTOCOLS: list[Any] = [
    COCOEvaluation,
    Complexity,
    FrechetDistance,
    KeypointCorrespondence,
    OutOfDistributionEvaluation,
    ProposalRecall,
    ReconstructionEvaluation,
    ScaleInvariance,
    VideoPropagation,
]
PRESENTATIONS = {each.protocol or each.task: each.presentation for each in PROTOCOLS}
METHODS = ["base", "bilinear", "random LiFT", "LiFT", "2x LiFT", "ViT at 2S"]


def row(metric, method, size, value, error=0.01, protocol="video"):
    return Result(protocol, metric, method, size, value, error, 10)


def tables_of(rows):
    return result_tables(rows, PRESENTATIONS)


def printed(tables, width=80):
    console = Console(file=io.StringIO(), width=width)
    print_tables(tables, console=console)
    return console.file.getvalue()


def marks(table):
    return [(cell.best, cell.close) for _, cells in table.rows for cell in cells]


def test_one_table_a_metric_with_the_best_and_the_close_marked():
    values = {("base", 32): 0.5, ("LiFT", 32): 0.6, ("ViT at 2S", 32): 0.58, ("base", 64): 0.7, ("LiFT", 64): math.nan}
    (table,) = tables_of([row("J&F", method, size, value) for (method, size), value in values.items()])
    assert table.header == ["method", "32 px", "64 px"]
    rows = dict(table.rows)
    at_32 = {method: cells[0] for method, cells in rows.items()}
    assert (at_32["LiFT"].text, at_32["LiFT"].best) == ("60.0 ± 1.0", True)
    assert at_32["ViT at 2S"].close  # 2.0 apart with an error of 1.4
    assert not at_32["ViT at 2S"].best
    assert not at_32["base"].close
    assert rows["LiFT"][1].text == rows["ViT at 2S"][1].text == "–"
    assert rows["base"][1].best


def test_metrics_become_columns_where_there_is_one_size():
    metrics = [f"CKA {a}->{b}" for a in (28, 56, 112, 224) for b in (28, 56, 112, 224) if a < b]
    tables = tables_of(
        [row(metric, method, 224, 0.5, protocol="scale_invariance") for metric in metrics for method in METHODS]
    )
    assert [len(table.header) for table in tables] == [1 + 5, 1 + 1]
    assert tables[0].title == "Scale invariance at 224 px (%)"
    assert tables[1].title in printed(tables[1:]).splitlines()  # on one line, however narrow the table


def test_fits_an_80_column_terminal():
    sizes = (32, 64, 128, 224, 448)
    rows = [
        row("PCK@0.1 (normalised)", m, s, 0.1 + n / 10, 0.012, "keypoints")
        for n, m in enumerate(METHODS)
        for s in sizes
    ]
    lines = printed(tables_of(rows)).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("±" in line and "LiFT" in line for line in lines) == 3  # no row is broken in two
    assert "60.0 ± 1.2" in next(line for line in lines if line.strip().startswith("ViT at 2S"))


def test_marks_fit_too():
    rows = [row("J&F", m, s, 0.9 + n / 1000, 0.012) for n, m in enumerate(METHODS) for s in (32, 64, 128, 224, 448)]
    lines = printed(tables_of(rows)).splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.count("~") for line in lines if "±" in line] == [5, 5, 5, 5, 5, 0]  # the last one is the best


def test_costs_are_plain_numbers_without_a_best():
    rows = [
        Result("complexity", "GMACs", method, 224, value, 0.0, 1) for method, value in [("base", 4.25), ("LiFT", 5.0)]
    ]
    (table,) = tables_of(rows)
    assert [cells[0].text for _, cells in table.rows] == ["4.250", "5.000"]
    assert not any(map(any, marks(table)))
    assert "%" not in table.title


def test_a_translation_has_one_row_of_plain_numbers():
    """As in table 5.4 of the thesis, although two protocols measure it."""
    figures = {"L1": 18.739, "PSNR": 19.42, "SSIM (gaussian 11)": 0.5784, "LPIPS": 0.0722}
    rows = [row(name, "image", 64, value, 0.1, "reconstruction") for name, value in figures.items()]
    rows.append(row("FID", "image", 64, 20.4567, math.nan, "frechet_distance"))
    (table,) = tables_of(rows)
    assert table.header == ["method", *figures, "FID"]
    assert [cell.text for cell in dict(table.rows)["image"]] == ["18.74", "19.42", "0.5784", "0.0722", "20.46"]
    assert not table.ranked
    text = printed([table])
    assert "20.46" in text
    assert max(map(len, text.splitlines())) <= 80


def test_summary():
    rows = [row("J&F", "base", 32, 0.5), row("J&F", "LiFT", 32, 0.6), row("J&F", "base", 64, 0.4)]
    rows += [row("J&F", "LiFT", 64, 0.2)]
    lines = summary(tables_of(rows)).splitlines()
    assert lines[2] == "Value ± standard error; bold: best, ~: within two standard errors of it."
    assert lines[4:] == [
        "## Video segmentation: J&F (%)",
        "",
        "| method |          32 px |          64 px |",
        "| ------ | -------------: | -------------: |",
        "| base   |     50.0 ± 1.0 | **40.0 ± 1.0** |",
        "| LiFT   | **60.0 ± 1.0** |     20.0 ± 1.0 |",
    ]


@pytest.mark.parametrize(("metric", "best"), [("FPR95", "WTA"), ("detection error", "WTA"), ("AUROC", "energy")])
def test_the_best_is_the_lowest_where_lower_is_better(metric, best):
    rows = [row(metric, method, 64, v, math.nan, "ood") for method, v in (("WTA", 0.1), ("k-NN", 0.5), ("energy", 0.9))]
    (table,) = tables_of(rows)
    assert [method for method, cells in table.rows if cells[0].best] == [best]


def test_close_means_close_from_either_side():
    rows = [row("error", method, 8, value, 0.1, "own") for method, value in (("a", 2.0), ("b", 2.1), ("c", 9.0))]
    (table,) = result_tables(rows, {"own": Presentation("Own", LOWER)})
    assert marks(table) == [(True, True), (False, True), (False, False)]


def test_the_unit_stands_above_the_columns_where_they_differ():
    rows = [row("purity", "m", 8, 0.5, math.nan, "own"), row("clusters", "m", 8, 20, math.nan, "own")]
    (table,) = result_tables(rows, {"own": Presentation("Own", SHARE, {"clusters": COUNT})})
    assert (table.title, table.header) == ("Own at 8 px", ["method", "purity (%)", "clusters"])
    assert [cell.text for cell in table.rows[0][1]] == ["50.0", "20"]


def test_a_protocol_that_says_nothing_is_shown_as_it_is():
    (table,) = tables_of([row("error", "a", 8, 2.5, 0.1, "mine"), row("error", "b", 8, 3.5, 0.1, "mine")])
    assert table.title == "mine at 8 px"
    assert [cells[0].text for _, cells in table.rows] == ["2.5", "3.5"]
    assert not any(map(any, marks(table)))


def test_a_protocol_has_a_table_of_its_own_where_there_is_none_to_join():
    (table,) = tables_of([row("FID", "image", 64, 20.4567, math.nan, "frechet_distance")])
    assert table.title == "Fidelity to the true images at 64 px"


def test_the_title_says_which_pairs_or_videos_there_were():
    assert KeypointCorrespondence(task="warps").presentation.title == "Correspondence of warped photographs"
    assert VideoPropagation(task="dense-video").presentation.title == "Video segmentation: dense-video"
    assert VideoPropagation().presentation.title == "Video segmentation"


def test_collects_prints_and_writes_after_a_test(tmp_path, capsys):
    callbacks = [ResultTable(metrics=["CorLoc"]), ObjectDiscovery(), Complexity(image_sizes=[32])]
    run_test(tmp_path, callbacks, object_discovery_loaders(4, (32, 64)))
    out, summary = capsys.readouterr().out, (tmp_path / "results" / "summary.md").read_text()
    assert "Object discovery: CorLoc (%)" in out
    assert "GMACs" not in out
    assert "GMACs (thesis)" in summary
    assert "Object discovery: CorLoc (%)" in summary


def test_average_precision_is_one_table_in_which_neither_boxes_nor_masks_are_best():
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR@100"]
    values = {"boxes": 1.0, "masks": 0.345}
    rows = [row(name, m, 800, v, math.nan, "coco") for m, v in values.items() for name in names]
    (table,) = tables_of(rows)
    assert table.header == ["method", *names]
    assert [cells[0].text for _, cells in table.rows] == ["100.0", "34.5"]
    assert not any(map(any, marks(table)))
    lines = printed([table]).splitlines()
    assert lines[0] == "Average precision (COCO) at 800 px (%)"
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.strip()]) == 5  # title, head, rule and two rows


def test_every_callback_with_a_protocol_and_results_is_shown(tmp_path, capsys):
    class Evaluation(Callback):
        protocol, presentation = "proposals", ProposalRecall.presentation
        results = (row("recall@0.5", "boxes", 800, 0.83, 0.001, "proposals"),)

    class Other(Callback):
        results = ("no results of a protocol",)

    run_test(tmp_path, [ResultTable(), Evaluation(), Other()], object_discovery_loaders(2))
    out = capsys.readouterr().out
    assert "Recall of proposals at 800 px (%)" in out
    assert "83.0 ± 0.1" in out


def test_nothing_to_show(tmp_path, capsys):
    run_test(tmp_path, [ResultTable()], object_discovery_loaders(2))
    assert "±" not in capsys.readouterr().out
    assert not (tmp_path / "results").exists()


class Logging(TinyModule):
    def test_step(self, batch, batch_idx, dataloader_idx=0):
        self.log("test/accuracy", 0.625, batch_size=2)
        self.log("discovery/of my own", 0.375, batch_size=2)


def test_what_a_module_logs_is_not_hidden(tmp_path, capsys):
    """It was, as Lightning's own table is left out for this one."""
    run_test(tmp_path, [ResultTable(metrics=["CorLoc"])], object_discovery_loaders(2), Logging())
    out = capsys.readouterr().out
    assert ["test/accuracy", "0.625"] in [line.split() for line in out.splitlines()]
    assert "| test/accuracy       | 0.625 |" in (tmp_path / "results" / "summary.md").read_text()
    assert "| discovery/of my own | 0.375 |" in (tmp_path / "results" / "summary.md").read_text()


def test_what_a_protocol_covers_is_not_printed_twice(tmp_path, capsys):
    run_test(tmp_path, [ResultTable(metrics=["none"]), ObjectDiscovery()], object_discovery_loaders(4), Logging())
    out = capsys.readouterr().out
    assert "test/accuracy" in out
    assert "discovery/" not in out
    assert out.count("CorLoc") == 0
