"""What the terminal shows of a data set."""

from callbacks.results.table import Table, TableCell
from callbacks.results.terminal import print_tables
from datamodules.common.inputs import printable
from datamodules.common.inspection.findings import DataFinding
from datamodules.common.inspection.inspect_data import DataReport

MOST_FINDINGS, LONGEST = 20, 400


def print_summary(report: DataReport) -> None:
    """Print what the parts and loaders hold, and then what is wrong."""
    print_tables([table for table in (parts_table(report), loaders_table(report)) if table.rows])
    for finding in report.findings[:MOST_FINDINGS]:
        print(f"{finding.level}: {shortened(finding)}")
    if len(report.findings) > MOST_FINDINGS:
        print(f"and {len(report.findings) - MOST_FINDINGS} more, on the page")


def shortened(finding: DataFinding) -> str:
    """Return a finding in one line that a terminal can show, without what was expected and the ways out."""
    text = " ".join(map(printable, str(finding).partition("\nExpected:")[0].split()))
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


def parts_table(report: DataReport) -> Table:
    """Return what the parts of a data set hold."""
    rows = []
    for name, part in report.contents.items():
        stored, boxes, classes = report.stored.get(name), report.boxes.get(name), report.classes.get(name)
        looked_at = stored is not None and len(stored.positions) < stored.count
        cells = [
            f"{len(part.names):,}" + (f" ({len(stored.positions):,} read)" if stored is not None and looked_at else ""),
            str(len(stored.faults)) if stored is not None else "",
            median_size(report, name),
            f"{int((classes.counts > 0).sum())} of {len(classes.names)}" if classes is not None else "",
            f"{boxes.count:,}" if boxes is not None else "",
        ]
        rows.append((name, [TableCell(cell) for cell in cells]))
    return Table("Parts", ["", "samples", "unreadable", "median size", "classes present", "boxes"], rows)


def loaders_table(report: DataReport) -> Table:
    """Return what the loaders give, and how long it takes."""
    rows = []
    for name, loader in report.loaders.items():
        cells = [
            "" if loader.samples is None else f"{loader.samples:,}",
            "" if loader.batches is None else f"{loader.batches:,}",
            seconds(loader.first_seconds),
            seconds(loader.seconds),
            next((loader.entries[key].shape() for key in ("image", "image[]") if key in loader.entries), ""),
        ]
        rows.append((name, [TableCell(cell) for cell in cells]))
    return Table("Loaders", ["", "samples", "batches", "first batch", "then each", "image"], rows)


def median_size(report: DataReport, name: str) -> str:
    """Return the median width and height of the pictures of a part, in words."""
    stored = report.stored.get(name)
    if stored is None or not len(stored.sizes):
        return ""
    width, height = (
        sorted(stored.sizes[:, 0])[len(stored.sizes) // 2],
        sorted(stored.sizes[:, 1])[len(stored.sizes) // 2],
    )
    return f"{width} x {height}"


def seconds(passed: float | None) -> str:
    """Return a time in words."""
    return "" if passed is None else f"{passed:.3g} s"
