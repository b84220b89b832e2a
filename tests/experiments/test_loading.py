"""The tables of the thesis as they are committed, and what a wrong file is answered with."""

import pytest
import yaml

from experiments.claims import CONSTANT
from experiments.loading import load_table, load_tables
from experiments.records import ROOT
from experiments.runs import command_of
from experiments.state import printed_support
from visionscapes.errors import UserError

TABLES = load_tables()
LIFT = [f"table_8_{number}" for number in range(1, 14)]
CHAPTERS = {
    "vit_analysis": "2",
    "sparsedet": "3",
    "gan_discovery": "4",
    "grit": "5",
    "diff2lip": "6",
    "lsr": "6",
    "gen2det": "7",
    "lift": "8",
}
OUTLOOK = {"gen2det": "9"}  # what chapter 9 proposes for a method


def test_every_table_of_chapter_8_is_there_in_order():
    assert [name for name in TABLES if name.startswith("table_8")] == LIFT
    assert all(TABLES[name].method == "lift" for name in LIFT)


@pytest.mark.parametrize("name", TABLES)
def test_table_is_complete(name):
    table = TABLES[name]
    assert table.claims
    assert "embedded" in table.grids or table.method in (
        "sparsedet",
        "grit",
        "diff2lip",
        "gen2det",
    )  # some of whose tables have none
    if table.thesis or not (name == "table_2_3" or name.startswith("figure")):  # these print no numbers
        assert set(table.thesis) == (set(table.grids["paper"].rows) if "paper" in table.grids else set())
    for claim in table.claims:
        assert claim.text.endswith(".")
        chapters = [CHAPTERS[table.method], OUTLOOK.get(table.method, CHAPTERS[table.method])]
        assert claim.section.startswith((*(f"{each}{mark}" for each in chapters for mark in ".,"), "ours"))
        assert claim.contrasts
        assert all(contrasts for contrasts in claim.contrasts.values())


# Typed from the printed pages a second time: (table, row, column, number).
PRINTED = [
    ("table_8_1", "DINO", "PCK@0.1 56 px", 2.04),
    ("table_8_1", "SelfPatch", "PCK@0.1 448 px", 27.34),
    ("table_8_1", "DINO+LiFT", "PCK@0.05 224 px", 14.72),
    ("table_8_2", "DINO+Bilinear", "112 px", 23.7),
    ("table_8_2", "DINO+LiFT", "448 px", 61.1),
    ("table_8_3", "ViTDet", "Box AP", 39.50),
    ("table_8_3", "ViTDet", "Mask AP75", 39.97),
    ("table_8_3", "ViTDet+LiFT*", "Box AP50", 61.05),
    ("table_8_3", "ViTDet+LiFT", "Box AP75", 49.87),
    ("table_8_3", "ViTDet+LiFT", "Mask AP50", 63.34),
    ("table_8_3", "ViTDet, fine-tuned", "Box AP", None),
    ("table_8_4", "VOC07 Leopart", "448 px", 48.79),
    ("table_8_4", "VOC12 DINO+LiFT", "56 px", 40.56),
    ("table_8_4", "COCO20K SelfPatch", "112 px", 35.76),
    ("table_8_5", "224 px, stride 8, DINO+LiFT", "FLOPs (G)", 19.65),
    ("table_8_5", "448 px, stride 16, DINO", "J&F", 50.9),
    ("table_8_5", "448 px, stride 8, DINO+LiFT", "PCK@0.1", 32.20),
    ("table_8_6", "DINO S/16+LiFT", "Parameters (M)", 22.2),
    ("table_8_6", "DINO B/16", "FLOPs (G)", 17.21),
    ("table_8_7", "MoCo", "DINO", 9.86),
    ("table_8_7", "ViT", "MoCo", 8.91),
    ("table_8_7", "DINO", "No LiFT", 28.6),
    ("table_8_8", "MoCo 2×LiFT", "56 px", 8.72),
    ("table_8_8", "ViT 2×LiFT", "448 px", 18.18),
    ("table_8_9", "DINO + Random LiFT", "PCK@0.1 448 px", 6.16),
    ("table_8_9", "MoCo + LiFT L2", "PCK@0.05 448 px", 8.34),
    ("table_8_9", "ViT + LiFT No Img.", "PCK@0.05 112 px", 2.22),
    ("table_8_10", "112×112", "30 epochs", 17.75),
    ("table_8_10", "224×224", "100 epochs", 29.11),
    ("table_8_11", "DINO B/8 + LiFT", "PCK@0.01 224 px", 2.27),
    ("table_8_11", "Leopart S/16", "PCK@0.05 448 px", 12.26),
    ("table_8_11", "DINO S/8", "PCK@0.1 224 px", 31.05),
    ("table_8_12", "DINO+LiFT", "PCK@0.01 448 px", 2.52),
    ("table_8_12", "Leopart", "PCK@0.01 112 px", 0.1),
    ("table_8_13", "DINO+LiFT", "F 448 px", 0.63),
    ("table_8_13", "DINO+Bilinear", "J 56 px", 0.14),
]


