"""The figures of a data set as JSON holds them."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from datamodules.common.inputs import printable
from datamodules.common.inspection.classes import quantiles
from datamodules.common.inspection.files import StoredPart, copies
from datamodules.common.inspection.inspect_data import DataReport


def as_numbers(report: DataReport) -> dict[str, Any]:
    """Return all figures of a report."""
    return {
        "data": report.name,
        "errors": len(report.errors),
        "warnings": len(report.warnings),
        "findings": [
            {
                "level": each.level,
                "part": each.part,
                "text": printable(each.text),
                "examples": [printable(example) for example in each.examples],
            }
            for each in report.findings
        ],
        "parts": {name: _part(report, name) for name in report.contents},
        "loaders": {
            name: {
                "samples": loader.samples,
                "batches": loader.batches,
                "looked_at": loader.looked_at,
                "first_seconds": loader.first_seconds,
                "seconds": loader.seconds,
                "fault": loader.fault,
                "entries": {
                    key: {
                        "kind": entry.kind,
                        "shape": entry.shape(),
                        "least": entry.least,
                        "most": entry.most,
                        "not_finite": entry.nans,
                        "count": entry.count,
                    }
                    for key, entry in loader.entries.items()
                },
            }
            for name, loader in report.loaders.items()
        },
    }


def size_figures(stored: StoredPart) -> Mapping[str, list[float]]:
    """Return the 5, 50 and 95 % quantiles of width, height and aspect ratio of pictures."""
    if not len(stored.sizes):
        return {}
    width, height = stored.sizes.T
    return {"width": quantiles(width), "height": quantiles(height), "width by height": quantiles(width / height)}


def _part(report: DataReport, name: str) -> dict[str, Any]:
    numbers: dict[str, Any] = {"described": dict(report.contents[name].described)}
    stored = report.stored.get(name)
    if stored is not None:
        numbers |= {
            "samples": stored.count,
            "looked_at": len(stored.positions),
            "unreadable": [printable(fault) for fault in stored.faults.values()],
            "copies": [[stored.named(position) for position in group] for group in copies(stored)],
            "one_colour": list(stored.plain),
            "sizes": dict(size_figures(stored)),
        }
    if name in report.classes:
        counts = report.classes[name]
        numbers["classes"] = {
            "counted": counts.things,
            "counts": [[each, count] for each, count in zip(counts.names, counts.counts.tolist(), strict=True)],
        }
    if name in report.boxes:
        numbers["boxes"] = asdict(report.boxes[name])
    return numbers
