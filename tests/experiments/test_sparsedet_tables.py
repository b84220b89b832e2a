"""The tables of chapter 3: printed numbers, and what they say of the claims."""

import re

import numpy as np
import pytest

from experiments.loading import load_tables
from experiments.state import printed_support

ALL_TABLES = load_tables()
TABLES = {name: table for name, table in ALL_TABLES.items() if table.method == "sparsedet"}
SECTIONS = ["section_3_3_5", "section_3_3_7", "section_3_5_1", "section_3_5_2_4"]


def test_every_table_is_there_and_sections_follow_the_tables_of_their_chapter():
    assert list(TABLES) == [f"table_3_{number}" for number in range(1, 13)] + SECTIONS
    names = list(ALL_TABLES)
    assert names.index("section_3_5_2_4") < min(names.index(name) for name in names if "_8_" in name)


def test_section_is_called_so():
    assert TABLES["section_3_3_7"].number == "Section 3.3.7"
    assert TABLES["table_3_12"].number == "Table 3.12"


# Typed from the printed pages a second time: (table, row, column, number).
PRINTED = [
    ("table_3_1", "Oracle", "Split-2 50%", 40.91),
    ("table_3_1", "Pseudo Label", "Split-1 50%", 27.5),
    ("table_3_1", "Pseudo Label", "Split-1 70%", None),
    ("table_3_1", "Co-mining", "Split-1 70%", 24.93),
    ("table_3_1", "Co-mining", "Split-3 50%", 32.54),
    ("table_3_1", "SparseDet", "Split-1 30%", 38.22),
    ("table_3_1", "SparseDet", "Split-3 70%", 35.48),
    ("table_3_2", "Oracle", "Split-4 Hard", 83.09),
    ("table_3_2", "Oracle", "Split-5 40%", 77.47),
    ("table_3_2", "Co-mining", "Split-4 Extreme", 69.6),
    ("table_3_2", "SparseDet", "Split-5 50%", 74.35),
    ("table_3_3", "Co-mining", "40%", 45.98),
    ("table_3_3", "SparseDet", "50%", 46.76),
    ("table_3_4", "Baseline", "AP", 41.77),
    ("table_3_4", "C-RPN + PPM + L_det,a", "AP", 45.44),
    ("table_3_4", "PPM + L_SSL + L_det,a", "AP", 44.86),
    ("table_3_5", "SparseDet", "0.6", 45.96),
    ("table_3_5", "SparseDet", "0.95", 45.3),
    ("table_3_6", "TTA", "Split-2 70%", 35.33),
    ("table_3_6", "w/o TTA", "Split-2 70%", 35.27),
    ("table_3_6", "w/o TTA", "Split-3 30%", 39.55),
    ("table_3_7", "C4", "Split-1 70%", 33.16),
    ("table_3_7", "C4", "Split-4 Easy", 80.56),
    ("table_3_7", "C4", "Split-5 50%", 75.32),
    ("table_3_7", "FPN", "Split-5 30%", 76.84),
    ("table_3_8", "Co-mining", "Hard", 31.8),
    ("table_3_8", "SparseDet", "Extreme", 23.35),
    ("table_3_9", "SparseDet", "70%", 28.88),
    ("table_3_10", "None", "AP", 42.76),
    ("table_3_10", "Box erase", "AP", 45.11),
    ("table_3_10", "Contrast, brightness, saturation, lighting", "AP", 43.91),
    ("table_3_11", "SparseDet", "12000", 45.88),
    ("table_3_12", "SparseDet", "0.8", 45.04),
    ("section_3_3_5", "SparseDet", "AP", 32.89),
    ("section_3_3_7", "Standard", "Unknown", 29.06),
    ("section_3_3_7", "SparseDet", "Known", 78.47),
    ("section_3_5_1", "Plain", "70%", 0.79),
    ("section_3_5_2_4", "Two halved sets", "AP", 45.46),
]


@pytest.mark.parametrize(("name", "row", "column", "number"), PRINTED)
def test_printed_number(name, row, column, number):
    assert TABLES[name].thesis_figure(row, column) == number


