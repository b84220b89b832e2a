from command_line.subcommands.data_check.summary import LONGEST, loaders_table, parts_table, print_summary, shortened
from datamodules.common.inspection.batches import Entry, LoaderFigures
from datamodules.common.inspection.findings import DataFinding
from datamodules.common.inspection.inspect_data import DataReport
from tests.command_line.subcommands.data_check.test_numbers import report_of


def test_parts_and_loaders_are_rows(tmp_path, capsys):
    report = report_of(tmp_path)
    image = Entry("float32", [(2, 3, 8, 8)])
    report.loaders = {
        "train": LoaderFigures(samples=1234, batches=617, first_seconds=0.1234, entries={"image[]": image})
    }
    assert parts_table(report).texts()[1] == ["train", "3", "0", "40 x 30", "", ""]
    assert loaders_table(report).texts()[1] == ["train", "1,234", "617", "0.123 s", "", "2 x 3 x 8 x 8"]
    print_summary(report)
    output = capsys.readouterr().out
    assert "error: train: bad" in output
    assert "warning: odd thing: a b" in output


def test_many_findings_are_not_all_printed(capsys):
    print_summary(DataReport("Data", findings=[DataFinding("warning", "", f"odd {k}") for k in range(30)]))
    output = capsys.readouterr().out
    assert "odd 19" in output
    assert "odd 20" not in output
    assert "and 10 more, on the page" in output


def test_a_finding_is_one_line():
    assert len(shortened(DataFinding("error", "", "x" * 1000))) < LONGEST + 10
    assert shortened(DataFinding("error", "", "a\x1b  b\nMissing: c\nExpected:\nd")) == r"a\x1b b Missing: c"
