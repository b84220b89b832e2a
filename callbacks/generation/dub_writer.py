"""Videos with new mouths, written as they come, and what it took beside each."""

import time
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.results.prediction_writer import PredictionWriter
from networks.dubbed import Dubbed
from networks.pasting import paste
from visionscapes.checks import Bounds, check_options
from visionscapes.errors import UserError
from visionscapes.files import make_folder, write_json
from visionscapes.media.containers import told_if_unwritable
from visionscapes.media.video_writer import Preset, VideoWriter
from visionscapes.processes import gather_objects

DRAWN = "these weights know drawn faces only: real ones will not look right"
Feather = Annotated[float, Bounds(above=0, most=0.5)]


class DubWriter(PredictionWriter):
    """Writes dubbed videos into the run folder: dubbed/<name>_dubbed.mp4, with the new sound, and <name>_dubbed.json.

    Chunks of a video come in order, as `VideosToDub` gives them, and are encoded at once. Of each frame only the mask
    is replaced, turned with the head, with a soft edge, at the frame's own resolution: all other pixels go to the
    encoder as they were. A video appears when its last frame is written, in place of an earlier one of its name; one
    that does not come to its end leaves nothing. Its JSON holds counts of frames, and seconds by part: "faces",
    "decoding" and "audio" of the data, "network", "pasting" and "codec".

    Args:
        side_by_side: whether the original is shown to the left.
        crf: constant rate factor of H.264: 0 loses nothing but colour resolution, 18 is hardly seen, 28 is small.
        preset: of x264, which trades time for size.
        feather: width of the soft edge, as a share of the shorter side of what is generated.

    Raises:
        UserError: an option is out of its bounds; a module whose ``predict_step`` returns something else; the video
            cannot be written; there are two such callbacks; no process has had a video that can be dubbed.
    """

    needed = "dubbed faces"
    remedy = "use it with a module that dubs"
    item = "dubbed video"
    folder = "dubbed"

    def __init__(
        self,
        side_by_side: bool = False,
        crf: Annotated[int, Bounds(least=0, most=51)] = 14,
        preset: Preset = "veryfast",
        feather: Feather = 0.12,
    ):
        check_options(DubWriter, locals())
        super().__init__()
        self.side_by_side, self.crf, self.preset, self.feather = side_by_side, crf, preset, feather
        self._open: _Video | None = None
        self._began = 0.0
        self._any = False  # whether there was a chunk

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, Dubbed)

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Try whether there can be videos, before hours are spent on them.

        Raises:
            UserError: there cannot, or there are two such callbacks.
        """
        count = sum(isinstance(callback, DubWriter) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if count > 1:
            raise UserError(
                f"{count} DubWriters would write the same files: keep one; that of a configuration is replaced by"
                " --trainer.callbacks=callbacks.DubWriter, and its options follow, such as"
                " --trainer.callbacks.side_by_side=true"
            )
        self._any = False
        super().on_predict_start(trainer, pl_module)
        if trainer.is_global_zero:
            with told_if_unwritable(self.finished_folder(trainer)):
                make_folder(self.finished_folder(trainer))
            if getattr(pl_module, "trained_on_drawn", None):
                print(DRAWN, flush=True)

    @override
    def on_predict_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._began = time.perf_counter()

    @override
    def write_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: Dubbed
    ) -> dict[str, dict[str, Any]]:
        if outputs.patches.is_cuda:
            torch.cuda.synchronize(outputs.patches.device)
        network = time.perf_counter() - self._began
        self._any = True
        if self._open is None or self._open.name != batch["name"] or int(batch["index"][0]) == 0:
            self._abandon()
            self._open = _Video(self, batch, self.finished_folder(trainer))
        self._open.seconds["network"] += network  # type: ignore[assignment]
        self._open.add(batch, outputs)
        if not batch["last"]:
            return {}
        finished, self._open = self._open, None
        return {batch["name"]: finished.finish(batch, pl_module)}

    @override
    def conclude(self, trainer: Trainer, records: Mapping[str, dict[str, Any]]) -> str | None:
        if not records:
            return None
        (first, *others) = [records[name] for name in sorted(records)]
        if not others:
            return line_of(first, self.finished_folder(trainer))
        frames, dubbed = (sum(each[key] for each in records.values()) for key in ("frames", "dubbed"))
        drawn = f"; {DRAWN}" if first["knows_drawn_faces_only"] else ""
        return f"{len(records)} videos, {dubbed} of {frames} frames dubbed{drawn}: {self.finished_folder(trainer)}"

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish, and say where no process had a video that can be dubbed: each alone knows its own share only.

        Raises:
            UserError: that is so.
        """
        self._abandon()
        super().on_predict_end(trainer, pl_module)
        if not any(gather_objects(self._any)):
            raise UserError("No video could be dubbed: the lines above say why for each")

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._abandon()
        super().on_exception(trainer, pl_module, exception)

    @override
    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        self._abandon()

    def _abandon(self) -> None:
        """Remove what there is of a video that did not come to its end."""
        unfinished, self._open = self._open, None
        if unfinished is not None:
            unfinished.abandon()


