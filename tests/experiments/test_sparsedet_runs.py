"""The runs of the tables of chapter 3: whether they are what rows and columns say, and give what the cells show."""

import inspect
import re
from argparse import ArgumentError
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest
import yaml

import lightning_modules
from callbacks.detection.coco_evaluation import COCOEvaluation
from callbacks.detection.evaluation import EvaluatedImage
from callbacks.detection.proposal_recall import ProposalRecall, RecalledObjects
from callbacks.detection.voc_evaluation import VOCEvaluation
from command_line.lightning_cli import CommandLine
from command_line.reading.named_classes import import_named_classes
from datamodules.detection.scenes import DetectionScenes
from datamodules.detection.sparse.splits import DEFAULTS, check_split
from experiments.loading import load_tables
from experiments.records import ROOT
from experiments.runs import command_of
from experiments.tables import SCALES, Run

TABLES = {name: table for name, table in load_tables().items() if table.method == "sparsedet"}
GRIDS = [
    pytest.param(table, scale, id=f"{name} {scale}")
    for name, table in TABLES.items()
    for scale in SCALES
    if scale in table.grids
]
RUNS = {
    scale: {run for table in TABLES.values() if scale in table.grids for run in table.grids[scale].runs.values()}
    for scale in SCALES
}
AT_TEST = "data.init_args.second_view.init_args.at_test"


@cache
def content_of(config):
    return yaml.load((ROOT / config).read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))


@cache
def parameters_of(kind):
    return frozenset(inspect.signature(kind).parameters)


def merged(base, other, path=""):
    if not isinstance(base, dict) or not isinstance(other, dict) or path.endswith(".overrides"):
        return other  # the parser takes the overrides of a detector as one value
    return base | {key: merged(base.get(key), value, f"{path}.{key}") for key, value in other.items()}


@cache
def effective(run):
    """Return what a run's files and overrides amount to, without what its class of module does not take."""
    content = {}
    for config in run.configs:
        content = merged(content, content_of(config))
    for key, text in run.overrides:
        value = yaml.safe_load(text)
        for part in reversed(["model", "class_path"] if key == "model" else key.split(".")):
            value = {part: value}
        content = merged(content, value)
    kind = module_of(run)
    arguments = {key: value for key, value in content["model"]["init_args"].items() if key in parameters_of(kind)}
    split = content["data"]["init_args"]["split"]
    content["model"] = {"class_path": kind.__name__, "init_args": arguments}
    return merged(content, {"data": {"init_args": {"split": None if split is None else str(split)}}})


def module_of(run):
    return getattr(lightning_modules, dict(run.overrides).get("model", "SparseDet"))


def canonical(value):
    return sorted((key, canonical(each)) for key, each in value.items()) if isinstance(value, dict) else value


@pytest.mark.parametrize("scale", RUNS)
def test_one_training_is_written_in_one_way(scale):
    seen = {}
    for run in RUNS[scale]:
        identity = repr((run.command, canonical(effective(run)), run.checkpoints))
        assert seen.setdefault(identity, run) == run
        for key, _ in run.overrides:
            left = [pair for pair in run.overrides if pair[0] != key]
            without = Run(run.name, run.command, run.configs, tuple(left))
            assert effective(without) != effective(run), f"{run.name} says {key}, which changes nothing"


def test_embedded_runs_are_shared():
    fits = [run for run in RUNS["embedded"] if run.command == "fit"]
    assert len(fits) <= 30  # each takes minutes, for each seed
    (default,) = [run for run in fits if not run.overrides]
    sharing = {name for name, table in TABLES.items() if "embedded" in table.grids}
    assert sharing == {*(f"table_3_{number}" for number in (1, 4, 5, 6, 12)), "section_3_3_7", "section_3_5_1"}
    of_default = {name for name in sharing if default in TABLES[name].grids["embedded"].runs.values()}
    assert of_default == {name for name in sharing if name.startswith("table")}
    plain = set(TABLES["section_3_5_1"].grids["embedded"].shown_runs())
    assert plain < set(TABLES["table_3_1"].grids["embedded"].shown_runs())


def trained(run):
    """Return the run that trained what a run shows."""
    return trained(run.checkpoints[0][1]) if run.checkpoints else run


