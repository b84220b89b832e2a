"""The tables of chapter 5: printed numbers, what they say of the claims, and whether every cell can have a figure."""

import dataclasses

import pytest
import torch
import yaml

from callbacks import FrequencySpectrum, ReconstructionEvaluation
from callbacks.generation.evaluation import Metrics
from datamodules.common.label_maps import CELEBA_MASK_NAMES
from experiments.claims import CONSTANT
from experiments.loading import load_tables
from experiments.records import ROOT, Records
from experiments.runs import Runner
from experiments.state import printed_support
from metrics.power_spectrum import PowerSpectrum
from networks.feature_networks import SMALL_NETWORK

TABLES = {name: table for name, table in load_tables().items() if table.method == "grit"}
GRIDS = {
    (name, scale): table.grids[scale]
    for name, table in TABLES.items()
    for scale in ("embedded", "paper")
    if scale in table.grids
}
EMBEDDED = {"table_5_4", "figure_5_8", "figure_5_10"}


def test_every_table_is_there():
    assert list(TABLES) == [*(f"table_5_{number}" for number in range(1, 6)), "figure_5_8", "figure_5_10"]
    assert {name for name, scale in GRIDS if scale == "embedded"} == EMBEDDED
    assert {name for name, scale in GRIDS if scale == "paper"} == TABLES.keys()
    assert TABLES["figure_5_10"].number == "Figure 5.10"


# Typed from the printed pages a second time: (table, row, column, number).
PRINTED = [
    ("table_5_1", "Pix2PixHD", "FID", 45.97),
    ("table_5_1", "SPADE", "SSIM", 0.485),
    ("table_5_1", "DINO", "PSNR", 12.13),
    ("table_5_1", "MoNCE", "L1", 64.26),
    ("table_5_1", "MoNCE", "LPIPS", 0.38),
    ("table_5_1", "Ours", "L1", 18.34),
    ("table_5_2", "Pix2PixHD", "SSIM", 0.7),
    ("table_5_2", "SPADE", "FID", 75.49),
    ("table_5_2", "Ours", "LPIPS", 0.18),
    ("table_5_3", "Pix2PixHD", "LPIPS", 0.354),
    ("table_5_3", "SPADE", "PSNR", 15.53),
    ("table_5_3", "Ours", "FID", 16.91),
    ("table_5_4", "U-Net", "L1", 21.68),
    ("table_5_4", "+ spatial noise", "SSIM", 0.52),
    ("table_5_4", "+ spatial noise", "FID", 21.41),
    ("table_5_4", "Reconstruction alone", "FID", None),
    ("table_5_5", "L1", "PSNR", 19.85),
    ("table_5_5", "VGG", "L1", 22.44),
    ("table_5_5", "VGG", "FID", 18.89),
    ("figure_5_8", "GRIT", "Hair", None),
]


@pytest.mark.parametrize(("name", "row", "column", "number"), PRINTED)
def test_printed_number(name, row, column, number):
    assert TABLES[name].thesis_figure(row, column) == number


def test_numbers_of_the_full_method():
    ours = TABLES["table_5_1"].thesis["Ours"]
    assert TABLES["table_5_4"].thesis["+ GAN residuals (ours)"] == ours
    assert TABLES["table_5_5"].thesis["L1"] != ours  # of the same method, and yet other numbers
    note = TABLES["table_5_5"].grids["paper"].note
    assert ", ".join(f"{number:g}" for number in ours) in note  # which says so


# (supported, of) by claim: where the printed numbers do not bear out what the text says, this says so.
SUPPORT = {
    "table_5_1": [(4, 4), (1, 1), (9, 10), (10, 10), (5, 5), (4, 4)],  # FID: 45.97 of Pix2PixHD, 34.27 of MoNCE
    "table_5_2": [(5, 5), (10, 10)],
    "table_5_3": [(10, 10), (5, 5)],
    "table_5_4": [(8, 8), (3, 3), (2, 2), (3, 4), (1, 1), None, None],  # SSIM: 0.504, 0.520, 0.531
    "table_5_5": [(3, 3), (1, 1), (1, 1)],
    "figure_5_8": [None] * 7,
    "figure_5_10": [None] * 7,
}


