"""Whether pictures and sound of whole clips fit, and at which offset, as a SyncNet sees it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer
from typing_extensions import override

from callbacks.generation.evaluation import report
from callbacks.results.csv_files import write_csv
from callbacks.results.figures import PALETTE, new_figure, save_figure
from callbacks.results.presentation import HIGHER, LOWER, SHARE, MetricKind, Presentation
from callbacks.results.result import Result
from metrics.estimate import Estimate
from metrics.lip_sync import REACH, LipSync
from metrics.sync_pairs import SyncPairs, held_out_pairs
from networks.embedded_clip import EmbeddedClip
from visionscapes.checks import PositiveInt, check_options
from visionscapes.errors import UserError

TASK = "clip"


class LipSyncEvaluation(Callback):
    """Accuracy, AUC, offsets, Sync_c and Sync_d of whole clips, in validation and tests (thesis 6.2.2.1).

    It takes what ``validation_step`` or ``test_step`` returns for batches of task "clip", an
    ``networks.embedded_clip.EmbeddedClip``. Protocol "lip_sync", method "video": "accuracy" and "AUC" over pairs of a
    clip's pictures with their own sound and pictures at least 5 frames away, see ``metrics.sync_pairs``; "within 1
    frame", "offset" in frames, "Sync_c" and "Sync_d", see ``metrics.lip_sync``. Rows are logged as
    ``lip_sync/<metric>/video`` and written to results/lip_sync.csv in the run folder; how many clips have which offset
    to results/offsets.csv and pictures/offsets.png. Exact under DDP.

    Args:
        reach: the largest offset tried, in frames of 40 ms.
        validate: whether to measure in validation epochs too, and not in tests alone.

    Raises:
        UserError: ``reach`` is below 1; in the run, a module that embeds no clips.
    """

    protocol = "lip_sync"
    presentation = Presentation(
        "Lip synchronisation",
        HIGHER,
        {
            "accuracy": SHARE,
            "AUC": SHARE,
            "within": SHARE,
            "offset": MetricKind("lower", digits=".2f"),
            "Sync_d": LOWER,
        },
        columns=6,
    )

    def __init__(self, reach: PositiveInt = REACH, validate: bool = True):
        check_options(LipSyncEvaluation, locals())
        self.reach, self.validate = reach, validate
        self.results: list[Result] = []
        self._start()

    def _start(self) -> None:
        self._pairs, self._sync, self._taken = SyncPairs(), LipSync(self.reach), False

    @override
    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()

    @override
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not isinstance(batch, Mapping) or batch.get("task") != TASK:
            return
        if not isinstance(outputs, EmbeddedClip):
            raise UserError(
                f"LipSyncEvaluation needs embedded clips, which {type(pl_module).__name__} does not return for a batch "
                "of task 'clip': use it with SyncNet, or leave the callback out"
            )
        self._taken = True
        for metric in (self._pairs, self._sync):
            metric.to(pl_module.device)
        true, false = held_out_pairs(outputs.video, outputs.audio, outputs.known, outputs.name)
        self._pairs.update(true, false, outputs.threshold)
        self._sync.update(outputs.video, outputs.audio, outputs.known)

    @override
    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        for metric in (self._pairs, self._sync):
            metric.to(pl_module.device)
        figures: dict[str, Estimate] = {**self._pairs.compute(), **self._sync.compute()}
        histogram = self._sync.histogram()
        names = ("accuracy", "AUC", "within 1 frame", "offset", "Sync_c", "Sync_d")
        size = int(getattr(getattr(trainer, "datamodule", None), "face_size", 0) or 0)
        rows = [_row(self.protocol, name, size, figures[name]) for name in names if figures[name][2]]
        taken = self._taken
        self._start()
        if not rows:
            if taken:
                pl_module.print(
                    "lip_sync: no clip has enough windows with a face and sound to be judged: take longer clips"
                )
            return
        self.results = rows
        report(rows, self.protocol, trainer, pl_module)
        if trainer.is_global_zero:
            counts = list(zip(range(-self.reach, self.reach + 1), histogram.tolist(), strict=True))
            write_csv(Path(trainer.default_root_dir) / "results" / "offsets.csv", ["offset", "clips"], counts)
            save_offsets(counts, Path(trainer.default_root_dir) / "pictures" / "offsets.png")

    @override
    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._start()

    @override
    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, *rest: Any) -> None:
        if self.validate and not trainer.sanity_checking:
            self.on_test_batch_end(trainer, pl_module, *rest)

    @override
    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self.validate and not trainer.sanity_checking:
            self.on_test_epoch_end(trainer, pl_module)


def _row(protocol: str, name: str, size: int, figure: Estimate) -> Result:
    return Result(
        protocol,
        name,
        "video",
        image_size=size,
        value=float(figure.value),
        standard_error=float(figure.standard_error),
        count=figure.count,
    )


def save_offsets(counts: list[tuple[int, int]], path: Path) -> None:
    """Write a bar chart of how many clips have which offset in frames, as PNG."""
    figure = new_figure(6, 2.6)
    axes = figure.subplots()
    axes.bar(*zip(*counts, strict=True), color=PALETTE[5])
    axes.set_xlabel("offset (frames of 40 ms; above 0 the sound is late)")
    axes.set_ylabel("clips")
    axes.spines[["top", "right"]].set_visible(False)
    save_figure(figure, path)
