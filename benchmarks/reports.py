"""What a benchmark reports: its figures with date, hardware, settings and load, printed and written as JSON."""

import argparse
import datetime
import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks.timing import hardware, slug
from visionscapes.files import write_json

RESULTS = Path(__file__).parent / "results"


def parser_of(description: str | None, names: Sequence[str] = (), devices: bool = True) -> argparse.ArgumentParser:
    """Return a parser with the options that benchmarks share.

    Args:
        description: the docstring of the benchmark.
        names: of its parts, each of which can be run alone with --only; no such option without any.
        devices: whether it can run on a GPU; --device and --threads then.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="tiny sizes: the figures mean nothing")
    if devices:
        parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
        parser.add_argument("--threads", type=int, default=2, help="threads of torch on the CPU")
    if names:
        parser.add_argument("--only", nargs="+", default=list(names), choices=list(names))
    parser.add_argument(
        "--output", type=Path, help="folder for the JSON file; by default that of the committed results"
    )
    return parser


def new_report(settings: Any, device: str = "cpu") -> dict[str, Any]:
    """Return a report without figures yet: date, hardware, settings (a dataclass) and load."""
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "hardware": hardware(device),
        "settings": asdict(settings),
        "load_average_before": os.getloadavg(),
    }


def finish(report: dict[str, Any], name: str, options: argparse.Namespace) -> Path | None:
    """Print a report and write it to <name>-<device>-<date>.json; after a quick run only where --output says so.

    Args:
        report: of ``new_report``, with its figures.
        name: of the benchmark.
        options: "quick" and "output".

    Returns:
        The folder of the file, None if none was written.
    """
    report["load_average_after"] = os.getloadavg()
    print(json.dumps(report, indent=2))
    folder = options.output or (None if options.quick else RESULTS)
    if folder is not None:
        write_json(folder / f"{name}-{slug(report['hardware']['device'])}-{report['date']}.json", report)
    return folder
