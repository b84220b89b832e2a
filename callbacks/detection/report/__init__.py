"""The report on a detector: classes, curves, confusions, labels and worst mistakes, as files and as a page."""