@pytest.mark.parametrize(("name", "row", "column", "number"), PRINTED)
def test_printed_number(name, row, column, number):
    assert TABLES[name].thesis_figure(row, column) == number


def test_tables_agree_where_the_thesis_prints_a_number_twice():
    one, twelve = TABLES["table_8_1"], TABLES["table_8_12"]
    for row in one.grids["paper"].rows:
        for column in one.grids["paper"].columns:
            assert one.thesis_figure(row, column) == twelve.thesis_figure(row, column)
    eight, nine = TABLES["table_8_8"], TABLES["table_8_9"]
    for backbone in ("DINO", "MoCo", "ViT"):
        for size in ("56 px", "112 px", "224 px", "448 px"):
            lifted = nine.thesis_figure(f"{backbone} + LiFT", f"PCK@0.1 {size}")
            assert eight.thesis_figure(f"{backbone} LiFT", size) == lifted


@pytest.mark.parametrize(
    ("name", "claim", "support"),
    [
        ("table_8_1", 0, (24, 24)),
        ("table_8_2", 2, (1, 1)),  # "on average by 9.4 points"
        ("table_8_3", 0, (6, 6)),
        ("table_8_3", 1, (1, 1)),
        ("table_8_3", 2, (1, 1)),
        ("table_8_3", 3, (4, 4)),
        ("table_8_3", 4, (6, 6)),
        ("table_8_8", 1, (9, 12)),
        ("table_8_8", 2, (8, 9)),  # ViT at 224 px: 16.49 against 16.58
        ("table_8_9", 1, (22, 24)),  # the text names the two exceptions
        ("table_8_11", 0, (82, 84)),  # Leopart loses and ViT ties at 56 px and PCK@0.01
    ],
)
def test_printed_numbers_bear_the_claim_out(name, claim, support):
    assert printed_support(TABLES[name].claims[claim], TABLES[name]) == support


def test_gain_averaged_over_resolutions_is_the_one_in_the_text():
    table = TABLES["table_8_2"]
    gains = [
        table.thesis_figure("DINO+LiFT", size) - table.thesis_figure("DINO", size)
        for size in table.grids["paper"].columns
    ]
    assert sum(gains) / len(gains) == pytest.approx(9.4)


def test_runs_are_shared_between_tables():
    # 8.3 is of detectors.
    tables = {name: table for name, table in TABLES.items() if table.method == "lift" and name != "table_8_3"}
    default = tables["table_8_1"].grids["embedded"].runs["default"]
    sharing = [name for name, table in tables.items() if default in table.grids["embedded"].runs.values()]
    assert set(sharing) == set(tables)
    runs = {run for table in tables.values() for run in table.grids["embedded"].runs.values()}
    assert sum(run.command == "fit" for run in runs) <= 9  # each takes minutes


def test_configs_of_the_runs_exist():
    runs = {run for table in TABLES.values() for grid in table.grids.values() for run in grid.runs.values()}
    missing = {config for run in runs for config in run.configs if not (ROOT / config).is_file()}
    assert not missing


def test_pictures_exist():
    named = {name for table in TABLES.values() for name in table.pictures}
    assert {name for name in named if not (ROOT / name).is_file()} == set()


GOOD = """
title: T
section: 8.3.1
paper:
  runs:
    fit: {config: a.yaml}
    eval: {command: test, config: b.yaml, overrides: {model.x: [1, 2], model.y: false}, checkpoints: {ckpt_path: fit}}
  cell: {run: eval, factor: 100}
  columns: {metric: [P, Q], image_size: [56, 112]}
  rows: {base: {method: base}, LiFT: {method: LiFT}}
thesis: {base: [1, 2, 3, 4], LiFT: [2, 3, 4, null]}
claims:
  - {text: Better., section: 8.3.1, paper: {more: LiFT, less: base}}
"""


