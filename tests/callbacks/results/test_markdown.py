from callbacks.results.markdown import markdown_table
from callbacks.results.table import Table, TableCell


def test_columns_are_aligned_and_cells_cannot_be_left():
    lines = markdown_table(Table.of_texts("", ["", "a|b"], [["row", "1"], ["longer row", "22.5"]]))
    assert lines[0] == "|            | a\\|b |"
    assert lines[1] == "| ---------- | ---: |"
    assert len({len(line) for line in lines}) == 1


def test_the_best_is_bold_and_the_close_marked():
    cells = [TableCell("60.0", best=True, close=True), TableCell("58.0", close=True), TableCell()]
    assert markdown_table(Table("T", ["m", "a", "b", "c"], [("x", cells)]))[2] == "| x   | **60.0** | 58.0 ~ |   – |"


def test_names_are_shown_letter_by_letter():
    lines = markdown_table(Table.of_texts("", ["*a*", "b_"], [["MAE*|x", "<b>"], ["`c`", "\\"]]))
    assert lines[0] == "| \\*a\\*    |  b\\_ |"
    assert lines[2] == "| MAE\\*\\|x | \\<b> |"
    assert lines[3] == "| \\`c\\`    |   \\\\ |"


def test_cells_may_hold_markup_where_they_are_said_to():
    lines = markdown_table(Table.of_texts("", ["", "run"], [["New Real*", "`a_b | c`"]]), markup=True)
    assert lines[2] == "| New Real* | `a_b \\| c` |"
