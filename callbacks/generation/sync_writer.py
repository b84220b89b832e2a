"""At which offset the sound of a user's own clips fits their pictures, and how surely, written to a table."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from callbacks.results.csv_files import write_csv
from callbacks.results.prediction_writer import PredictionWriter
from metrics.lip_sync import REACH, SURE, sync_scores
from networks.audio import FRAME_RATE
from networks.embedded_clip import EmbeddedClip
from visionscapes.checks import NonNegativeFloat, PositiveInt, check_options

COLUMNS = ("name", "offset frames", "offset ms", "confidence", "distance", "windows", "faces", "remarks")
ENOUGH_FACES = 0.8


class SyncWriter(PredictionWriter):
    """Writes sync.csv into the run folder: the embedded clips that ``predict_step`` returns, one a row.

    Columns: name; the offset in frames and in milliseconds, above 0 where the sound is late; confidence and distance,
    see ``metrics.lip_sync.sync_scores``; the number of windows judged; the share of frames with a face; and remarks,
    those of the data (``batch["remarks"]``, a string a clip, where it is there) and "too short", "faces in 40 %",
    "not sure", and "not a number" where a network or a clip is broken. An offset of low confidence means nothing: so it
    is for silence, noise, dubbed speech, or a face that is not the speaker's. Rows are sorted by name; under DDP the
    first rank writes those of all.

    Args:
        reach: the largest offset tried, in frames of 40 ms.
        sure: the confidence from which on there is no remark.

    Raises:
        UserError: an option is out of its bounds; a module whose ``predict_step`` returns something else.
    """

    needed = "embedded clips"
    remedy = "use it with SyncNet"

    def __init__(self, reach: PositiveInt = REACH, sure: NonNegativeFloat = SURE):
        check_options(SyncWriter, locals())
        super().__init__()
        self.reach, self.sure = reach, sure

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, EmbeddedClip)

    @override
    def write_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: EmbeddedClip
    ) -> dict[str, list[Any]]:
        given = [remark for remark in batch.get("remarks", []) if remark]
        return {outputs.name: self.cells(outputs, given)}

    def cells(self, clip: EmbeddedClip, remarks: list[str]) -> list[Any]:
        """Return the cells of a clip's row behind its name; ``remarks`` come first among its own."""
        score = sync_scores(clip.video, clip.audio, self.reach, clip.known)
        remarks = list(remarks)
        if clip.faces < ENOUGH_FACES:
            remarks.append(f"faces in {100 * clip.faces:.0f} %")
        windows = int(clip.known.sum())
        if score.offset is None:
            finite = clip.video.isfinite().all() and clip.audio.isfinite().all()
            remarks.append("too short" if finite else "not a number")
            return ["", "", "", "", windows, f"{clip.faces:.3f}", "; ".join(remarks)]
        if score.confidence < self.sure:
            remarks.append("not sure")
        milliseconds = score.offset * 1000 // FRAME_RATE
        figures = [score.offset, milliseconds, f"{score.confidence:.4f}", f"{score.distance:.4f}"]
        return [*figures, windows, f"{clip.faces:.3f}", "; ".join(remarks)]

    @override
    def conclude(self, trainer: Trainer, records: Mapping[str, list[Any]]) -> str | None:
        if not records:
            return None
        path = Path(trainer.default_root_dir) / "sync.csv"
        write_csv(path, COLUMNS, ([name, *records[name]] for name in sorted(records)))
        sure = [cells for cells in records.values() if cells[0] != "" and float(cells[2]) >= self.sure]
        near = sum(abs(cells[0]) <= 1 for cells in sure)
        clips = "1 clip" if len(records) == 1 else f"{len(records)} clips"
        return f"{clips}, {len(sure)} with an offset to rely on, {near} of them within a frame: {path}"
