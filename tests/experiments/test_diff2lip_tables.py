"""The tables of chapter 6.2: printed numbers, what they say of the claims, and whether every cell can have a figure."""

import random

import pytest
import yaml

from callbacks import ReconstructionEvaluation
from callbacks.generation.dubbing_figures import NAMES
from experiments.claims import CONSTANT, Verdict
from experiments.loading import load_tables
from experiments.records import ROOT
from experiments.state import finding_of, printed_support
from networks.feature_networks import SMALL_NETWORK
from tests.experiments.made_up_records import figures_for, synthetic

TABLES = {name: table for name, table in load_tables().items() if table.method == "diff2lip"}
GRIDS = {
    (name, scale): table.grids[scale]
    for name, table in TABLES.items()
    for scale in ("embedded", "paper")
    if scale in table.grids
}
OF_THE_THESIS = [f"table_6_{number}" for number in (3, 4, 5, 6)]
SECTIONS = ["section_6_2_1_2", "section_6_2_1_3", "section_6_2_2"]


def test_every_table_is_there():
    assert list(TABLES) == [*OF_THE_THESIS, *SECTIONS]
    assert {name for name, scale in GRIDS if scale == "embedded"} == TABLES.keys() - {"table_6_6"}  # which asks people
    assert {name for name, scale in GRIDS if scale == "paper"} == TABLES.keys() - {"section_6_2_1_2"}  # ours


# Typed from the printed pages a second time: (table, row, column, number).
PRINTED = [
    ("table_6_3", "Reconstruction", "FID", 8.589),
    ("table_6_3", "Reconstruction", "Sync_c", 0.633),
    ("table_6_3", "+ SyncNet", "LMD", 3.123),
    ("table_6_3", "+ Perceptual", "PSNR", 18.548),
    ("table_6_3", "+ Seq. GAN", "SSIM", 0.527),
    ("table_6_3", "+ Seq. GAN", "Jitter", None),
    ("table_6_4", "Wav2Lip, VoxCeleb2", "FID", 3.26),
    ("table_6_4", "PC-AVS, VoxCeleb2", "Cross FID", 10.62),
    ("table_6_4", "PC-AVS, VoxCeleb2", "Sync_d", 7.8),
    ("table_6_4", "Diff2Lip, VoxCeleb2", "Cross Sync_d", 6.73),
    ("table_6_4", "Copying, VoxCeleb2", "FID", None),
    ("table_6_4", "Wav2Lip, LRW", "PSNR", 20.76),
    ("table_6_4", "PC-AVS, LRW", "Cross LMD", 4.09),
    ("table_6_4", "Diff2Lip, LRW", "Cross FID", 2.54),
    ("table_6_4", "Diff2Lip, LRW", "Cross Sync_c", 6.44),
    ("table_6_5", "Reconstruction", "Sync_c", 0.992),
    ("table_6_5", "+ SyncNet", "FID", 8.784),
    ("table_6_5", "+ Perceptual", "LMD", 5.009),
    ("table_6_5", "+ Seq. GAN", "FID", 4.592),
    ("table_6_6", "Wav2Lip", "Lip-sync quality", 3.84),
    ("table_6_6", "PC-AVS", "Preference", 8.33),
    ("table_6_6", "Diff2Lip", "Visual quality", 4.16),
    ("section_6_2_1_3", "sample", "FID", None),
    ("section_6_2_2", "25 steps", "FID", None),
]


@pytest.mark.parametrize(("name", "row", "column", "number"), PRINTED)
def test_printed_number(name, row, column, number):
    assert TABLES[name].thesis_figure(row, column) == number


# (supported, of) by claim: where the printed numbers do not bear out what the text says, this says so.
SUPPORT = {
    "table_6_3": [(1, 1), (1, 1), (1, 1), (2, 2), (1, 1), (1, 1), None, (3, 3)],
    "table_6_4": [(4, 4), (12, 12), (4, 4), (4, 4), (7, 8), (2, 2), (8, 8), None, None],  # Sync_d on LRW: 6.97, 6.56
    "table_6_5": [(1, 1), (1, 1), None, (1, 1), (2, 2), (1, 1), (1, 1), None, None],
    "table_6_6": [(8, 8), (1, 1)],
    "section_6_2_1_2": [None] * 7,
    "section_6_2_1_3": [None] * 4,
    "section_6_2_2": [None] * 3,
}


@pytest.mark.parametrize("name", TABLES)
def test_printed_numbers_bear_claims_out(name):
    table = TABLES[name]
    assert [printed_support(claim, table) for claim in table.claims] == SUPPORT[name]


def test_pc_avs_stands_in_claims_with_its_printed_number():
    """It has no run of its own."""
    table = TABLES["table_6_4"]
    columns = list(table.grids["paper"].columns)
    of_pc_avs = {
        data: dict(zip(columns, table.thesis[f"PC-AVS, {data}"], strict=True)) for data in ("VoxCeleb2", "LRW")
    }
    seen = 0
    for claim in table.claims:
        for contrast in claim.contrasts.get("paper", ()):
            cells = contrast.keys() - {CONSTANT}
            if CONSTANT in contrast and len(cells) == 1:
                ((row, column),) = cells
                assert abs(contrast[CONSTANT]) == of_pc_avs[row.partition(", ")[2]][column]
                seen += 1
    assert seen == 2 + 2 + 2 + 8


