from callbacks.results.table import MISSING, Table, TableCell


def test_texts_are_what_a_csv_has():
    table = Table("T", ["method", "a"], [("base", [TableCell("1.0", best=True)]), ("LiFT", [TableCell()])], ranked=True)
    assert table.texts() == [["method", "a"], ["base", "1.0"], ["LiFT", MISSING]]


def test_a_table_of_texts_marks_nothing():
    table = Table.of_texts("T", ["", "a", "b"], [["row", "1", "2"]])
    assert table.rows == [("row", [TableCell("1"), TableCell("2")])]
    assert not table.ranked
    assert table.texts()[1] == ["row", "1", "2"]