class _Video:
    """A dubbed video that is being written.

    Args:
        options: how.
        batch: its first chunk.
        folder: to write to.
    """

    def __init__(self, options: DubWriter, batch: Mapping[str, Any], folder: Path):
        self.options, self.name = options, batch["name"]
        self.path = folder / f"{self.name}_dubbed.mp4"
        self.seconds: Counter[str] = Counter(network=0, pasting=0, codec=0)
        self.began = time.perf_counter() - sum(batch["seconds"].values())
        height, width = batch["frames"][0].shape[:2]
        self.size = (2 * width if options.side_by_side else width, height)
        self.writer = VideoWriter(
            self.path,
            self.size,
            batch["rate"],
            sound=Path(batch["audio"]),
            pixel_aspect=batch["pixel_aspect"],
            crf=options.crf,
            preset=options.preset,
        ).__enter__()

    def add(self, batch: Mapping[str, Any], outputs: Dubbed) -> None:
        """Write a chunk."""
        began = time.perf_counter()
        new = pasted(batch, outputs, self.options.feather)
        pasting = time.perf_counter() - began
        for old, picture, shown in zip(batch["frames"], new, batch["time"].tolist(), strict=True):
            beside = np.concatenate([old, picture], 1) if self.options.side_by_side else picture
            self.writer.write(beside, None if batch["steady"] else shown)
        self.seconds["pasting"] += pasting  # type: ignore[assignment]
        self.seconds["codec"] += time.perf_counter() - began - pasting  # type: ignore[assignment]

    def finish(self, batch: Mapping[str, Any], pl_module: LightningModule) -> dict[str, Any]:
        """Let the video appear, write its JSON and return what that holds."""
        began = time.perf_counter()
        self.writer.__exit__(None, None, None)
        self.seconds["codec"] += time.perf_counter() - began  # type: ignore[assignment]
        total = time.perf_counter() - self.began
        seconds = batch["seconds"] | dict(self.seconds)
        frames = batch["total"]
        record = {
            "video": batch["video"],
            "sound": batch["audio"],
            "output": self.path.name,
            "size": list(self.size),
            "rate": round(batch["rate"], 4),
            "steady_rate": bool(batch["steady"]),
            **batch["counts"],
            "steps": steps_of(pl_module),
            "knows_drawn_faces_only": bool(getattr(pl_module, "trained_on_drawn", False)),
            "seconds": {part: round(spent, 3) for part, spent in seconds.items()} | {"total": round(total, 3)},
            "frames_a_second": round(frames / max(total, 1e-9), 3),
        }
        path = self.path.with_suffix(".json")
        with told_if_unwritable(path):
            write_json(path, record)
        return record

    def abandon(self) -> None:
        """Remove what there is."""
        error = UserError(f"{self.path} was not finished")
        self.writer.__exit__(type(error), error, None)


def pasted(batch: Mapping[str, Any], outputs: Dubbed, feather: float) -> list[NDArray[np.uint8]]:
    """Return the frames of a chunk with their new mouths, new arrays; those without a face are as they were.

    Args:
        batch: with "frames", "found", "fade", "boxes" and "roll".
        outputs: of the module.
        feather: width of the soft edge, as a share of the shorter side of what is generated.
    """
    rolls = batch["roll"].cpu()
    boxes = outputs.region.in_pixels_of(outputs.faces.shape[-1]).in_frame(batch["boxes"].cpu(), rolls)
    found, fade, roll = batch["found"].tolist(), batch["fade"].tolist(), rolls.tolist()
    frames = []
    for at, frame in enumerate(batch["frames"]):
        new: Tensor = torch.from_numpy(frame.copy())
        if found[at]:
            paste(new, outputs.patches[at], outputs.mask[at], boxes[at], roll=roll[at], fade=fade[at], feather=feather)
        frames.append(new.numpy())
    return frames


def steps_of(module: Any) -> int | None:
    """Return in how many steps a module samples, None if it does not tell."""
    return getattr(getattr(module, "sampling", None), "steps", None)


def line_of(record: Mapping[str, Any], folder: Path) -> str:
    """Return in a line what became of a video.

    Args:
        record: as its JSON holds it.
        folder: in which it is.
    """
    words = [f"{record['dubbed']} of {record['frames']} frames dubbed"]
    for key, what in (
        ("without_face", "without a face"),
        ("turned_away", "turned away"),
        ("cuts", "cut" if record["cuts"] == 1 else "cuts"),
        ("held", "frames held while the sound went on"),
        ("repeated", "frames of the video started again"),
        ("trimmed", "frames left out, for the sound had ended"),
    ):
        words += [f"{record[key]} {what}"] if record[key] else []
    words += [f"up to {record['faces_at_once']} faces at once"] if record["faces_at_once"] > 1 else []
    # Less than a frame is no difference that anybody chose.
    least = 1 / record["rate"]
    if record["sound_left_out_seconds"] >= least:
        words.append(f"{record['sound_left_out_seconds']:.2f} s of sound left out, for the video had ended")
    if record["silence_after_sound_seconds"] >= least:
        words.append(f"{record['silence_after_sound_seconds']:.2f} s without sound at the end")
    if record["silent_share"] >= 0.005:
        words.append(f"silence in {100 * record['silent_share']:.0f} %")
    words.append(f"{record['frames_a_second']:.3g} frames a second")
    words += [DRAWN] if record["knows_drawn_faces_only"] else []
    return f"{', '.join(words)}: {folder / record['output']}"
