"""The tables of chapter 6.1: printed numbers, what they say of the claims, and whether every cell can have a figure."""

import random

import pytest
import yaml

from callbacks import ReconstructionEvaluation
from callbacks.generation.head_evaluation import ORACLE, UNMOVED
from callbacks.generation.shot_control import ANOTHER as ANOTHERS
from callbacks.generation.shot_control import L1, NAMED, NAMED_BY_PERSON, NEARER, OWN, TO_DRIVER, TO_SOURCE
from experiments.claims import CONSTANT, Verdict
from experiments.loading import load_tables
from experiments.records import ROOT
from experiments.state import finding_of, printed_support
from metrics.keypoint_error import GROUPS
from networks.feature_networks import SMALL_NETWORK
from networks.reenacted import method_name
from tests.experiments.made_up_records import figures_for, synthetic

TABLES = {name: table for name, table in load_tables().items() if table.method == "lsr"}
GRIDS = {
    (name, scale): table.grids[scale]
    for name, table in TABLES.items()
    for scale in ("embedded", "paper")
    if scale in table.grids
}
CITED = {"X2Face": "LPIPS", "Bi-layer": "FID", "FSTH": "NMKE", "LPD": "FID", "FOMM": "LPIPS"}  # and a number it has


def test_every_table_is_there():
    assert list(TABLES) == ["table_6_1", "table_6_2", "figure_6_6", "section_6_1_1_2"]
    assert {name for name, scale in GRIDS if scale == "embedded"} == TABLES.keys()
    assert {name for name, scale in GRIDS if scale == "paper"} == TABLES.keys() - {"section_6_1_1_2"}
    assert TABLES["figure_6_6"].number == "Figure 6.6"


# Typed from the printed pages a second time: (table, row, column, number).
PRINTED = [
    ("table_6_1", "X2Face", "PSNR", 15.5),
    ("table_6_1", "X2Face", "FID", 98.58),
    ("table_6_1", "Bi-layer", "SSIM", None),
    ("table_6_1", "Bi-layer", "NMKE", 0.236),
    ("table_6_1", "FSTH", "ID-SIM", 0.836),
    ("table_6_1", "FSTH", "NMKE", 0.049),
    ("table_6_1", "LPD", "LPIPS", None),
    ("table_6_1", "LPD", "FID", 48.48),
    ("table_6_1", "FOMM", "SSIM", 0.635),
    ("table_6_1", "FOMM", "NMKE", 0.061),
    ("table_6_1", "U-Net + AdaIN", "FID", None),
    ("table_6_1", "Ours", "PSNR", 17.37),
    ("table_6_1", "Ours", "LPIPS", 0.232),
    ("table_6_1", "Ours", "NMKE, high", None),
    ("table_6_2", "Baseline", "PSNR", 17.0),
    ("table_6_2", "Baseline", "FID", 67.19),
    ("table_6_2", "+ SPADE", "SSIM", 0.575),
    ("table_6_2", "+ SPADE", "NMKE", 0.043),
    ("table_6_2", "+ learned seg. maps", "ID-SIM", 0.828),
    ("table_6_2", "+ learned seg. maps", "FID", 62.78),
    ("table_6_2", "+ latent layout (ours)", "LPIPS", 0.247),
    ("table_6_2", "+ latent layout (ours)", "FID", 54.4),
    ("table_6_2", "Upper bound", "PSNR", 18.21),
    ("table_6_2", "Upper bound", "NMKE", 0.039),
    ("figure_6_6", "FID, ours", "K = 32", None),
]


@pytest.mark.parametrize(("name", "row", "column", "number"), PRINTED)
def test_printed_number(name, row, column, number):
    assert TABLES[name].thesis_figure(row, column) == number


# (supported, of) by claim: where the printed numbers do not bear out what the text says, this says so.
SUPPORT = {
    "table_6_1": [(4, 4), None, (2, 2), None, (1, 1), *[None] * 9],
    "table_6_2": [(1, 1), (10, 10), (6, 6), (2, 2), (3, 3), (5, 6), (12, 12), (6, 6)],  # NMKE: 0.042, 0.042
    "figure_6_6": [None] * 11,
    "section_6_1_1_2": [None] * 6,
}


@pytest.mark.parametrize("name", TABLES)
def test_printed_numbers_bear_claims_out(name):
    table = TABLES[name]
    assert [printed_support(claim, table) for claim in table.claims] == SUPPORT[name]


HIGHER = {"PSNR", "SSIM", "ID-SIM"}  # better; in the other columns of both tables lower figures are


