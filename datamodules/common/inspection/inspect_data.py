"""A data set looked over before a training, by what its data module tells of it and by its first batches."""

import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from pytorch_lightning import LightningDataModule

from datamodules.common.evaluation import OnlyEvaluatesError
from datamodules.common.inspection.batches import LoaderFigures, findings_of_loader, loaders_of, look_at_batches
from datamodules.common.inspection.classes import (
    BoxFigures,
    ClassCounts,
    box_figures,
    class_counts,
    findings_of_boxes,
    findings_of_classes,
)
from datamodules.common.inspection.contents import HasContents, PartContents
from datamodules.common.inspection.examples import example_pictures
from datamodules.common.inspection.files import StoredPart, findings_between, findings_of_files, look_at_files
from datamodules.common.inspection.findings import DataFinding
from visionscapes.errors import UserError, in_words

EXAMPLES = 24  # pictures of a loader


@dataclass
class DataReport:
    """What was found.

    Attributes:
        name: of the data module's class.
        contents: what the data module told, by part.
        stored: what the files of the parts have shown.
        classes: how often classes occur, by part.
        boxes: figures of boxes, by part.
        loaders: what the first batches have shown, by loader.
        examples: pictures of the first batches, by loader.
        findings: what is wrong, errors first.
    """

    name: str
    contents: dict[str, PartContents] = field(default_factory=dict)
    stored: dict[str, StoredPart] = field(default_factory=dict)
    classes: dict[str, ClassCounts] = field(default_factory=dict)
    boxes: dict[str, BoxFigures] = field(default_factory=dict)
    loaders: dict[str, LoaderFigures] = field(default_factory=dict)
    examples: dict[str, list[Image.Image]] = field(default_factory=dict)
    findings: list[DataFinding] = field(default_factory=list)

    @property
    def errors(self) -> list[DataFinding]:
        """What a training would end of, or learn nonsense of."""
        return [finding for finding in self.findings if finding.level == "error"]

    @property
    def warnings(self) -> list[DataFinding]:
        """What else is worth a look."""
        return [finding for finding in self.findings if finding.level == "warning"]


def inspect_data(datamodule: LightningDataModule, *, files: int | None = None, batches: int = 3) -> DataReport:
    """Look a data set over.

    Args:
        datamodule: as constructed.
        files: samples of every part that are read whole, spread evenly; all if None.
        batches: of every loader that are looked at.
    """
    report = DataReport(type(datamodule).__name__)
    if hasattr(datamodule, "check_files"):
        datamodule.check_files = False  # of which the first fault would end it: all files are read below
    with _collected(report.findings):
        if not _tried(report, "setup", lambda: _set_up(datamodule)) and not _set_up_without_missing(report, datamodule):
            return report
        if isinstance(datamodule, HasContents):
            _tried(report, "contents", lambda: report.contents.update(datamodule.contents()))
        skipped = tuple(map(str, getattr(datamodule, "skipped", ())))
        if skipped:
            report.findings.append(
                DataFinding("warning", "", f"{len(skipped)} files cannot be read and are left out", examples=skipped)
            )
        for name, part in report.contents.items():
            _look_at_part(report, name, part, files=files)
        report.findings += findings_between(report.stored)
        report.findings += findings_of_classes(report.classes)
        for name, loader in _loaders(report, datamodule).items():
            figures = look_at_batches(loader, batches)
            report.loaders[name] = figures
            report.findings += findings_of_loader(name, figures)
            report.examples[name] = example_pictures(figures.first_batch, EXAMPLES)
            figures.first_batch = None
    if not report.contents:
        report.findings += _repeated(report.loaders)
    distinct = dict.fromkeys(report.findings)  # what is read twice is told once
    report.findings = sorted(distinct, key=lambda finding: finding.level)  # "error" before "warning"
    return report


def _set_up(datamodule: LightningDataModule) -> None:
    datamodule.prepare_data()
    datamodule.setup("fit")


