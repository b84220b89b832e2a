from datamodules.common.inspection.findings import DataFinding


def test_a_finding_reads_as_a_sentence_with_a_few_examples():
    assert str(DataFinding("warning", "", "odd")) == "odd"
    assert str(DataFinding("error", "train", "3 files", ("a", "b", "c"))) == "train: 3 files: a, b, c"
    assert str(DataFinding("error", "train", "many", tuple("abcdefg"))) == "train: many: a, b, c, d, e, ..."
