"""Run folders as commands leave them."""

import json
from pathlib import Path
from typing import Any


def write_run(root: Path, name: str, results: str = "", options: str = "", **manifest: Any) -> Path:
    """Write a run folder and return its path.

    Args:
        root: folder of all runs.
        name: "<method>/<name>".
        results: content of a CSV file of results; none if empty.
        options: content of the saved configuration; none if empty.
        manifest: what its manifest says beside the defaults.
    """
    folder = root / name
    folder.mkdir(parents=True, exist_ok=True)
    start = {
        "command": ["cli.py", "fit"],
        "status": "finished",
        "start": "2026-01-01T00:00:00+00:00",
        "wall_time_s": 1.0,
    }
    (folder / "manifest.json").write_text(json.dumps(start | manifest))
    if results:
        (folder / "results").mkdir(exist_ok=True)
        (folder / "results" / "all.csv").write_text(results)
    if options:
        (folder / "cli_config.yaml").write_text(options)
    return folder