def _set_up_without_missing(report: DataReport, datamodule: LightningDataModule) -> bool:
    """Set up what is there, so that it is looked at although something is missing; return whether that went well.

    Whatever is wrong besides is an error of its own, which is told beside the first.
    """
    if getattr(datamodule, "skip_missing", True):
        return False
    vars(datamodule)["skip_missing"] = True
    try:
        _set_up(datamodule)
    except Exception as error:
        other = _error("setup", error)
        if other not in report.findings:  # the first one again
            report.findings.append(other)
        return False
    return True


def _look_at_part(report: DataReport, name: str, part: PartContents, *, files: int | None) -> None:
    stored = look_at_files(name, part, files)
    report.stored[name] = stored
    report.findings += findings_of_files(name, part, stored)
    counts = class_counts(part, stored)
    if counts is not None:
        report.classes[name] = counts
    if part.boxes is not None:
        figures = box_figures(part.boxes, len(part.names))
        report.boxes[name] = figures
        report.findings += findings_of_boxes(name, part.boxes, figures)


def _loaders(report: DataReport, datamodule: LightningDataModule) -> dict[str, Any]:
    """Return the loaders of training and validation, or those of the test of a data set that only evaluates."""
    loaders: dict[str, Any] = {}

    def add(name: str, make: Callable[[], Any]) -> bool:
        return _tried(report, name, lambda: loaders.update(loaders_of(make(), name)))

    try:
        made = datamodule.train_dataloader()
    except OnlyEvaluatesError:
        if _tried(report, "setup", lambda: datamodule.setup("test")):
            add("test", datamodule.test_dataloader)
        return loaders
    except Exception as error:
        report.findings.append(_error("train", error))
    else:
        loaders |= loaders_of(made, "train")
    if type(datamodule).val_dataloader is not LightningDataModule.val_dataloader:
        before = len(loaders)
        if add("val", datamodule.val_dataloader) and len(loaders) == before:
            report.findings.append(DataFinding("warning", "val", "nothing is held out for validation"))
    return loaders


def _repeated(loaders: Mapping[str, LoaderFigures]) -> Iterator[DataFinding]:
    """Yield which pictures come more than once in the first batches of data that tell nothing of their files."""
    trained = set[bytes]()
    for name, figures in loaders.items():
        twice = sum(count - 1 for count in Counter(figures.digests).values())
        if twice:
            text = f"{twice} of {len(figures.digests)} pictures of the first {figures.looked_at} batches came before"
            yield DataFinding("warning", name, text)
        if name.startswith("train"):
            trained |= set(figures.digests)
        elif shared := trained & set(figures.digests):
            yield DataFinding("warning", name, f"{len(shared)} pictures of its first batches are in those of train too")


def _tried(report: DataReport, part: str, work: Callable[[], object]) -> bool:
    try:
        work()
    except Exception as error:
        report.findings.append(_error(part, error))
        return False
    return True


def _error(part: str, error: Exception) -> DataFinding:
    return DataFinding("error", part, str(error) if isinstance(error, UserError) else in_words(error))


class _Recorder(logging.Handler):
    """Keeps what data modules tell while they are set up and read."""

    def __init__(self, findings: list[DataFinding]):
        super().__init__(logging.WARNING)
        self.findings = findings

    def emit(self, record: logging.LogRecord) -> None:
        self.findings.append(DataFinding("warning", "", record.getMessage()))


@contextmanager
def _collected(findings: list[DataFinding]) -> Iterator[None]:
    """Take what is told by log and warnings for findings."""
    recorder, logger = _Recorder(findings), logging.getLogger("datamodules")
    logger.addHandler(recorder)
    try:
        with warnings.catch_warnings(record=True) as caught:
            yield
    finally:
        logger.removeHandler(recorder)
    seen = dict.fromkeys(str(warning.message) for warning in caught if issubclass(warning.category, UserWarning))
    findings += [DataFinding("warning", "", text) for text in seen]
