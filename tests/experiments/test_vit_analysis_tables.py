"""The tables of chapter 2: printed numbers, what they say of the claims, and whether every cell can have a figure."""

import numpy as np
import pytest
import yaml

from callbacks.results.result import layer_results
from callbacks.vit_analysis.observations import observe
from experiments.loading import load_tables
from experiments.records import ROOT, run_id
from experiments.runs import command_of
from experiments.state import printed_support
from tests.callbacks.vit_analysis.report.synthetic import seven

TABLES = {name: table for name, table in load_tables().items() if table.method == "vit_analysis"}
EMBEDDED = [table.grids["embedded"] for table in TABLES.values()]


def test_every_table_with_results_is_there():
    assert list(TABLES) == [f"table_2_{number}" for number in (1, 3, 4, 5, 6)]  # 2.2 lists models


# Typed from the printed pages a second time: (table, row, column, number).
PRINTED = [
    ("table_2_1", "FS", "ImageNet", 83.79),
    ("table_2_1", "MoCo", "DAVIS layer", 11),
    ("table_2_1", "MAE", "ROxford5k layer", 10),
    ("table_2_1", "MAE", "SPair-71k", 22.74),
    ("table_2_1", "BEiT", "ImageNet layer", 8),
    ("table_2_1", "Random", "SPair-71k", 1.32),
    ("table_2_1", "Random", "DAVIS layer", None),
    ("table_2_4", "FS S/32", "Normal", 0.18),
    ("table_2_4", "FS L/16", "Normal layer", 19),
    ("table_2_4", "DINO S/8", "Dense", 0.73),
    ("table_2_4", "CLIP L/14", "Normal", 0.38),
    ("table_2_4", "MAE H/14", "Dense layer", 30),
    ("table_2_4", "BEiT L/16", "Dense layer", 15),
    ("table_2_5", "FS S/16", "ROxford5k H", 0.1),
    ("table_2_5", "FS S/16", "ROxford5k H layer", 11),
    ("table_2_5", "FS B/8", "PCK@0.05", 21.97),
    ("table_2_5", "FS B/8", "J layer", 7),
    ("table_2_5", "CLIP L/14", "PCK@0.01 layer", 13),
    ("table_2_5", "DINO B/8", "F", 0.77),
    ("table_2_5", "MoCo S/16", "PCK@0.01 layer", 11),
    ("table_2_5", "MAE L/16", "Top-5", 78.9),
    ("table_2_5", "MAE H/14", "Layers", 32),
    ("table_2_5", "MAE H/14", "ROxford5k H layer", 30),
    ("table_2_5", "BEiT B/16", "RParis6k H layer", 10),
    ("table_2_5", "BEiT L/16", "PCK@0.1", 37.52),
    ("table_2_5", "Random", "Top-5", 0.49),
    ("table_2_6", "Spat.", "DINO", 37.37),
    ("table_2_6", "CLS", "BEiT", 9.87),
    ("table_2_6", "CLS+BN", "CLIP", 78.63),
    ("table_2_6", "Spat.+BN", "MAE", 59.86),
]


@pytest.mark.parametrize(("name", "row", "column", "number"), PRINTED)
def test_printed_number(name, row, column, number):
    assert TABLES[name].thesis_figure(row, column) == number


def test_tables_agree_where_the_thesis_prints_a_number_twice():
    one, four, five = (TABLES[f"table_2_{number}"].thesis_figure for number in (1, 4, 5))
    columns = {"ImageNet": "Top-1", "ROxford5k": "ROxford5k M", "DAVIS": "J&F", "SPair-71k": "PCK@0.1"}
    columns |= {f"{column} layer": f"{other} layer" for column, other in columns.items()}
    different = {
        (row, column)
        for row in TABLES["table_2_1"].thesis
        for column, other in columns.items()
        if one(row, column) != five(row if row == "Random" else f"{row} B/16", other)
    }
    assert different == {("MAE", "SPair-71k")}  # 22.74 and 22.65
    for row in TABLES["table_2_4"].thesis:
        assert (four(row, "Dense"), four(row, "Dense layer")) == (five(row, "J&F"), five(row, "J&F layer"))


def test_printed_layers_exist_and_the_mean_lies_between_what_it_is_of():
    table = TABLES["table_2_5"]
    for row in table.thesis:
        j, f, mean = (table.thesis_figure(row, column) for column in ("J", "F", "J&F"))
        assert min(j, f) - 0.01 <= mean <= max(j, f) + 0.01
        depth = table.thesis_figure(row, "Layers")
        layers = [table.thesis_figure(row, column) for column in table.grids["paper"].columns if "layer" in column]
        assert all(1 <= layer <= depth for layer in layers) if depth else set(layers) == {None}


