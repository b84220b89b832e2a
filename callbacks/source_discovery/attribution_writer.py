"""To which source a user's own images are attributed, written to a table."""

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from callbacks.results.csv_files import write_csv
from callbacks.source_discovery.observed import everywhere, number
from visionscapes.errors import UserError

KEYS = ("name", "distance", "margin", "probability")


class AttributionWriter(Callback):
    """Writes attributions.csv into the run folder: what ``predict_step`` returns for the batches of task "predict".

    That is a dict with "name" (B names of sources, clusters, or "unknown"), "distance" (B,) to the detector that
    accepts most readily, "margin" (B,) its threshold less the distance, positive inside, and "probability" (B,) that
    the classifier gives; with "fake_probability" (B,) too, the file is one that ``RealFakeVote`` reads. Images are
    named by their paths below the datamodule's root and sorted; under DDP the first rank writes those of all.

    Raises:
        UserError: a module whose ``predict_step`` returns something else.
    """

    def __init__(self) -> None:
        self._rows: dict[str, list[str]] = {}

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        self._rows = {}
        trainer.predict_loop.return_predictions = False

    def on_predict_batch_end(  # noqa: D102
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(batch, Mapping) or batch.get("task") != "predict":
            return
        if not isinstance(outputs, Mapping) or not outputs.keys() >= set(KEYS):
            raise UserError(
                f"AttributionWriter needs attributions, which {type(pl_module).__name__} does not predict: use it with "
                "GANDiscovery, or leave the callback out"
            )
        root = getattr(trainer.datamodule, "root", None)  # type: ignore[attr-defined]
        columns = [outputs["name"], *([number(x) for x in outputs[key].float().tolist()] for key in KEYS[1:])]
        for path, *cells in zip(batch["path"], *columns, strict=True):
            self._rows[image_name(path, root)] = cells

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: D102
        rows, self._rows = everywhere(self._rows), {}
        if not rows or not trainer.is_global_zero:
            return
        path = Path(trainer.default_root_dir) / "attributions.csv"
        write_csv(path, ["image", "source", *KEYS[1:]], ([name, *rows[name]] for name in sorted(rows)))
        counts = Counter(cells[0] for cells in rows.values())
        unknown = counts.pop("unknown", 0)
        most = ", ".join(f"{name} {count}" for name, count in counts.most_common(5))
        more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
        print(f"{len(rows)} images, {unknown} of unknown sources{f'; {most}{more}' if most else ''}: {path}")


def image_name(path: str, root: str | Path | None) -> str:
    """Return the name of an image in the table: its path below ``root``, or the path that it has elsewhere."""
    absolute = Path(os.path.abspath(path))  # not resolve(): a link keeps its own name
    if root is not None and absolute.is_relative_to(os.path.abspath(root)):
        return absolute.relative_to(os.path.abspath(root)).as_posix()
    return path
