"""The tables of chapter 7: printed numbers, what they say of the claims, and what their runs are."""

import random

import pytest
import yaml

from experiments.claims import Verdict
from experiments.loading import load_tables
from experiments.records import ROOT
from experiments.runs import command_of
from experiments.state import finding_of, printed_support
from tests.experiments.made_up_records import figures_for, synthetic

TABLES = {name: table for name, table in load_tables().items() if table.method == "gen2det"}
GRIDS = {
    (name, scale): table.grids[scale]
    for name, table in TABLES.items()
    for scale in ("embedded", "paper")
    if scale in table.grids
}
EMBEDDED_ALONE = {"section_7_2_3", "section_7_2_4", "section_9_1_1"}
PAPER_ALONE = {"table_7_2", "table_7_4", "table_7_8", "table_7_9"}


def test_every_table_is_there():
    sections = ["section_7_2_3", "section_7_2_4", "section_7_5_2", "section_7_5_3", "section_9_1_1"]
    assert list(TABLES) == [*(f"table_7_{number}" for number in range(1, 13)), *sections]
    assert {name for name, scale in GRIDS if scale == "embedded"} == TABLES.keys() - PAPER_ALONE
    assert {name for name, scale in GRIDS if scale == "paper"} == TABLES.keys() - EMBEDDED_ALONE


# Typed from the printed pages a second time: (table, row, column, number).
PRINTED = [
    ("table_7_1", "Real", "Mask AP_r", 18.36),
    ("table_7_1", "Synthetic", "Box AP", 11.27),
    ("table_7_1", "Synthetic", "Mask AP", None),
    ("table_7_1", "XPaste", "Box AP_r", 21.05),
    ("table_7_1", "Ours", "Mask AP", 30.82),
    ("table_7_2", "Concatenated", "AP_m", 37.03),
    ("table_7_2", "XPaste", "AP_b", 46.6),
    ("table_7_3", "Faster R-CNN, ours", "Box AP_r", 12.78),
    ("table_7_3", "Mask R-CNN", "Mask AP", 21.83),
    ("table_7_3", "CenterNet2, ours", "Mask AP_r", 21.24),
    ("table_7_4", "Faster R-CNN", "AP_m", None),
    ("table_7_4", "Mask R-CNN, ours", "AP_b", 41.53),
    ("table_7_4", "CenterNet2", "AP_m", 39.8),
    ("table_7_5", "Vanilla, boxes", "2%", 16.07),
    ("table_7_5", "Vanilla, masks", "50%", 33.2),
    ("table_7_5", "Gen2Det, boxes", "30%", 34.7),
    ("table_7_5", "Gen2Det, masks", "1%", 13.89),
    ("table_7_6", "Synthetic", "AP", 7.67),
    ("table_7_6", "Concatenated", "AP_r", 10.91),
    ("table_7_6", "Sampling, image filter", "AP", 23.78),
    ("table_7_6", "Sampling, image filter, ignore", "AP_r", 12.77),
    ("table_7_6", "All", "AP_r", 15.43),
    ("table_7_7", "Schedule 3x", "AP", 22.85),
    ("table_7_7", "p = 0.5", "AP", 22.52),
    ("table_7_7", "Pictures 5x", "AP", 23.82),
    ("table_7_8", "Synthetic", "Box AP_f", 15.51),
    ("table_7_8", "XPaste", "Mask AP_c", 30.11),
    ("table_7_8", "Ours", "Box AP_c", 33.71),
    ("table_7_9", "Faster R-CNN, ours", "Box AP_c", 21.19),
    ("table_7_9", "Mask R-CNN", "Mask AP_f", 28.1),
    ("table_7_9", "CenterNet2, ours", "Mask AP_f", 35.59),
    ("table_7_10", "0.4", "Mask AP_r", 13.81),
    ("table_7_10", "0.5", "Box AP_c", 21.56),
    ("table_7_11", "0.1", "Box AP_r", 12.9),
    ("table_7_11", "0.5", "Mask AP_f", 28.6),
    ("table_7_12", "0.3", "Box AP_f", 30.34),
    ("table_7_12", "0.4", "Mask AP_c", 22.07),
    ("section_7_5_2", "Gen2Det", "Mean", 19.04),
    ("section_7_5_2", "Real", "Sketch", None),
    ("section_7_5_3", "Pasting", "Box AP", 22.5),
    ("section_7_5_3", "Pasting", "Mask AP", 21.45),
]