# (table, row, the one it is compared with, the differences that the text states, in the order of the columns)
GAINS = [
    ("table_3_1", "SparseDet", "Co-mining", [1.87, 3.08, 7.75, 3.04, 3.90, 10.50, 2.80, 4.61, 10.52]),
    ("table_3_2", "SparseDet", "Co-mining", [2.56, 3.12, 5.99, 2.42, 2.58, 4.46]),
    ("table_3_3", "SparseDet", "Co-mining", [1.81, 1.84, 3.55]),
    ("table_3_4", "L_det,a", "Baseline", [0.90]),
    ("table_3_4", "C-RPN + L_det,a", "Baseline", [3.53]),
    ("table_3_4", "C-RPN + PPM + L_det,a", "Baseline", [3.67]),
    ("table_3_4", "C-RPN + PPM + L_SSL", "Baseline", [3.74]),
    ("table_3_4", "PPM + L_SSL + L_det,a", "Baseline", [3.09]),
    ("table_3_4", "All", "Baseline", [4.23]),
    ("table_3_8", "SparseDet", "Co-mining", [1.38, 2.22, 0.35]),
]


@pytest.mark.parametrize(("name", "row", "other", "gains"), GAINS)
def test_differences_are_those_of_the_text(name, row, other, gains):
    table = TABLES[name]
    differences = [one - two for one, two in zip(table.thesis[row], table.thesis[other], strict=True)]
    assert differences == pytest.approx(gains, abs=1e-6)


def test_average_gains_on_coco_are_those_of_the_introduction():
    gains = np.reshape(GAINS[0][3], (3, 3)).mean(0)
    assert [round(gain, 1) for gain in gains] == [2.6, 3.9, 9.6]


def test_tables_agree_where_the_thesis_prints_a_number_twice():
    one, two = (TABLES[name].thesis["SparseDet"] for name in ("table_3_1", "table_3_2"))
    assert TABLES["table_3_6"].thesis["TTA"] == one
    assert TABLES["table_3_7"].thesis["FPN"] == one + two
    full = {"table_3_4": "All", "table_3_10": "All", "section_3_5_2_4": "C-RPN"}
    full |= dict.fromkeys(("table_3_5", "table_3_11", "table_3_12"), "SparseDet")
    grids = {name: TABLES[name].grids["paper"] for name in full}
    (ablated,) = {run for name, row in full.items() for run in default_runs(grids[name], row)}
    assert (ablated.configs, ablated.overrides) == (("configs/paper/sparsedet_voc.yaml",), ())
    for name, row in full.items():
        cells = [key for key, cell in grids[name].cells.items() if cell.runs == (ablated,) and key[0] == row]
        assert [TABLES[name].thesis_figure(*key) for key in cells] == [46.0]


def default_runs(grid, row):
    return [cell.runs[0] for (label, _), cell in grid.cells.items() if label == row and not cell.runs[0].overrides]


# (supported, of) by claim: where the printed numbers do not bear out what the text says, this says so.
SUPPORT = {
    "table_3_1": [
        (11, 11),
        (3, 3),
        (3, 3),
        (6, 6),
        (1, 1),
        (1, 1),
        (1, 1),
        (3, 3),
        (3, 3),
        (1, 1),
        (1, 1),
        *[None] * 9,
    ],
    "table_3_2": [(9, 9), (4, 4), (4, 4), (2, 2)],
    "table_3_3": [(3, 3), (2, 2), (1, 1)],
    "table_3_4": [(1, 1), (1, 1), (2, 2), (6, 6), (2, 2), (1, 1), (1, 1), None],
    "table_3_5": [(4, 4), (3, 3), (2, 2)],
    "table_3_6": [(18, 18)],
    "table_3_7": [(27, 30), (4, 5)],  # C4 is better on split 5 with 30 % removed
    "table_3_8": [(3, 3), (1, 2)],  # the gain is smallest on the sparsest subset
    "table_3_9": [(2, 2), (3, 3), (1, 1)],
    "table_3_10": [(6, 6), (5, 5), (9, 9), (4, 5), (2, 2)],  # saturation alone does not help
    "table_3_11": [(3, 3)],
    "table_3_12": [(2, 2)],
    "section_3_3_5": [(1, 1)],
    "section_3_3_7": [(1, 1), (1, 1), (1, 1), None],
    "section_3_5_1": [(1, 1), (1, 1)],
    "section_3_5_2_4": [(2, 2)],
}


@pytest.mark.parametrize("name", TABLES)
def test_printed_numbers_bear_claims_out(name):
    table = TABLES[name]
    assert [printed_support(claim, table) for claim in table.claims] == SUPPORT[name]


@pytest.mark.parametrize("name", TABLES)
def test_claims_say_where_they_stand(name):
    for claim in TABLES[name].claims:
        assert claim.text.endswith(".")
        assert re.match(r"3\.\d|3, introduction$|ours$", claim.section)
        assert all(claim.contrasts.values())