@pytest.mark.parametrize(("table", "scale"), GRIDS)
def test_data_are_those_of_the_column(table, scale):
    for (row, column), cell in table.grids[scale].cells.items():
        data = effective(trained(cell.runs[0]))["data"]["init_args"]
        split, percent, level = (data.get(key) for key in ("split", "percent", "level"))
        removes_nothing = row == "Oracle" or column == "0%" or data.get("labelled_classes")
        if split is None:
            assert removes_nothing
            assert (percent, level) == (None, None)
            continue
        assert not removes_nothing
        check_split(split, percent, level, 0, DEFAULTS)
        if found := re.search(r"(\d+)%", column):
            assert percent == int(found[1])
        elif found := re.search("Easy|Hard|Extreme", column):
            assert level == found[0].lower()
        elif split != "siod":
            assert percent == 50  # the ablations
        if found := re.search(r"Split-(\d)", column):
            assert split == found[1]
        if scale == "paper" and "VOCDetection" in effective(trained(cell.runs[0]))["data"]["class_path"]:
            both = ["2007 trainval", "2012 trainval"]
            assert data["train"] == (both if "Split-4" in column else both[:1])


def test_oracle_on_voc_is_trained_on_the_pictures_of_the_split():
    cells = TABLES["table_3_2"].grids["paper"].cells
    for column, sets in (("Split-4 Extreme", 2), ("Split-5 50%", 1)):
        data = effective(cells["Oracle", column].runs[0])["data"]["init_args"]
        assert len(data["train"]) == sets


ROW_CLASSES = {
    "Oracle": "Detector", "Plain": "Detector", "Baseline": "Detector", "Standard": "Detector",
    "Two views": "TwoViewDetector", "Pseudo labels": "PseudoLabels", "Pseudo Label": "PseudoLabels",
    "Co-mining": "CoMining",
}  # fmt: skip


@pytest.mark.parametrize(("table", "scale"), GRIDS)
def test_module_is_that_of_the_row_and_has_the_views_that_it_takes(table, scale):
    for (row, _), cell in table.grids[scale].cells.items():
        run = trained(cell.runs[0])
        kind = ROW_CLASSES.get(row, "SparseDet")
        assert module_of(run).__name__ == kind
        has_second_view = effective(run)["data"]["init_args"]["second_view"] is not None
        assert has_second_view == (kind not in ("Detector", "PseudoLabels"))


# Table 3.4: C-RPN, PPM, L_SSL, L_det,a.
COMPONENTS = {
    "L_det,a": "---x",
    "C-RPN + L_det,a": "x--x",
    "C-RPN + PPM + L_det,a": "xx-x",
    "C-RPN + PPM + L_SSL": "xxx-",
    "PPM + L_SSL + L_det,a": "-xxx",
    "All": "xxxx",
}


@pytest.mark.parametrize("scale", ["embedded", "paper"])
@pytest.mark.parametrize("row", COMPONENTS)
def test_components_of_the_ablation(scale, row):
    options = effective(TABLES["table_3_4"].grids[scale].runs[row])["model"]["init_args"]
    on = (
        options.get("proposals", "common") == "common",
        options.get("mining", True),
        options.get("ssl_weight", 1.0) > 0,
        options.get("merging", True),
    )
    assert "".join("x" if each else "-" for each in on) == COMPONENTS[row]


@pytest.mark.parametrize(
    ("name", "option"), [("table_3_5", "tau_ppm"), ("table_3_11", "mining_start"), ("table_3_12", "tau_m")]
)
def test_option_is_that_of_the_column(name, option):
    for grid in TABLES[name].grids.values():
        for (_, column), cell in grid.cells.items():
            assert effective(cell.runs[0])["model"]["init_args"][option] == float(column)


def test_labels_of_the_detector_itself_begin_when_sparsedet_mines():
    options = effective(TABLES["table_3_1"].grids["embedded"].runs["SparseDet 50%"])["model"]["init_args"]
    own = {run for run in RUNS["embedded"] if module_of(run).__name__ in ("PseudoLabels", "CoMining")}
    assert len(own) == 6
    for run in own:
        arguments = effective(run)["model"]["init_args"]
        # Not later than SparseDet mines, and not at its own threshold, at which they would hardly ever act.
        assert arguments["start"] == options["mining_start"]
        assert 0.5 <= arguments["threshold"] < options["tau_m"]


def test_augmentations_are_those_of_the_row():
    names = {"contrast", "brightness", "saturation", "lighting", "erase_area"}
    for row in TABLES["table_3_10"].thesis:
        view = effective(TABLES["table_3_10"].grids["paper"].runs[row])["data"]["init_args"]["second_view"]
        words = row.lower().replace("box erase", "erase_area").split(", ")
        wanted = {"none": set(), "all": names}.get(row.lower(), set(words))
        assert {name for name in names if view["init_args"][name] is not None} == wanted