@pytest.mark.parametrize(("name", "row", "column", "number"), PRINTED)
def test_printed_number(name, row, column, number):
    assert TABLES[name].thesis_figure(row, column) == number


def test_numbers_that_stand_in_two_tables_are_equal():
    for small, large in (("table_7_1", "table_7_8"), ("table_7_3", "table_7_9")):
        for row in TABLES[small].thesis:
            for column in TABLES[small].grids["paper"].columns:
                assert TABLES[small].thesis_figure(row, column) == TABLES[large].thesis_figure(row, column)
    default = {("table_7_6", "All", "AP"), ("table_7_7", "Default", "AP"), ("table_7_3", "Mask R-CNN, ours", "Box AP")}
    default |= {("table_7_10", "0.2", "Box AP"), ("table_7_11", "0.3", "Box AP"), ("table_7_12", "0.0", "Box AP")}
    assert {TABLES[name].thesis_figure(row, column) for name, row, column in default} == {24.42}


# (supported, of) by claim: all that the text says of printed numbers they bear out.
SUPPORT = {
    "table_7_1": [(2, 2), (4, 4), (4, 4)],
    "table_7_2": [(2, 2), (2, 2), (1, 1)],
    "table_7_3": [(3, 3), (2, 2), (5, 5)],
    "table_7_4": [(5, 5)],
    "table_7_5": [(16, 16), (1, 1), (2, 2), None],
    "table_7_6": [*[(1, 1)] * 3, *[(2, 2)] * 6, (12, 12), (1, 1), None, None],
    "table_7_7": [(1, 1), (2, 2), (4, 4), (5, 5), (1, 1), (6, 6), None],
    "table_7_8": [(4, 4)],
    "table_7_9": [(12, 12), (6, 6)],
    "table_7_10": [(1, 1), (3, 3)],
    "table_7_11": [(2, 2), (2, 2)],
    "table_7_12": [(5, 5), None],
    "section_7_2_3": [None] * 5,
    "section_7_2_4": [None] * 5,
    "section_7_5_2": [(1, 1)],
    "section_7_5_3": [(2, 2)],
    "section_9_1_1": [None] * 8,
}


@pytest.mark.parametrize("name", TABLES)
def test_printed_numbers_bear_claims_out(name):
    table = TABLES[name]
    assert [printed_support(claim, table) for claim in table.claims] == SUPPORT[name]


def words_of(run, scale):
    """Return the arguments of a run, a file that another has left as its name and path."""
    words = command_of(run, scale, seed=7, left_by=lambda source, path: f"<{source.name}>/{path}")
    return dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)


@pytest.mark.parametrize("scale", ["embedded", "paper"])
def test_rows_of_table_7_6_have_the_ticks_of_the_thesis(scale):
    real, synthetic, sampling, images, instances, ignore = range(6)
    ticks = {
        "Real": {real},
        "Synthetic": {synthetic},
        "Concatenated": {real, synthetic},
        "Sampling": {real, synthetic, sampling},
        "Sampling, image filter": {real, synthetic, sampling, images},
        "Sampling, both filters": {real, synthetic, sampling, images, instances},
        "Sampling, image filter, ignore": {real, synthetic, sampling, images, ignore},
        "All": {real, synthetic, sampling, images, instances, ignore},
    }
    grid = GRIDS["table_7_6", scale]
    assert list(grid.rows) == list(ticks)
    for row, wanted in ticks.items():
        words = words_of(grid.runs[row], scale)
        file = words["data.init_args.synthetic.annotations"]
        share = words.get("data.init_args.synthetic.probability")
        found = {real} if share != "1" else set()
        found |= set() if file == "null" else {synthetic}
        if file != "null" and share is None and words.get("data.init_args.synthetic.mixing") != "concatenation":
            found.add(sampling)
        found |= {"<Good pictures>/filtered.json": {images}, "<Filtered>/filtered.json": {images, instances}}.get(
            file, set()
        )
        if file != "null" and "model.init_args.tau_i" not in words:
            found.add(ignore)
        assert found == wanted, row


