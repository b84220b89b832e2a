import numpy as np

from command_line.subcommands.data_check.page import MOST_CLASSES, page_of
from datamodules.common.inspection.batches import Entry, LoaderFigures
from datamodules.common.inspection.classes import ClassCounts, box_figures
from datamodules.common.inspection.contents import Boxes, PartContents
from datamodules.common.inspection.findings import DataFinding
from datamodules.common.inspection.inspect_data import DataReport


def test_everything_stands_on_the_page_and_is_escaped():
    boxes = Boxes(np.array([[0, 0, 9, 9]], np.float32), np.array([0]), np.array([[30, 40]]))
    classes = ClassCounts("boxes", tuple(f"class <{k}>" for k in range(50)), np.arange(50, 0, -1))
    report = DataReport(
        "Data",
        {"train": PartContents(["x"], open=None, boxes=boxes, described={"captions": 1234})},
        classes={"train": classes},
        boxes={"train": box_figures(boxes, 1)},
        loaders={"train": LoaderFigures(samples=1, entries={"image": Entry("uint8", [(1, 2)], 0, 255)})},
        findings=[
            DataFinding("warning", "train", "odd <b>", tuple("abcdef")),
            DataFinding("warning", "", "two\nlines"),
        ],
    )
    page = page_of(report, {"examples_train.png": b"png"})
    for text in ("odd &lt;b&gt;", "class &lt;0&gt;", "1,234", "data:image/png;base64,cG5n", "0 to 255", "two\nlines"):
        assert text in page, text
    assert f"class &lt;{MOST_CLASSES}&gt;" not in page
    assert "10 rarer classes" in page
    assert "2 warnings" in page


def test_an_empty_report_is_a_page_too():
    assert "Nothing stands in the way of a training; no warnings" in page_of(DataReport("Data"), {})