@pytest.mark.parametrize("scale", ["embedded", "paper"])
def test_clean_view_is_tried_on_the_detectors_that_the_row_above_shows(scale):
    cells = TABLES["table_3_6"].grids[scale].cells
    for (row, column), cell in cells.items():
        if row == "w/o TTA":
            (run,) = cell.runs
            assert (run.command, run.checkpoints) == ("test", (("ckpt_path", cells["TTA", column].runs[0]),))
            assert run.overrides == ((AT_TEST, "clean"),)


def evaluated():
    """Return (metric, method) of the rows that each protocol writes."""
    box, one = np.array([[0.0, 0.0, 9.0, 9.0]], np.float32), np.zeros(1, np.int64)
    truth = {"boxes": box, "labels": one, "areas": np.full(1, 81.0), "ignored": np.zeros(1, bool)}
    image = EvaluatedImage(0, (9, 9), {"boxes": box, "labels": one, "scores": np.ones(1, np.float32)}, truth)
    data = SimpleNamespace(classes=("one", "two"))
    recalled = RecalledObjects(0, np.array([0, 1]), np.ones(2, bool))
    figures = {
        "COCOEvaluation": COCOEvaluation().figures([image], data),
        "VOCEvaluation": VOCEvaluation().figures([image], data),
        "ProposalRecall": ProposalRecall(known=[0]).figures([recalled], data),
    }
    return {name: {(each.metric, each.method) for each in found} for name, found in figures.items()}


@pytest.mark.parametrize(("table", "scale"), GRIDS)
def test_every_cell_has_a_figure(table, scale):
    written = evaluated()
    for cell in table.grids[scale].cells.values():
        (run,) = cell.runs
        content = effective(run)
        assert content["test_after_fit"] or run.command == "test"
        callbacks = {each["class_path"].removeprefix("callbacks.") for each in content["trainer"]["callbacks"]}
        rows = set().union(*(written[name] for name in callbacks & written.keys()))
        assert (cell.metric, cell.method) in rows
        data = content["data"]["init_args"]
        if cell.metric.endswith("known"):
            assert data["labelled_classes"]
        own_size = inspect.signature(DetectionScenes).parameters["image_size"].default
        assert cell.image_size == (own_size if scale == "embedded" else data["test_size"])


def test_names_of_metrics_are_told_apart():
    written = evaluated()
    assert ("AP", "boxes") in written["COCOEvaluation"]
    assert ("AP", "boxes") not in written["VOCEvaluation"]


@pytest.fixture(scope="module")
def parser():
    class Built(Exception):
        pass

    found = []

    def keep(self, parser, args):
        found.append(parser)
        raise Built

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CommandLine, "parse_arguments", keep)
        with pytest.raises(Built):
            CommandLine(["fit"])
    return found[0]


def together(runs, scale):
    """Return one command line with the arguments of several runs, of which the parser checks all and takes the last."""
    commands = [command_of(run, scale, seed=0, left_by=lambda source, path: "some.ckpt") for run in runs]
    return [*commands[0], *(word for command in commands[1:] for word in command if "=" in word)]


GROUPS = {}
for _scale, _runs in RUNS.items():
    for _run in sorted(_runs, key=lambda run: (run.command, run.configs, run.overrides)):
        GROUPS.setdefault((_scale, _run.command, _run.configs, dict(_run.overrides).get("model", "-")), []).append(_run)


@pytest.mark.parametrize("group", GROUPS, ids=lambda group: f"{group[1]} {' '.join(group[2])} {group[3]}")
def test_command_line_is_accepted(parser, group):
    scale, command, *_ = group
    words = together(GROUPS[group], scale)
    import_named_classes(words)
    config = parser.parse_args(words)[command]
    run = GROUPS[group][-1]
    assert config.model.class_path == f"lightning_modules.{module_of(run).__name__}"
    for key, text in run.overrides:
        if key != "model":
            value = config.get(key)
            wanted = yaml.safe_load(text)
            assert str(value) == str(wanted) or value == wanted, key


def test_command_line_with_a_wrong_value_is_not_accepted(parser):
    words = ["fit", "--config=configs/sparsedet.yaml", "--data.init_args.split=6", "--data.init_args.split=3"]
    with pytest.raises(ArgumentError):
        parser.parse_args(words)
    with pytest.raises(ArgumentError):
        parser.parse_args(["fit", "--config=configs/sparsedet.yaml", "--model=Detector", "--model.init_args.tau_m=0.9"])