def test_rows_of_section_9_1_1_choose_from_as_many_pictures():
    """200, or 100 of half of the layouts, and what is random takes the seed."""
    grid = GRIDS["section_9_1_1", "embedded"]
    for row in grid.rows:
        found = words_of(grid.runs[f"{row}, filtered"], "embedded")
        ((made, _),) = ((source, path) for name, source, path in grid.runs[row].files if name.endswith("images"))
        assert words_of(made, "embedded")["data.init_args.copies"] == "4"
        assert (words_of(made, "embedded").get("data.init_args.limit") == "25") == row.endswith("of 25 layouts")
        keep, choose = (found.get(f"model.init_args.feedback.{name}") for name in ("keep", "choose"))
        expected = {"All four": None, "Online": None}.get(row, "2" if row.endswith("2 of 4") else "1")
        assert keep == expected, row
        assert (choose == "random") == (found.get("model.init_args.feedback.seed") == "7")
        if choose in ("hardest", "easiest"):
            assert row.startswith({"hardest": "Hard", "easiest": "Easy"}[choose])
        assert found["model.init_args.feedback.losses"] == "true", "so that all share what was found out"


@pytest.mark.parametrize(("name", "scale"), GRIDS)
def test_filtered_pictures_are_those_that_were_generated_from_what_is_trained_on(name, scale):
    for run in GRIDS[name, scale].runs.values():
        files = {argument: (source, path) for argument, source, path in run.files}
        trained = files.get("data.init_args.synthetic.annotations")
        if trained is None:
            continue
        source, path = trained
        if path == "filtered.json":
            (made,) = (each for argument, each, _ in source.files if argument == "data.init_args.generated")
            assert files["data.init_args.synthetic.images"] == (made, "generated/images")
        else:
            assert path == "generated/annotations.json"
            made = source
        own, its = words_of(run, scale), words_of(made, scale)
        for option in ("scenes", "train_images_percent"):
            key = f"data.init_args.{option}"
            assert own.get(key) == its.get(f"data.init_args.real.init_args.{option}")


@pytest.mark.parametrize("name", [name for name, scale in GRIDS if scale == "embedded"])
def test_seeds_reach_every_world(name):
    for run in GRIDS[name, "embedded"].runs.values():
        words = words_of(run, "embedded")
        assert words["seed_everything"] == "7"
        world = "data.init_args.real.init_args.seed" if run.command == "predict" else "data.init_args.seed"
        assert words[world] == "7"
        if "gen2det_generate" in run.configs[0]:
            assert words["data.init_args.seed"] == "7"


@pytest.mark.parametrize("name", [name for name, scale in GRIDS if scale == "embedded" and name != "section_7_2_3"])
def test_all_rows_are_trained_for_as_many_steps_as_the_first(name):
    """132 of them; schedules of table 7.7 are what they are called."""
    default = yaml.safe_load((ROOT / "configs" / "gen2det.yaml").read_text())
    for run in GRIDS[name, "embedded"].runs.values():
        if run.command != "fit":
            continue
        words = words_of(run, "embedded")
        scenes = int(words.get("data.init_args.scenes", default["data"]["init_args"]["scenes"]))
        epochs = int(words.get("trainer.max_epochs", default["trainer"]["max_epochs"]))
        pictures = 3 * scenes if "mixing" in " ".join(words) else scenes
        steps = epochs * (pictures // 8) if epochs > 0 else 10**9
        steps = min(steps, int(words.get("trainer.max_steps", 10**9)))
        factor = 0.5 if run.name.endswith(" half") else 2 if run.name.endswith(" twice") else 1
        assert steps == 132 * factor, run.name


@pytest.mark.parametrize("verdict", [Verdict.HOLDS, Verdict.FAILS])
@pytest.mark.parametrize(("name", "scale"), GRIDS)
def test_claims_can_hold_and_fail(name, scale, verdict, tmp_path):
    noise = random.Random(0)
    for place, claim in enumerate(TABLES[name].claims):
        contrasts = claim.contrasts.get(scale)
        if contrasts is None:
            continue
        figures = figures_for(contrasts, verdict)

        def figure(row, column, seed, figures=figures):
            return figures.get((row, column), 0.0) + 0.001 * noise.random()

        records = synthetic(tmp_path / str(place), GRIDS[name, scale], scale, (0, 1, 2), figure)
        assert finding_of(claim, TABLES[name], records, scale).verdict is verdict, claim.text
