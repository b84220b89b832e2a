"""How results change with the number of photographs of a person, with and without fine-tuning."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from callbacks.results.csv_files import write_csv
from callbacks.results.figures import PALETTE, new_figure, save_figure
from callbacks.results.result import Result
from callbacks.results.result_table import results_of
from networks.reenacted import parsed_method

# The panels of Figure 6.6 and L1: what the names of their metrics begin with, and which way is better.
PANELS = {"ID-SIM": "higher", "NMKE": "lower", "FID": "lower", "Frechet distance": "lower", "L1": "lower"}
COLUMNS = ("metric", "shots", "fine_tuned", "value", "standard_error", "count")
UNMOVED = "source unmoved"
_FINE_TUNED, _META_LEARNED = PALETTE[5], PALETTE[3]
Curves = dict[str, dict[bool, list[Result]]]


class ShotCurves(Callback):
    """Draws what the other callbacks of a test have measured over the number of shots (Figure 6.6).

    In the run folder: pictures/shot_curves.png, a panel each for ID-SIM, NMKE, FID and L1, of what there is, with the
    meta-learned network dotted and the fine-tuned ones solid, standard errors where they are known, and the source that
    does not move as a grey line; results/shot_curves.csv, the same as numbers. Nothing is measured anew, and nothing is
    drawn where no method is named after its shots, as those of LSR are ("K = 4", "K = 4, fine-tuned").
    """

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        rows = results_of(trainer.callbacks)[0]  # type: ignore[attr-defined]
        curves = curves_of(rows)
        if not curves:
            return
        folder = Path(trainer.default_root_dir)
        write_csv(folder / "results" / "shot_curves.csv", COLUMNS, lines_of(curves))
        save_figure(draw(curves, unmoved_of(rows)), folder / "pictures" / "shot_curves.png")


def curves_of(rows: Iterable[Result]) -> Curves:
    """Return the curves by metric and by whether they are fine-tuned, each in the order of K.

    Args:
        rows: of all callbacks; of metrics that two protocols have, such as L1, the first one's count.
    """
    curves: Curves = {}
    protocols: dict[str, str] = {}
    for row in rows:
        method = parsed_method(row.method)
        known = any(row.metric == start or row.metric.startswith(f"{start} (") for start in PANELS)
        if method is None or not known or protocols.setdefault(row.metric, row.protocol) != row.protocol:
            continue
        curves.setdefault(row.metric, {}).setdefault(method[1], []).append(row)
    order = list(PANELS)
    names = sorted(curves, key=lambda name: next(k for k, start in enumerate(order) if name.startswith(start)))
    return {name: {tuned: sorted(each, key=_shots) for tuned, each in sorted(curves[name].items())} for name in names}


def unmoved_of(rows: Iterable[Result]) -> dict[str, float]:
    """Return what the source that does not move has, by metric."""
    return {row.metric: row.value for row in rows if row.method == UNMOVED}


def lines_of(curves: Curves) -> list[list[Any]]:
    """Return the points as lines of ``COLUMNS``."""
    return [
        [metric, _shots(row), tuned, row.value, row.standard_error, row.count]
        for metric, both in curves.items()
        for tuned, points in both.items()
        for row in points
    ]


def draw(curves: Curves, unmoved: Mapping[str, float]) -> Any:
    """Return the figure, a panel a metric."""
    figure = new_figure(3.3 * len(curves), 3.2)
    for panel, (metric, both) in zip(figure.subplots(1, len(curves), squeeze=False)[0], curves.items(), strict=True):
        if metric in unmoved:
            panel.axhline(unmoved[metric], color="0.6", linewidth=1, label=UNMOVED)
        for tuned, points in both.items():
            _curve(panel, points, tuned)
        shots = sorted({_shots(row) for points in both.values() for row in points})
        panel.set_xscale("log", base=2)
        panel.set_xticks(shots, [str(each) for each in shots])
        panel.minorticks_off()
        panel.set_xlabel("K, photographs of the person")
        better = next(way for start, way in PANELS.items() if metric.startswith(start))
        panel.set_title(f"{metric}\n({better} is better)", fontsize=9)
        panel.grid(alpha=0.3)
    figure.axes[0].legend(frameon=False, fontsize=8)
    return figure


def _curve(panel: Any, points: Sequence[Result], tuned: bool) -> None:
    """Draw the points of one curve, with their standard errors where they are known."""
    errors = [row.standard_error if row.standard_error == row.standard_error else 0.0 for row in points]
    panel.errorbar(
        [_shots(row) for row in points],
        [row.value for row in points],
        errors,
        color=_FINE_TUNED if tuned else _META_LEARNED,
        linestyle="-" if tuned else ":",
        marker="o",
        markersize=4,
        linewidth=1.6,
        elinewidth=0.8,
        capsize=2,
        label="fine-tuned" if tuned else "meta-learned",
    )


def _shots(row: Result) -> int:
    method = parsed_method(row.method)
    assert method is not None
    return method[0]
