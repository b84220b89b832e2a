"""To which source a user's own images are attributed, written to a table."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from callbacks.results.csv_files import write_csv
from callbacks.results.prediction_writer import PredictionWriter, name_in_table, root_of_data
from callbacks.source_discovery.round_outcome import number

KEYS = ("name", "distance", "margin", "probability")


class AttributionWriter(PredictionWriter):
    """Writes attributions.csv into the run folder: what ``predict_step`` returns for the batches of task "predict".

    That is a dict with "name" (B names of sources, clusters, or "unknown"), "distance" (B,) to what it is
    named after, "margin" (B,) the threshold of its detector less that, positive inside, and "probability" (B,) that
    the classifier gives; with "fake_probability" (B,) too, the file is one that ``RealFakeVote`` reads. Images are
    named by their paths below the datamodule's root and sorted; under DDP the first rank writes those of all.

    Raises:
        UserError: a module whose ``predict_step`` returns something else.
    """

    needed = "attributions"
    remedy = "use it with GANDiscovery"

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, Mapping) and outputs.keys() >= set(KEYS)

    @override
    def write_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> dict[str, list[str]]:
        root = root_of_data(trainer)
        columns = [outputs["name"], *([number(x) for x in outputs[key].float().tolist()] for key in KEYS[1:])]
        return {name_in_table(path, root): cells for path, *cells in zip(batch["path"], *columns, strict=True)}

    @override
    def conclude(self, trainer: Trainer, records: Mapping[str, list[str]]) -> str | None:
        if not records:
            return None
        path = Path(trainer.default_root_dir) / "attributions.csv"
        write_csv(path, ["image", "source", *KEYS[1:]], ([name, *records[name]] for name in sorted(records)))
        counts = Counter(cells[0] for cells in records.values())
        unknown = counts.pop("unknown", 0)
        most = ", ".join(f"{name} {count}" for name, count in counts.most_common(5))
        more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
        return f"{len(records)} images, {unknown} of unknown sources{f'; {most}{more}' if most else ''}: {path}"
