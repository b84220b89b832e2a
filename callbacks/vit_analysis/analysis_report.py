"""Figures, tables and page of chapter 2, at the end of an analysis."""

from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, cast

from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from callbacks.dense.evaluation import DenseEvaluation
from callbacks.results.result import Result, write_results
from callbacks.results.terminal import print_tables
from callbacks.vit_analysis.layer_evaluation import LayerEvaluation, layered_of
from callbacks.vit_analysis.observations import observe
from callbacks.vit_analysis.report.arrays import AnalysedModel, read_arrays, write_arrays
from callbacks.vit_analysis.report.draw import draw_report
from callbacks.vit_analysis.report.tables import tables
from visionscapes.errors import UserError

TABLE = "2.1"  # of the thesis, the one that is printed


class _DescribesModels(Protocol):
    def described(self) -> list[dict]: ...


class AnalysisReport(Callback):
    """Draws the figures, tables and index.html of chapter 2 from what the other callbacks have left in ``arrays/``.

    Also writes results/observations.csv: the scalars behind the observations of table 2.3, one row a model or pair of
    models. List it last. The report can be drawn again without the models: ``python -m callbacks.vit_analysis.report``.
    """

    prints_results = True  # so that Lightning's own table of a test is left out

    @override
    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Leave out the test data that nobody needs, because what they give was measured before.

        Raises:
            UserError: the data have nothing to test on.
        """
        data: Any = getattr(trainer, "datamodule", None)
        if stage != "test" or not hasattr(data, "only"):
            return
        evaluations = [c for c in trainer.callbacks if isinstance(c, LayerEvaluation | DenseEvaluation)]  # type: ignore[attr-defined]
        data.only(None)  # an earlier pass has left some out
        loaders = data.test_dataloader()
        if not loaders:
            raise UserError("the data have nothing to test on: choose tasks, as with --data.tasks")
        needed = {task for each in evaluations for task in each.needed_tasks(trainer, pl_module)}
        # Lightning does nothing at all without data, so that the least remains.
        least = min(loaders, key=lambda name: len(loaders[name])).partition("@")[0]
        data.only(needed or {least})

    @override
    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        described = cast(_DescribesModels, pl_module).described()
        if not trainer.is_global_zero or len(layered_of(pl_module)) < len(described):
            return  # another pass, with the other models, is to come
        folder = Path(trainer.default_root_dir)
        write_arrays(folder, [AnalysedModel(**{**model, "grid": tuple(model["grid"])}) for model in described])
        size = next(iter(layered_of(pl_module).values())).data_size
        measured = read_arrays(folder, [])
        models = {model.name: (model, model.arrays) for model in measured}
        nan = float("nan")
        rows = [
            Result("observations", metric, method, image_size=size, value=value, standard_error=nan, count=0)
            for metric, method, value in observe(models)
        ]
        write_results(rows, folder / "results" / "observations.csv")
        draw_report(folder)
        if table := tables(measured).get(TABLE):
            print_tables([replace(table, title=f"Table {TABLE}: {table.title}")])
        print(f"figures and tables: {folder / 'index.html'}")
