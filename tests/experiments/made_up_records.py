"""Records with figures that are made to bear a claim out, or not."""

import numpy as np
from scipy.optimize import linprog

from experiments.claims import CONSTANT, Verdict
from experiments.records import Record, Records, run_id


def synthetic(tmp_path, grid, scale, seeds, figure):
    """Write a record of every run of a grid; ``figure`` gives the figure of a row, a column and a seed."""
    records = Records(tmp_path)
    for seed in seeds:
        metrics = {}
        for (row, column), cell in grid.cells.items():
            value = figure(row, column, seed) / cell.factor
            row_of_run = [cell.metric, cell.method, cell.image_size, value, None, 1]
            metrics.setdefault(cell.runs[0], []).append(row_of_run)
        for run, rows in metrics.items():
            known = {"command": ["fit"], "inputs": {}, "started": "", "wall_time": 1.0, "provenance": {}}
            records.save(Record(id=run_id(run, scale, seed), scale=scale, seed=seed, metrics=rows, **known))
    return records


def figures_for(contrasts, verdict):
    """Return figures by row and column under which all comparisons are right, or the first one is wrong."""
    cells = sorted({cell for contrast in contrasts for cell in contrast if cell != CONSTANT})
    weights = np.array([[contrast.get(cell, 0.0) for cell in cells] for contrast in contrasts])
    constants = np.array([contrast.get(CONSTANT, 0.0) for contrast in contrasts])
    if verdict is Verdict.FAILS:
        figures = -(1 + constants[0]) * weights[0] / (weights[0] ** 2).sum()
        return dict(zip(cells, figures, strict=True))
    # The largest margin that all of them can have together, at most 1, and the figures that give it.
    margin = np.ones((len(contrasts), 1))
    bounds = [*[(-100, 100)] * len(cells), (None, 1)]
    found = linprog([*[0] * len(cells), -1], np.hstack([-weights, margin]), constants, bounds=bounds)
    assert found.x[-1] > 0.02, "comparisons that cannot be right together"
    return dict(zip(cells, found.x, strict=False))