@pytest.mark.parametrize("name", TABLES)
def test_printed_numbers_bear_claims_out(name):
    table = TABLES[name]
    assert [printed_support(claim, table) for claim in table.claims] == SUPPORT[name]


HIGHER = {"PSNR", "SSIM"}  # better; in all other columns of the tables lower figures are


def test_baselines_without_a_run_stand_in_claims_with_the_better_of_their_numbers():
    table = TABLES["table_5_1"]
    columns = table.grids["paper"].columns
    pairs = zip(columns, table.thesis["DINO"], table.thesis["MoNCE"], strict=True)
    better = {column: (max if column in HIGHER else min)(numbers) for column, *numbers in pairs}
    for claim in (table.claims[2], table.claims[4]):
        found = {}
        for contrast in claim.contrasts["paper"]:
            ((_, column),) = contrast.keys() - {CONSTANT}
            found[column] = abs(contrast[CONSTANT])
        assert found == better


@pytest.mark.parametrize(("name", "place"), [("table_5_1", 3), ("table_5_2", 1), ("table_5_3", 0)])
def test_claim_that_ours_is_better_has_every_baseline_and_the_right_sign_in_every_column(name, place):
    seen = set()
    for contrast in TABLES[name].claims[place].contrasts["paper"]:
        ((baseline, column),) = [cell for cell in contrast if cell[0] != "Ours"]
        assert contrast["Ours", column] == -contrast[baseline, column] == (1 if column in HIGHER else -1)
        seen.add((baseline, column))
    assert seen == {(row, column) for row in ("Pix2PixHD", "SPADE") for column in TABLES[name].grids["paper"].columns}


def content_of(run):
    (config,) = run.configs
    return yaml.safe_load((ROOT / config).read_text())


@pytest.mark.parametrize(("name", "scale"), GRIDS)
def test_runs_are_what_the_rows_say(name, scale):
    for run in GRIDS[name, scale].runs.values():
        given = {key.removeprefix("model.init_args."): yaml.safe_load(text) for key, text in run.overrides}
        wanted = {
            "U-Net": {"generator.noise": False, "generator.residual": False},
            "+ spatial noise": {"generator.residual": False},
            "VGG": {"reconstruction": "vgg"},
        }
        assert given == wanted.get(run.name, {})
        content = content_of(run)
        model = run.name if run.name in ("Pix2PixHD", "SPADE") else "GRIT"
        assert content["model"]["class_path"] == f"lightning_modules.{model}"
        assert run.command == "fit"
        assert content["test_after_fit"]  # else there are no figures of the test images
        if scale == "paper":
            data = "Edges2Handbags" if name == "table_5_2" else "CelebAMaskHQ"
            assert content["data"]["class_path"] == f"datamodules.{data}"


@pytest.mark.parametrize(("scale", "count"), [("embedded", 3), ("paper", 12)])
def test_runs_are_shared(scale, count):
    assert len({run for (_, at), grid in GRIDS.items() if at == scale for run in grid.runs.values()}) == count


@pytest.mark.parametrize(("name", "scale"), GRIDS)
def test_size_of_a_cell_is_that_of_its_run(name, scale):
    for cell in GRIDS[name, scale].cells.values():
        content = content_of(cell.runs[0])
        assert cell.image_size == content["data"]["init_args"]["image_size"]
        assert cell.image_size == content["model"]["init_args"]["image_size"]