def test_rivals_without_a_run_stand_in_claims_with_the_best_of_their_numbers():
    table = TABLES["table_6_1"]
    columns = list(table.grids["paper"].columns)
    best = {}
    for column in columns[:6]:
        numbers = [table.thesis[rival][columns.index(column)] for rival in CITED]
        best[column] = (max if column in HIGHER else min)(number for number in numbers if number is not None)
    for place, better in ((0, True), (2, False)):
        for contrast in table.claims[place].contrasts["paper"]:
            ((row, column),) = contrast.keys() - {CONSTANT}
            assert row == "Ours"
            assert abs(contrast[CONSTANT]) == best[column]
            assert contrast[row, column] == (1 if (column in HIGHER) == better else -1)


@pytest.mark.parametrize("scale", ["embedded", "paper"])
def test_claims_of_better_in_all_metrics_have_every_column_and_the_right_sign(scale):
    columns = list(GRIDS["table_6_2", scale].columns)
    columns = [column for column in columns if column != "L1"]
    for place, better, worse in (
        (2, "Upper bound", ["+ SPADE"]),
        (5, "+ latent layout (ours)", ["+ learned seg. maps"]),
        (6, "+ latent layout (ours)", ["Baseline", "+ SPADE"]),
        (7, "Upper bound", ["+ latent layout (ours)"]),
    ):
        seen = set()
        for contrast in TABLES["table_6_2"].claims[place].contrasts[scale]:
            ((other, column),) = [cell for cell in contrast if cell[0] != better]
            assert contrast[better, column] == -contrast[other, column] == (1 if column in HIGHER else -1)
            seen.add((other, column))
        assert seen == {(row, column) for row in worse for column in columns}


def content_of(run):
    """Return the files of a run, one on top of the other."""
    content = {"init_args": {}, "data": {}}
    for name in run.configs:
        file = yaml.safe_load((ROOT / name).read_text())
        content["init_args"] |= file.get("model", {}).get("init_args", {})
        content["data"] |= file.get("data", {}).get("init_args", {})
        content["callbacks"] = file.get("trainer", {}).get("callbacks", content.get("callbacks"))
        content["class"] = file["model"].get("class_path", content.get("class"))
        content["test_after_fit"] = file.get("test_after_fit", content.get("test_after_fit"))
    return content


SPATIAL = {"Baseline": "none", "+ SPADE": "landmarks", "+ learned seg. maps": "segmentation", "Upper bound": "oracle"}


@pytest.mark.parametrize("scale", ["embedded", "paper"])
def test_rows_of_the_ablation_are_one_class_with_equal_steps(scale):
    lengths = set()
    for row in GRIDS["table_6_2", scale].rows:
        run = GRIDS["table_6_2", scale].runs[row]
        content, given = content_of(run), dict(run.overrides)
        lengths.add(tuple(sorted((key, value) for key, value in given.items() if key.startswith("trainer"))))
        assert content["class"] == "lightning_modules.LSR"
        spatial = given.get("model.init_args.spatial", content["init_args"].get("spatial", "layout"))
        assert spatial == SPATIAL.get(row, "layout")
        starts = dict(run.checkpoints).get("model.init_args.layout_weights")
        weights = given.get("model.init_args.layout_weights", content["init_args"].get("layout_weights"))
        if spatial in ("layout", "segmentation"):
            assert content_of(starts)["class"] == "lightning_modules.LSRLayout"
        else:
            assert starts is None
            assert weights in (None, "null")
    assert len(lengths) == 1


@pytest.mark.parametrize(("scale", "fits"), [("embedded", 8), ("paper", 6)])
def test_runs_are_shared(scale, fits):
    """Each training takes minutes, or weeks, for each seed."""
    runs = {run for (_, at), grid in GRIDS.items() if at == scale for run in grid.runs.values()}
    assert sum(run.command == "fit" for run in runs) == fits


@pytest.mark.parametrize("key", GRIDS, ids=" ".join)
def test_size_of_a_cell_is_that_of_its_run(key):
    for cell in GRIDS[key].cells.values():
        content = content_of(cell.runs[0])
        assert cell.image_size == content["data"]["image_size"] == content["init_args"]["image_size"]
        assert content["test_after_fit"]  # else there are no figures of the test