@pytest.mark.parametrize(("scale", "fits"), [("embedded", 12), ("paper", 8)])
def test_runs_are_shared(scale, fits):
    """Each training takes minutes, or days, for each seed."""
    grids = {name: grid for (name, at), grid in GRIDS.items() if at == scale}
    runs = {run for grid in grids.values() for run in grid.runs.values()}
    assert sum(run.command == "fit" for run in runs) == fits
    plain = [run for run in runs if run.command == "fit" and run.configs[0].endswith("/diff2lip.yaml")]
    (full,) = [run for run in plain if not run.overrides]
    halves = [run for run in plain if len(run.overrides) == 3 and ("trainer.max_epochs", "5") in run.overrides]
    assert len(halves) == (scale == "embedded")  # ablations are held against a default of as many steps
    assert all({full, *halves} & set(grid.runs.values()) for grid in grids.values())


def content_of(run):
    return yaml.safe_load((ROOT / run.configs[0]).read_text())


@pytest.mark.parametrize("key", GRIDS, ids=" ".join)
def test_size_of_a_cell_is_that_of_its_run(key):
    for cell in GRIDS[key].cells.values():
        content = content_of(cell.runs[0])
        assert cell.image_size == content["data"]["init_args"]["face_size"]
        assert cell.image_size == content["model"]["init_args"]["face_size"]
        assert content["test_after_fit"]  # else there are no figures of the test pairs


def produced(run):
    """Return the (metric, method) that a run has a figure for, by its callbacks."""
    listed = content_of(run)["trainer"]["callbacks"]
    callbacks = {each["class_path"].rpartition(".")[2]: each.get("init_args", {}) for each in listed}
    small = callbacks["FrechetDistance"].get("inception_weights") is None
    distance = f"Frechet distance ({SMALL_NETWORK})" if small else "FID"
    figures = {(distance, setting) for setting in ("reconstruction", "cross")}
    names = ReconstructionEvaluation(**callbacks["ReconstructionEvaluation"]).new_metric(("reconstruction", 64)).names
    figures |= {(name, "reconstruction") for name in names}
    assert "DubbingEvaluation" in callbacks
    figures |= {(name, setting) for name in NAMES for setting in ("reconstruction", "cross")}
    return figures - {("r own", "reconstruction")}  # there is but one mouth


@pytest.mark.parametrize("key", GRIDS, ids=" ".join)
def test_every_cell_has_a_figure_or_is_known_not_to(key):
    cells = GRIDS[key].cells
    empty = {place for place, cell in cells.items() if (cell.metric, cell.method) not in produced(cell.runs[0])}
    known = {place for place in cells if place[0].startswith("PC-AVS") or key[0] == "table_6_6"}
    assert empty == known
    if key[0] != "table_6_6":
        claims = (claim for claim in TABLES[key[0]].claims if key[1] in claim.contrasts)
        asked = {cell for claim in claims for contrast in claim.contrasts[key[1]] for cell in contrast}
        assert not asked & empty


LOSSES = {
    "Reconstruction": {"l2", "sync", "perceptual", "gan"},
    "+ SyncNet": {"perceptual", "gan"},
    "+ Perceptual": {"gan"},
    "+ Seq. GAN": set(),
}


@pytest.mark.parametrize("name", ["table_6_3", "table_6_5"])
@pytest.mark.parametrize("scale", ["embedded", "paper"])
def test_rows_of_the_ablation_leave_out_the_losses_that_the_text_says(name, scale):
    for row, left_out in LOSSES.items():
        run = GRIDS[name, scale].runs[row]
        asked = {key.rpartition("lambda_")[2]: text for key, text in run.overrides if "lambda_" in key}
        assert asked == dict.fromkeys(left_out, "0")
        pairs = {key: text for key, text in run.overrides if key.startswith("data.")}
        subset = {f"data.init_args.{setting}": "500" for setting in ("reconstruction", "cross")}  # 6.2.2.3
        assert pairs == (subset if scale == "paper" else {})
        trained = run.checkpoints[0][1] if run.checkpoints else run
        assert trained.command == "fit"


@pytest.mark.parametrize("verdict", [Verdict.HOLDS, Verdict.FAILS])
@pytest.mark.parametrize("key", GRIDS, ids=" ".join)
def test_claims_get_a_verdict_from_records(tmp_path, key, verdict):
    """Figures that are made to bear a claim out make it hold; others make it fail."""
    (name, scale), noise = key, random.Random(0)
    for place, claim in enumerate(TABLES[name].claims):
        contrasts = claim.contrasts.get(scale)
        if contrasts is None:
            continue
        figures = figures_for(contrasts, verdict)

        def figure(row, column, seed, figures=figures):
            return figures.get((row, column), 0.0) + 0.001 * noise.random()

        records = synthetic(tmp_path / str(place), GRIDS[key], scale, (0, 1, 2), figure)
        finding = finding_of(claim, TABLES[name], records, scale)
        assert len(finding.effects) == len(contrasts)
        assert finding.verdict is verdict, claim.text
