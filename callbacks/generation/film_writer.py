"""What callbacks share that write predicted videos as their chunks come, in constant memory."""

import time
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule, Trainer
from torch import Tensor
from typing_extensions import override

from callbacks.results.prediction_writer import PredictionWriter
from visionscapes.errors import UserError
from visionscapes.files import make_folder, write_json
from visionscapes.media.containers import told_if_unwritable
from visionscapes.media.video_writer import Preset, VideoWriter
from visionscapes.processes import gather_objects

DRAWN = "these weights know drawn faces only: real ones will not look right"


class PredictedFilm:
    """A video that is being written, with what it took.

    Attributes:
        name: of the item.
        path: of the file.
        seconds: that were spent, by part.

    Args:
        path: of the file.
        size: width and height of the pictures.
        batch: the first chunk, as every one with "name", "rate" of frames and "steady", whether it is constant,
            "audio", the file with the sound, "" for none, "time" of the frames, "seconds" that the data have taken so
            far, by part, "total" of frames, and "counts", which are those of the video in the last one.
        pixel_aspect: width of a pixel as shown divided by its height.
        crf: see `VideoWriter`.
        preset: see `VideoWriter`.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        batch: Mapping[str, Any],
        *,
        crf: int,
        preset: Preset,
        pixel_aspect: float = 1.0,
    ):
        self.name, self.path, self.size = batch["name"], path, size
        self.seconds: Counter[str] = Counter(network=0, codec=0)
        self.began = time.perf_counter() - sum(batch["seconds"].values())
        sound = Path(batch["audio"]) if batch["audio"] else None
        self._writer = VideoWriter(
            path, size, batch["rate"], sound=sound, pixel_aspect=pixel_aspect, crf=crf, preset=preset
        ).__enter__()

    def write(self, pictures: Iterable[NDArray[np.uint8]], batch: Mapping[str, Any], part: str) -> None:
        """Write the pictures of a chunk.

        Args:
            pictures: (H, W, 3) uint8 RGB of the film's size; the time that it takes to make them is that of ``part``.
            batch: the chunk.
            part: what making them is called.
        """
        began, encoding = time.perf_counter(), 0.0
        for picture, shown in zip(pictures, batch["time"].tolist(), strict=True):
            before = time.perf_counter()
            self._writer.write(picture, None if batch["steady"] else shown)
            encoding += time.perf_counter() - before
        self.seconds["codec"] += encoding  # type: ignore[assignment]
        self.seconds[part] += time.perf_counter() - began - encoding  # type: ignore[assignment]

    def finish(self, batch: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
        """Let the video appear, write its JSON and return what that holds.

        Args:
            batch: the last chunk.
            record: what the JSON holds besides rate, seconds by part and frames a second.
        """
        began = time.perf_counter()
        self._writer.__exit__(None, None, None)
        self.seconds["codec"] += time.perf_counter() - began  # type: ignore[assignment]
        total = time.perf_counter() - self.began
        seconds = batch["seconds"] | dict(self.seconds)
        whole = {
            **record,
            "seconds": {part: round(spent, 3) for part, spent in seconds.items()} | {"total": round(total, 3)},
            "frames_a_second": round(batch["total"] / max(total, 1e-9), 3),
        }
        path = self.path.with_suffix(".json")
        with told_if_unwritable(path):
            write_json(path, whole)
        return whole

    def about(self, batch: Mapping[str, Any], module: LightningModule) -> dict[str, Any]:
        """Return what every JSON says of a video, and of the module that made it."""
        return {
            "output": self.path.name,
            "size": [side + side % 2 for side in self.size],  # as `VideoWriter` makes them even
            "rate": round(batch["rate"], 4),
            "steady_rate": bool(batch["steady"]),
            **batch["counts"],
            "knows_drawn_faces_only": bool(getattr(module, "trained_on_drawn", False)),
        }

    def abandon(self) -> None:
        """Remove what there is."""
        error = UserError(f"{self.path} was not finished")
        self._writer.__exit__(type(error), error, None)


class FilmWriter(PredictionWriter):
    """Base of the callbacks that write predicted videos, each with a JSON file beside it.

    Chunks of a video come in order and are encoded at once. A video appears when its last frame is written, in place of
    an earlier one of its name; one that does not come to its end leaves nothing. A subclass implements ``accepts``,
    ``begin``, ``add``, ``finish`` and ``line_of``.

    Attributes:
        nothing: what is said where no process had a video, with a remedy.

    Raises:
        UserError: a module whose ``predict_step`` returns something else; the video cannot be written; there are two
            such callbacks; no process has had a video of which something can be made.
    """

    nothing: ClassVar[str]

    def __init__(self) -> None:
        super().__init__()
        self._open: PredictedFilm | None = None
        self._began = 0.0
        self._any = False  # whether there was a chunk

    @abstractmethod
    def begin(self, batch: Mapping[str, Any], folder: Path) -> PredictedFilm:
        """Return the film of which a batch is the first chunk, in a folder."""

    @abstractmethod
    def add(self, film: PredictedFilm, batch: Mapping[str, Any], outputs: Any) -> None:
        """Write the pictures of a chunk to a film."""

    @abstractmethod
    def record_of(self, batch: Mapping[str, Any], outputs: Any, module: LightningModule) -> dict[str, Any]:
        """Return what the JSON says besides what all say; ``batch`` and ``outputs`` are those of the last chunk."""

    @abstractmethod
    def line_of(self, records: Mapping[str, dict[str, Any]], folder: Path) -> str:
        """Return the line that is printed at the end about all films, one at least, by their names."""

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Try whether there can be videos, before hours are spent on them.

        Raises:
            UserError: there cannot, or there are two such callbacks.
        """
        name = type(self).__name__
        count = sum(type(callback) is type(self) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if count > 1:
            raise UserError(
                f"{count} {name}s would write the same files: keep one; that of a configuration is replaced by"
                f" --trainer.callbacks=callbacks.{name}, and its options follow, such as"
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
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: Any
    ) -> dict[str, dict[str, Any]]:
        wait_for(outputs)
        network = time.perf_counter() - self._began
        self._any = True
        if self._open is None or self._open.name != batch["name"] or int(batch["index"][0]) == 0:
            self._abandon()
            self._open = self.begin(batch, self.finished_folder(trainer))
            self._open.began -= network  # which has taken its time before the film was there
        self._open.seconds["network"] += network  # type: ignore[assignment]
        self.add(self._open, batch, outputs)
        if not batch["last"]:
            return {}
        finished, self._open = self._open, None
        record = self.record_of(batch, outputs, pl_module) | finished.about(batch, pl_module)
        return {batch["name"]: finished.finish(batch, record)}

    @override
    def conclude(self, trainer: Trainer, records: Mapping[str, dict[str, Any]]) -> str | None:
        return self.line_of(records, self.finished_folder(trainer)) if records else None

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Finish, and say where no process had a video: each alone knows its own share only.

        Raises:
            UserError: that is so.
        """
        self._abandon()
        super().on_predict_end(trainer, pl_module)
        if not any(gather_objects(self._any)):
            raise UserError(self.nothing)

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


def wait_for(outputs: Any) -> None:
    """Wait until a GPU has computed the tensors of a tuple."""
    for tensor in outputs:
        if isinstance(tensor, Tensor) and tensor.is_cuda:
            torch.cuda.synchronize(tensor.device)
            return