def write(folder, text, name="table_9_1"):
    path = folder / f"{name}.yaml"
    path.write_text(text)
    return path


def test_grid_and_claims_of_a_small_table(tmp_path):
    table = load_table(write(tmp_path, GOOD))
    grid = table.grids["paper"]
    assert table.number == "Table 9.1"
    assert list(grid.columns) == ["P 56 px", "P 112 px", "Q 56 px", "Q 112 px"]
    cell = grid.cells["LiFT", "Q 56 px"]
    assert (cell.metric, cell.method, cell.image_size, cell.factor) == ("Q", "LiFT", 56, 100)
    (run,) = cell.runs
    assert run.overrides == (("model.x", "[1, 2]"), ("model.y", "false"))
    assert run.checkpoints == (("ckpt_path", grid.runs["fit"]),)
    assert grid.shown_runs() == [run]
    assert len(table.claims[0].contrasts["paper"]) == 4
    assert printed_support(table.claims[0], table) == (3, 3)
    assert table.pictures == {}


def test_pictures_of_a_table(tmp_path):
    table = load_table(write(tmp_path, GOOD + "pictures: {docs/images/a.png: What it does.}\n"))
    assert table.pictures == {"docs/images/a.png": "What it does."}


def contrasts(tmp_path, comparison):
    content = yaml.safe_load(GOOD)
    content["claims"][0]["paper"] = comparison
    return load_table(write(tmp_path, yaml.safe_dump(content, sort_keys=False))).claims[0].contrasts["paper"]


def test_comparison_of_other_columns_with_a_factor(tmp_path):
    comparison = {
        "more": "LiFT",
        "at": {"metric": "P", "image_size": 56},
        "less": "base",
        "less_at": "P 112 px",
        "times": 2,
    }
    assert contrasts(tmp_path, comparison) == ({("LiFT", "P 56 px"): 1.0, ("base", "P 112 px"): -2.0},)


def test_comparison_of_gains(tmp_path):
    comparison = {"more": "LiFT", "over": "base", "at": {"image_size": 56}, "less_at": {"image_size": 112}}
    first, second = contrasts(tmp_path, comparison)
    gain = {("LiFT", "P 56 px"): 1.0, ("base", "P 56 px"): -1.0, ("LiFT", "P 112 px"): -1.0, ("base", "P 112 px"): 1.0}
    assert first == gain
    assert ("LiFT", "Q 56 px") in second


def test_comparison_with_a_number(tmp_path):
    at = {"metric": "P", "image_size": 56}
    cell = ("LiFT", "P 56 px")
    assert contrasts(tmp_path, {"more": "LiFT", "than": 3, "at": at}) == ({cell: 1.0, CONSTANT: -3.0},)
    assert contrasts(tmp_path, {"less": "LiFT", "than": 3, "at": at}) == ({cell: -1.0, CONSTANT: 3.0},)
    assert contrasts(tmp_path, {"more": "LiFT", "less": "base", "than": 3, "at": at}) == (
        {cell: 1.0, ("base", "P 56 px"): -1.0, CONSTANT: -3.0},
    )


def test_printed_numbers_are_compared_with_a_number(tmp_path):
    content = yaml.safe_load(GOOD)  # LiFT: 2, 3, 4 and nothing
    for comparison, support in (({"more": "LiFT", "than": 3}, (1, 3)), ({"less": "LiFT", "than": 3.5}, (2, 3))):
        content["claims"][0]["paper"] = comparison
        table = load_table(write(tmp_path, yaml.safe_dump(content, sort_keys=False)))
        assert printed_support(table.claims[0], table) == support


@pytest.mark.parametrize("one", ["at", "less_at"])
def test_one_column_is_compared_with_several(tmp_path, one):
    several = {"at": "less_at", "less_at": "at"}[one]
    found = contrasts(tmp_path, {"more": "LiFT", one: "P 56 px", several: ["P 112 px", "Q 56 px"]})
    sign = 1.0 if one == "at" else -1.0
    assert found == tuple({("LiFT", "P 56 px"): sign, ("LiFT", other): -sign} for other in ("P 112 px", "Q 56 px"))