# (supported, of) by claim: where the printed numbers do not bear out what the text says, this says so.
SUPPORT = {
    "table_2_1": [(5, 5), (2, 2), (1, 1), (13, 13), (7, 8), (2, 2), (8, 8), (3, 6), (11, 11), (2, 2), (9, 12), (10, 12),
                  (12, 12), (24, 24)],
    "table_2_3": [None] * 28,
    "table_2_4": [(20, 20), (20, 20), (0, 3)],
    "table_2_5": [(38, 38), (15, 15), (4, 4), (1, 1), (36, 38), (70, 72), (58, 60), (20, 20), (17, 20), (53, 53),
                  (9, 9), (27, 32), (20, 20), (8, 8), (117, 120), (70, 96), (24, 24), (21, 21), (32, 40)],
    "table_2_6": [(20, 20), (8, 8), (4, 4), (12, 12)],
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_printed_numbers_bear_claims_out(name):
    table = TABLES[name]
    assert [printed_support(claim, table) for claim in table.claims] == SUPPORT[name]


def test_nine_observations_are_asked_of_one_architecture():
    claims = [claim for claim in TABLES["table_2_3"].claims if claim.text.startswith("Observation")]
    numbers = {int(claim.text.split()[1].rstrip(":")) for claim in claims if "embedded" in claim.contrasts}
    assert numbers - {15} == {1, 2, 3, 4, 5, 6, 7, 8, 17}
    assert all("paper" in claim.contrasts for claim in claims)


def test_one_set_of_runs_serves_all_tables():
    shown = {run_id(run, "embedded", 0) for grid in EMBEDDED for run in grid.shown_runs()}
    assert len(shown) == 1
    assert {tuple(run_id(run, "embedded", 0) for run in grid.runs.values()) for grid in EMBEDDED} == {
        tuple(run_id(run, "embedded", 0) for run in EMBEDDED[0].runs.values())
    }
    assert len(EMBEDDED[0].runs) == 7
    assert len({run for table in TABLES.values() for run in table.grids["paper"].runs.values()}) == 1


def test_analysis_looks_at_the_six_trainings_of_its_seed():
    analysis = EMBEDDED[0].runs["analysis"]
    command = command_of(analysis, "embedded", 2, lambda source, _: f"<{source.name}>")
    models = yaml.safe_load((ROOT / "configs/vit_analysis.yaml").read_text())["model"]["init_args"]["models"]
    for name in set(models) - {"Random"}:
        assert f"--model.init_args.models.{name}.weights=<{name} fit>" in command
    assert "--data.init_args.seed=2" in command
    configs = {source.name: source.configs for _, source in analysis.checkpoints}
    assert configs["FS fit"] == ("configs/supervision/supervised.yaml",)
    assert len(set(configs.values())) == 6


def figures_of(models):
    """Return (metric, method) of all rows that an analysis of ``models`` writes, by the names that callbacks use."""
    layered = {
        ("knn", "top1"): "k-NN top-1", ("knn", "top5"): "k-NN top-5",
        ("retrieval", "scenes/medium"): "scenes mAP M", ("retrieval", "scenes/hard"): "scenes mAP H",
        **{("video", key): key for key in ("J", "F", "J&F")},
        **{("dense-video", key): f"dense {key}" for key in ("J", "F", "J&F")},
        **{("keypoints", key): key for key in ("PCK@0.1", "PCK@0.05", "PCK@0.01")},
        ("probe", "cls"): "probe CLS", ("probe", "spatial"): "probe Spat.",
        ("probe", "cls_bn"): "probe CLS+BN", ("probe", "spatial_bn"): "probe Spat.+BN",
    }  # fmt: skip
    rows = {(metric, method) for metric, method, _ in observe({m.name: (m, m.arrays) for m in models})}
    for model in models:
        curves = {name: model.get(*key) for key, name in layered.items()}
        for key, name in (
            ("image_cls", "image CLS"),
            ("image_spatial", "image spatial"),
            ("object",) * 2,
            ("part",) * 2,
        ):
            curves[f"{name} purity"] = model.get("clustering", key)[:, 0]
        for name, curve in curves.items():
            if curve is not None:
                rows |= {(row.metric, model.name) for row in layer_results("", name, model.name, 64, np.asarray(curve))}
    return rows


def test_every_cell_has_a_figure_where_there_is_one():
    known = figures_of(seven())
    for name, table in TABLES.items():
        cells = table.grids["embedded"].cells
        asked = {cell for claim in table.claims for one in claim.contrasts.get("embedded", ()) for cell in one}
        missing = [
            labels
            for labels, cell in cells.items()
            if (cell.metric, cell.method) not in known and "Random" not in labels
        ]
        assert not set(missing) & asked
        # A model is not compared with itself, and random features have layers no more than attention.
        assert all(row == f"CKA {row.split()[1]} with {column}" for row, column in missing), name


def test_models_of_the_paper_grids_are_those_that_are_analysed():
    models = yaml.safe_load((ROOT / "configs/paper/vit_analysis.yaml").read_text())["model"]["init_args"]["models"]
    for table in TABLES.values():
        methods = {name for cell in table.grids["paper"].cells.values() for name in cell.method.split(" | ")}
        assert methods <= set(models)
    assert list(TABLES["table_2_5"].thesis) == list(models)
