import dataclasses

from experiments import __main__ as command
from experiments.loading import load_tables
from experiments.records import Records
from experiments.report import document, mean_text, tables_to_print


def test_table_shows_mean_and_standard_error(world):
    figures, claims = tables_to_print(world.table, world.run_all([0, 1, 2]), "embedded")
    assert figures.title == "Table 9.1, embedded scale, in %: Two methods and a variant"
    # 20, 30, 40 over the seeds: standard error 10 / sqrt(3).
    assert figures.texts()[2][:2] == ["LiFT", "30.0 ± 5.8"]
    assert claims.texts()[1][0] == "9.1: Better than base."
    assert [row[-1] for row in claims.texts()] == ["verdict", "holds", "fails"]


def test_mean_text():
    assert mean_text([], 2) == "–"
    assert mean_text([1.234], 2) == "1.23"
    assert mean_text([1.0, 3.0], 1) == "2.0 ± 1.0"


def test_document_keeps_the_scales_apart():
    tables = [table for table in load_tables().values() if table.method == "lift"]
    text = document("lift", tables, Records(command.FOLDER / "nowhere"))
    embedded, paper = text.split("## The thesis' scale")
    assert "31.38" in paper
    assert "31.38" not in embedded
    assert all(f"### {table.number}, on the embedded world" in embedded for table in tables)
    assert all(f"### {table.number}, as printed" in paper for table in tables if table.thesis)
    assert "Bears out 82 of 84." in paper


def test_pictures_stand_below_the_figures_of_the_embedded_world(world):
    table = dataclasses.replace(world.table, pictures={"docs/images/m.png": "What m does, seed 0."})
    lines = document("m", [table], world.run_all([0])).splitlines()
    place = lines.index("![What m does, seed 0.](../images/m.png)")  # from docs/results/, where the document lies
    assert lines[place + 2] == "What m does, seed 0."
    assert place > next(number for number, line in enumerate(lines) if line.startswith("| LiFT"))
    assert place < lines.index("## The thesis' scale: printed numbers and reproductions")


def test_measured_at_paper_scale_stands_against_the_printed_numbers(tmp_path):
    table = load_tables()["table_8_2"]
    grid = table.grids["paper"]

    class Found(Records):
        def seeds(self, run, scale):
            return {0}

        def figure(self, cell, scale, seed):
            return 10.0 if cell.method == "bilinear" and cell.image_size == 56 else None

    rows = tables_to_print(table, Found(tmp_path), "paper")[0].texts()
    assert "-0.8" in [text for row in rows for text in row]  # 10.0 measured, 10.8 printed
    assert [row[1] for row in rows].count("measured") == len(grid.rows)