def produced(run):
    """Return the (metric, method) that a run has a figure for, by its callbacks and what it makes."""
    content = content_of(run)
    listed = content["trainer"]["callbacks"]
    callbacks = {each["class_path"].rpartition(".")[2]: each.get("init_args", {}) for each in listed}
    options = {"noise": True, "residual": True} if content["model"]["class_path"].endswith("GRIT") else {}
    options |= {key.rpartition(".")[2]: yaml.safe_load(text) for key, text in run.overrides}
    images = ["image", *(["reconstruction"] if options.get("residual") else [])]
    figures = set()
    if "ReconstructionEvaluation" in callbacks:
        names = ReconstructionEvaluation(**callbacks["ReconstructionEvaluation"]).new_metric(("image", 64)).names
        figures |= {(name, method) for name in names for method in images}
    if "FrechetDistance" in callbacks:
        small = callbacks["FrechetDistance"].get("inception_weights") is None
        name = f"Frechet distance ({SMALL_NETWORK})" if small else "FID"
        figures |= {(name, method) for method in images}
    if "NoiseVariation" in callbacks:
        figures |= {("std", method) for method in ("image", *CELEBA_MASK_NAMES)}
        if options.get("noise"):
            known = ["Pearson", "Spearman"] if content["data"]["class_path"].endswith("FaceWorld") else []
            figures |= {(metric, "image") for metric in ("std ratio", *known)}
    if "FrequencySpectrum" in callbacks:
        curves = ["truth", *images, *(["residual"] if options.get("residual") else [])]
        spectra: Metrics = {(curve, 8): PowerSpectrum(8) for curve in curves}
        for spectrum in spectra.values():
            spectrum.update(torch.rand(1, 3, 8, 8))
        figures |= {(row.metric, row.method) for row in FrequencySpectrum().rows(spectra)}
    if "GeneratorHealth" in callbacks and options.get("noise"):
        figures.add(("noise weight", "mean"))
    return figures


# Cells that stay empty: (table, scale) -> (row, column).
NOISE_ALONE = {("U-Net", "Std ratio"), ("U-Net", "Noise weight")}
TRUE_SPECTRUM = {("Truth", "Distance"), ("Truth", "Distance upper half")}
FIVE = ("L1", "PSNR", "SSIM", "LPIPS", "FID")
EMPTY = {
    ("table_5_1", "paper"): {(row, column) for row in ("DINO", "MoNCE") for column in FIVE},
    ("figure_5_8", "paper"): NOISE_ALONE,
    ("figure_5_8", "embedded"): NOISE_ALONE | {("U-Net", "Pearson")},
    ("figure_5_10", "paper"): TRUE_SPECTRUM,
    ("figure_5_10", "embedded"): TRUE_SPECTRUM,
}


@pytest.mark.parametrize(("name", "scale"), GRIDS)
def test_every_cell_has_a_figure_or_is_known_not_to(name, scale):
    cells = GRIDS[name, scale].cells
    empty = {key for key, cell in cells.items() if (cell.metric, cell.method) not in produced(cell.runs[0])}
    assert empty == EMPTY.get((name, scale), set())


@pytest.mark.parametrize(("name", "scale"), GRIDS)
def test_no_claim_is_about_an_empty_cell(name, scale):
    empty = EMPTY.get((name, scale), set())
    asked = {
        cell
        for claim in TABLES[name].claims
        for contrast in claim.contrasts.get(scale, ())
        for cell, weight in contrast.items()
        if weight
    }
    assert not asked & empty


@pytest.mark.slow
def test_small_runs_have_a_figure_for_every_cell(tmp_path):
    small = {
        "data.init_args.images": "8",
        "data.init_args.batch_size": "4",
        "data.init_args.test_images": "8",
        "data.init_args.texture_draws": "2",
        "model.init_args.generator.base": "4",
        "model.init_args.generator.most": "8",
        "trainer.max_epochs": "1",
        "trainer.check_val_every_n_epoch": "1",
        "trainer.enable_progress_bar": "false",
    }
    records = Records(tmp_path / "results")
    runner = Runner(records, "embedded", runs_dir=str(tmp_path / "runs"))

    def smaller(run):
        return dataclasses.replace(run, overrides=(*run.overrides, *small.items()))

    for name in EMBEDDED:
        grid = TABLES[name].grids["embedded"]
        for run in grid.runs.values():
            runner.ensure(smaller(run), seed=1)
        figures = {
            key: records.figure(dataclasses.replace(cell, runs=tuple(map(smaller, cell.runs))), "embedded", 1)
            for key, cell in grid.cells.items()
        }
        assert {key for key, figure in figures.items() if figure is None} == EMPTY.get((name, "embedded"), set())
