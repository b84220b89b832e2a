import numpy as np

from callbacks.vit_analysis.report.arrays import AnalysedModel
from callbacks.vit_analysis.report.tables import as_markdown, tables


def one(name, method, depth=4, **arrays):
    return AnalysedModel(name, method, depth, 2, 8, 64, (8, 8), {key.replace("_", "-"): a for key, a in arrays.items()})


FS = one(
    "FS",
    "FS",
    knn={"top1": np.array([0.1, 0.2, 0.83791, 0.5]), "top5": np.array([0.2, 0.3, 0.9, 0.95])},
    retrieval={
        "ROxford5k/medium": np.array([0.1, 0.4549, 0.3, 0.2]),
        "ROxford5k/hard": np.array([0.1, 0.1, 0.1, 0.1]),
        "RParis6k/medium": np.array([0.0, 0.0, 0.0, 0.725]),
    },
    video={"J&F": np.array([0.1, np.nan, 0.3, 0.2])},
    dense_video={
        "J": np.array([1, 2, 3, 4]) / 10,
        "F": np.array([4, 3, 2, 1]) / 10,
        "J&F": np.array([2, 5, 3, 5]) / 10,
    },
    keypoints={"PCK@0.1": np.array([0, 0.28561, 0, 0])},
    probe={"cls": np.array(0.8386), "cls_bn": np.array(0.844), "layer": np.array(4)},
)
MAE = one(
    "MAE*|x",
    "MAE",
    knn={"top1": np.array([0.1, np.nan, 0.4519, 0.9])},
    keypoints={"PCK@0.1": np.full(4, np.nan)},
    probe={"cls": np.array(0.4952), "spatial": np.array(0.52), "cls_bn": np.array(np.nan), "layer": np.array(3)},
)
RANDOM = one("Random", "Random", 1, knn={"top1": np.array([0.95])}, dense_video={"J&F": np.array([0.06])})


def texts(table):
    return {name: [cell.text for cell in cells] for name, cells in table.rows}


def by_number(*models):
    return tables(models)


def test_table_2_1_has_the_best_layer_and_the_thesis_units():
    table = by_number(FS, MAE, RANDOM)["2.1"]
    assert table.header == ["Model", "k-NN top-1 (%)", "ROxford5k mAP (M)", "J&F", "PCK@0.1 (%)"]
    assert texts(table) == {
        "FS": ["83.79 (3)", "0.45 (2)", "0.50 (2)", "28.56 (2)"],  # of equal layers the first
        "MAE*|x": ["90.00 (4)", "–", "–", "–"],
        "Random": ["95.00", "–", "0.06", "–"],
    }


def test_the_best_of_a_column_leaves_chance_aside():
    rows = dict(by_number(FS, MAE, RANDOM)["2.1"].rows)
    assert [cells[0].best for cells in rows.values()] == [False, True, False]
    assert not rows["FS"][1].best  # nothing to compare with


def test_table_2_1_shows_one_model_a_method_and_table_2_5_all():
    other = one("FS B/16", "FS", knn=FS.arrays["knn"])
    found = by_number(FS, other)
    assert [name for name, _ in found["2.1"].rows] == ["FS B/16"]
    assert [name for name, _ in found["2.5"].rows] == ["FS", "FS B/16"]


def test_table_2_4_compares_normal_and_dense():
    assert texts(by_number(FS, MAE)["2.4"]) == {"FS": ["0.30 (3)", "0.50 (2)"], "MAE*|x": ["–", "–"]}


def test_table_2_5_has_every_task():
    table = by_number(FS, MAE, RANDOM)["2.5"]
    assert table.header == [
        "Model",
        "Layers",
        "k-NN top-1 (%)",
        "k-NN top-5 (%)",
        "ROxford5k mAP (M)",
        "ROxford5k mAP (H)",
        "RParis6k mAP (M)",
        "RParis6k mAP (H)",
        "J",
        "F",
        "J&F",
        "PCK@0.1 (%)",
        "PCK@0.05 (%)",
        "PCK@0.01 (%)",
    ]
    found = texts(table)
    assert found["FS"][:4] == ["4", "83.79 (3)", "95.00 (4)", "0.45 (2)"]
    assert found["FS"][4:] == ["0.10 (1)", "0.72 (4)", "–", "0.40 (4)", "0.40 (1)", "0.50 (2)", "28.56 (2)", "–", "–"]
    assert found["Random"][:3] == ["–", "95.00", "–"]


def test_table_2_6_has_probes_in_rows():
    table = by_number(FS, MAE, RANDOM)["2.6"]
    assert table.header == ["Feature", "FS", "MAE*|x"]
    assert texts(table) == {
        "CLS": ["83.86", "49.52"],
        "Spat.": ["–", "52.00"],
        "CLS+BN": ["84.40", "–"],
        "Spat.+BN": ["–", "–"],
        "Layer": ["4", "3"],
    }
    assert [cell.best for cell in dict(table.rows)["CLS"]] == [True, False]


def test_tables_without_figures_are_left_out():
    assert by_number(one("FS", "FS")) == {}
    assert list(by_number(one("FS", "FS", video=FS.arrays["video"]))) == ["2.4"]


def test_markdown_escapes_names_and_marks_the_best():
    lines = as_markdown("2.1", by_number(FS, MAE)["2.1"]).splitlines()
    assert lines[0] == "# Table 2.1: Best figure on the downstream tasks"
    assert [rule.strip()[-2:] for rule in lines[3].split("|")[1:-1]] == ["--", *4 * ["-:"]]
    cells = [cell.strip() for cell in lines[5].removeprefix("| ").removesuffix(" |").split(" | ")]
    assert cells == ["MAE\\*\\|x", "**90.00 (4)**", "–", "–", "–"]
