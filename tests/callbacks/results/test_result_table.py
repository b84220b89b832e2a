import io
import math

from pytorch_lightning import Callback
from rich.console import Console

from callbacks.dense.complexity import Complexity
from callbacks.dense.object_discovery import ObjectDiscovery
from callbacks.results.result import Result
from callbacks.results.result_table import ResultTable, as_markdown, sheets, show
from tests.helpers.dense_case import discovery_loaders, run_test

METHODS = ["base", "bilinear", "random LiFT", "LiFT", "2x LiFT", "ViT at 2S"]


def row(metric, method, size, value, error=0.01, protocol="video"):
    return Result(protocol, metric, method, size, value, error, 10)


def printed(tables, width=80):
    console = Console(file=io.StringIO(), width=width)
    show(tables, console)
    return console.file.getvalue()


def test_one_table_a_metric_with_the_best_and_the_close_marked():
    values = {("base", 32): 0.5, ("LiFT", 32): 0.6, ("ViT at 2S", 32): 0.58, ("base", 64): 0.7, ("LiFT", 64): math.nan}
    (sheet,) = sheets([row("J&F", method, size, value) for (method, size), value in values.items()])
    assert sheet.columns == ["32 px", "64 px"]
    at_32 = {method: cells[0] for method, cells in sheet.rows.items()}
    assert (at_32["LiFT"].text, at_32["LiFT"].best) == ("60.0 ± 1.0", True)
    assert at_32["ViT at 2S"].close  # 2.0 apart with an error of 1.4
    assert not at_32["ViT at 2S"].best
    assert not at_32["base"].close
    assert sheet.rows["LiFT"][1].text == sheet.rows["ViT at 2S"][1].text == "–"
    assert sheet.rows["base"][1].best


def test_metrics_become_columns_where_there_is_one_size():
    metrics = [f"CKA {a}->{b}" for a in (28, 56, 112, 224) for b in (28, 56, 112, 224) if a < b]
    tables = sheets(
        [row(metric, method, 224, 0.5, protocol="scale_invariance") for metric in metrics for method in METHODS]
    )
    assert [len(table.columns) for table in tables] == [5, 1]
    assert tables[0].title == "Scale invariance at 224 px (%)"
    assert tables[1].title in printed(tables[1:]).splitlines()  # on one line, however narrow the table


def test_fits_an_80_column_terminal():
    sizes = (32, 64, 128, 224, 448)
    rows = [
        row("PCK@0.1 (normalised)", m, s, 0.1 + n / 10, 0.012, "keypoints")
        for n, m in enumerate(METHODS)
        for s in sizes
    ]
    lines = printed(sheets(rows)).splitlines()
    assert max(map(len, lines)) <= 80
    assert sum("±" in line and "LiFT" in line for line in lines) == 3  # no row is broken in two
    assert "60.0 ± 1.2" in next(line for line in lines if line.strip().startswith("ViT at 2S"))


def test_costs_are_plain_numbers_without_a_best():
    rows = [
        Result("complexity", "GMACs", method, 224, value, 0.0, 1) for method, value in [("base", 4.25), ("LiFT", 5.0)]
    ]
    (sheet,) = sheets(rows)
    assert [cells[0].text for cells in sheet.rows.values()] == ["4.250", "5.000"]
    assert not any(cell.best or cell.close for cells in sheet.rows.values() for cell in cells)
    assert "%" not in sheet.title


def test_a_translation_has_one_row_of_plain_numbers():
    """As in table 5.4 of the thesis, although two protocols measure it."""
    figures = {"L1": 18.739, "PSNR": 19.42, "SSIM (gaussian 11)": 0.5784, "LPIPS": 0.0722}
    rows = [row(name, "image", 64, value, 0.1, "reconstruction") for name, value in figures.items()]
    rows.append(row("FID", "image", 64, 20.4567, math.nan, "frechet_distance"))
    (sheet,) = sheets(rows)
    assert sheet.columns == [*figures, "FID"]
    assert [cell.text for cell in sheet.rows["image"]] == ["18.74", "19.42", "0.5784", "0.0722", "20.46"]
    assert not sheet.ranked
    text = printed([sheet])
    assert "20.46" in text
    assert max(map(len, text.splitlines())) <= 80


def test_markdown():
    text = as_markdown(sheets([row("J&F", "base", 32, 0.5), row("J&F", "LiFT", 32, 0.6), row("J&F", "base", 64, 0.4)]))
    assert "| method | 32 px | 64 px |" in text
    assert "| LiFT | **60.0 ± 1.0** | – |" in text
    assert "| base | 50.0 ± 1.0 | " in text


def test_collects_prints_and_writes_after_a_test(tmp_path, capsys):
    callbacks = [ResultTable(metrics=["CorLoc"]), ObjectDiscovery(), Complexity(image_sizes=[32])]
    run_test(tmp_path, callbacks, discovery_loaders(4, (32, 64)))
    out, summary = capsys.readouterr().out, (tmp_path / "results" / "summary.md").read_text()
    assert "Object discovery: CorLoc (%)" in out
    assert "GMACs" not in out
    assert "GMACs (thesis)" in summary
    assert "Object discovery: CorLoc (%)" in summary


def test_average_precision_is_one_table_in_which_neither_boxes_nor_masks_are_best():
    names = ["AP", "AP50", "AP75", "APs", "APm", "APl", "AR@100"]
    values = {"boxes": 1.0, "masks": 0.345}
    rows = [row(name, m, 800, v, math.nan, "coco") for m, v in values.items() for name in names]
    (sheet,) = sheets(rows)
    assert sheet.columns == names
    assert [cells[0].text for cells in sheet.rows.values()] == ["100.0", "34.5"]
    assert not any(cell.best or cell.close for cells in sheet.rows.values() for cell in cells)
    lines = printed([sheet]).splitlines()
    assert lines[0] == "Average precision (COCO) at 800 px (%)"
    assert max(map(len, lines)) <= 80
    assert len([line for line in lines if line.strip()]) == 5  # title, head, rule and two rows


def test_every_callback_with_a_protocol_and_results_is_shown(tmp_path, capsys):
    class Evaluation(Callback):
        protocol, results = "proposals", [row("recall@0.5", "boxes", 800, 0.83, 0.001, "proposals")]

    class Other(Callback):
        results = ("no results of a protocol",)

    run_test(tmp_path, [ResultTable(), Evaluation(), Other()], discovery_loaders(2))
    out = capsys.readouterr().out
    assert "Recall of proposals at 800 px (%)" in out
    assert "83.0 ± 0.1" in out


def test_nothing_to_show(tmp_path, capsys):
    run_test(tmp_path, [ResultTable()], discovery_loaders(2))
    assert "±" not in capsys.readouterr().out
    assert not (tmp_path / "results").exists()