def test_names_of_rows_and_columns_stand_in_metric_and_method(tmp_path):
    content = yaml.safe_load(GOOD)
    content["paper"] |= {
        "cell": {"run": "eval", "image_size": 224, "metric": "best {row}", "method": "{column} | DINO"},
        "columns": {"a": {}, "b": {}},
        "rows": {"base": {}, "LiFT": {"metric": "CKA"}},
    }
    content["thesis"] = {}
    grid = load_table(write(tmp_path, yaml.safe_dump(content, sort_keys=False))).grids["paper"]
    assert (grid.cells["base", "a"].metric, grid.cells["base", "a"].method) == ("best base", "a | DINO")
    assert (grid.cells["LiFT", "b"].metric, grid.cells["LiFT", "b"].method) == ("CKA", "b | DINO")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("{more: LiFT, less: base}", "{less: base}", "a comparison needs more, or less with than"),
        ("{more: LiFT, less: base}", "{at: P 56 px}", "a comparison needs more, or less with than"),
        (", less: base}", ", at: [P 56 px, P 112 px, Q 56 px], less_at: {metric: P}}", "2 columns for the 3 of at"),
        ("title: T", "titel: T", "unknown key 'titel'; did you mean title?"),
        ("section: 8.3.1\npaper", "paper", "the key 'section' is missing"),
        ("run: eval", "run: evil", "no run is called 'evil'; did you mean eval?"),
        ("ckpt_path: fit}", "ckpt_path: fitt}", "starts from 'fitt', which no run above it is called"),
        (
            "checkpoints: {ckpt_path: fit}",
            "files: {data.root: fit}",
            "data.root is 'fit'; it has to be a run and a path",
        ),
        ("command: test", "command: tset", "command 'tset'; did you mean test?"),
        ("LiFT: [2, 3, 4, null]", "LiFT: [2, 3, 4]", "row 'LiFT': 3 numbers for 4 columns"),
        ("thesis: {base:", "thesis: {bace:", "no row is called 'bace'; did you mean base?"),
        ("less: base}", "less: bse}", "no row is called 'bse'; did you mean base?"),
        ("less: base}", "less: base, at: {metric: R}}", "no column matches"),
        (", less: base}", "}", "compares (LiFT, P 56 px) with itself"),
        ("less: base}", "less: base}, across: all", "across 'all'"),
        (
            "less: base}",
            "less: base}, embedded: {more: LiFT}",
            "is asked at embedded scale, where the table has no grid",
        ),
        ("{method: base}", "{methud: base}", "unknown key 'methud'; did you mean method?"),
        ("paper:\n", "paper: [\n", "no valid YAML"),
        ("title: T", "title: T\npictures: {runs/a.png: A}", "pictures are a mapping such as {docs/images/lift.png"),
        ("title: T", "title: T\npictures: [docs/images/a.png]", "pictures are a mapping"),
    ],
)
def test_wrong_file_is_explained(tmp_path, old, new, message):
    assert old in GOOD
    with pytest.raises(UserError) as caught:
        load_table(write(tmp_path, GOOD.replace(old, new)))
    assert message in str(caught.value)
    assert "table_9_1.yaml" in str(caught.value)


def test_tables_come_in_the_order_of_the_thesis(tmp_path):
    (tmp_path / "m").mkdir()
    for name in ("table_8_10", "table_8_9", "table_10_1", "figure_8_9"):
        write(tmp_path / "m", GOOD, name)
    assert list(load_tables(tmp_path)) == ["figure_8_9", "table_8_9", "table_8_10", "table_10_1"]


@pytest.mark.slow
def test_arguments_of_every_run_are_known_to_the_command_line(monkeypatch):
    from cli import environment_restored
    from command_line.lightning_cli import CommandLine

    class Parsed(Exception):
        pass

    def stop(self):
        raise Parsed

    monkeypatch.setattr(CommandLine, "before_instantiate_classes", stop)
    parsed = set()
    for table in TABLES.values():
        for scale, grid in table.grids.items():
            for run in grid.runs.values():
                model = dict(run.overrides).get("model")
                named = [key for key, *_ in (*run.overrides, *run.checkpoints, *run.files)]
                kind = (run.command, run.configs, model, *named, *run.seeded)
                if kind not in parsed:
                    parsed.add(kind)
                    with environment_restored(), pytest.raises(Parsed):
                        CommandLine(command_of(run, scale, seed=0, left_by=lambda source, path: "some.ckpt"))