def produced(run):
    """Return the (metric, method) that a run has a figure for, by its callbacks and options."""
    content, given = content_of(run), dict(run.overrides)
    callbacks = {each["class_path"].rpartition(".")[2]: each.get("init_args", {}) for each in content["callbacks"]}
    evaluation = content["init_args"].get("evaluation", {})
    shots = yaml.safe_load(given.get("model.init_args.evaluation.shots", str(evaluation.get("shots", [1]))))
    tuned = given.get("model.init_args.evaluation.finetune") == "true"
    methods = [method_name(count, way) for count in shots for way in ([False, True] if tuned else [False])]
    drawn = "people" in content["data"]
    spatial = given.get("model.init_args.spatial", content["init_args"].get("spatial", "layout"))
    figures = set()
    if "ReconstructionEvaluation" in callbacks:
        names = ReconstructionEvaluation(**callbacks["ReconstructionEvaluation"]).new_metric(("K = 1", 64)).names
        figures |= {(name, method) for name in names for method in methods}
    if "FrechetDistance" in callbacks:
        small = callbacks["FrechetDistance"].get("inception_weights") is None
        name = f"Frechet distance ({SMALL_NETWORK})" if small else "FID"
        figures |= {(name, method) for method in methods}
    assert "HeadEvaluation" in callbacks
    by_group = [f"{name}, {group}" for name in ("NMKE", "ID-SIM", "L1") for group in GROUPS]
    names = ["NMKE", "ID-SIM", "L1", "no face", *by_group]
    figures |= {(name, method) for name in names for method in (*methods, UNMOVED)}
    if drawn:
        figures |= {(name, ORACLE) for name in ("layout accuracy", "layout mIoU")}
        if spatial in ("layout", "segmentation"):
            layouts = ("layout accuracy", "layout mIoU", "oracle agreement")
            figures |= {(name, method) for name in layouts for method in methods}
    if "ShotControl" in callbacks:
        figures |= {(L1, OWN), (L1, ANOTHERS), (NEARER, OWN), (TO_SOURCE, ANOTHERS), (TO_DRIVER, ANOTHERS)}
        figures |= {(NAMED, OWN), (NAMED_BY_PERSON, OWN)} if drawn else set()
    return figures


def known_to_be_empty(name, scale, cell):
    """Return whether a cell is known to have no figure."""
    row, column = cell
    if name == "table_6_1":
        of_controls = ("Own is nearer", "Colours name", "But the background's")
        if row.endswith("own shots"):
            return column not in ("L1", *of_controls)
        crossed = ("To the source", "To the driver")
        if row.endswith("another's shots"):
            return column not in ("L1", *crossed)
        fidelity = ("PSNR", "SSIM", "Feature distance", "Frechet distance") if row == "Source" else ()
        return row in CITED or column in (*fidelity, *of_controls, *crossed)
    if name == "section_6_1_1_2":
        labels, of_images = ("Accuracy", "mIoU"), ("L1", "ID-SIM", "NMKE", "No face")
        if row == "Oracle":
            return column not in labels
        return column not in of_images if row == "Source" else row.startswith("Pre-") and column.endswith("distance")
    return False


@pytest.mark.parametrize("key", GRIDS, ids=" ".join)
def test_every_cell_has_a_figure_or_is_known_not_to(key):
    cells = GRIDS[key].cells
    empty = {place for place, cell in cells.items() if (cell.metric, cell.method) not in produced(cell.runs[0])}
    assert empty == {place for place in cells if known_to_be_empty(*key, place)}
    claims = (claim for claim in TABLES[key[0]].claims if key[1] in claim.contrasts)
    asked = {cell for claim in claims for contrast in claim.contrasts[key[1]] for cell in contrast}
    assert not asked & empty


def test_an_occluder_is_asked_for_as_damage_that_goes():
    """(clean - hand) at K = 32 less a quarter of that at K = 1, which is positive if the damage falls to less."""
    first = TABLES["figure_6_6"].claims[-1].contrasts["embedded"][0]
    clean, hand = "L1, ours", "L1, ours with a hand"
    assert first == {(clean, "K = 32"): 1, (clean, "K = 1"): -0.25, (hand, "K = 32"): -1, (hand, "K = 1"): 0.25}
    given = dict(GRIDS["figure_6_6", "embedded"].runs["Ours, hand"].overrides)
    clean_run = dict(GRIDS["figure_6_6", "embedded"].runs["Ours, K"].overrides)
    assert 0 < float(given.pop("data.init_args.occluded")) < 1e-4  # the first of the pictures alone
    assert clean_run.pop("model.init_args.evaluation.finetune") == "true"
    assert given == clean_run  # the same people and pictures


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
