"""Videos of heads that move as others do, written as they come, and what it took beside each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pytorch_lightning import LightningModule
from torch import Tensor
from typing_extensions import override

from callbacks.generation.film import SHOWN, beside
from callbacks.generation.film_writer import DRAWN, FilmWriter, PredictedFilm
from callbacks.generation.pictures import to_bytes
from networks.reenacted import Reenacted
from visionscapes.checks import Bounds, check_options
from visionscapes.media.video_writer import Preset

AT_ONCE = 32  # pictures that are enlarged together


class ReenactmentWriter(FilmWriter):
    """Writes videos of reenacted heads into the run folder: reenacted/<source>__<driver>.mp4, and a .json beside each.

    Chunks of a video come in order, as `HeadsToReenact` gives them, and are encoded at once, with the driver's times
    and, if the data have it, its sound. A video appears when its last frame is written, in place of an earlier one of
    its name; one that does not come to its end leaves nothing. Its JSON holds what was done and warned of, counts of
    frames, and seconds by part: "faces", "decoding" and "drawing" of the data, "network", which includes fine-tuning,
    "pictures" and "codec".

    Args:
        side_by_side: whether the first picture of the source, and the driver, or its landmarks if there are no pictures
            of it, are shown to the left.
        height: of the video in pixels; None for the smallest multiple of the network's pictures from 256 on.
        crf: constant rate factor of H.264: 0 loses nothing but colour resolution, 18 is hardly seen, 28 is small.
        preset: of x264, which trades time for size.

    Raises:
        UserError: an option is out of its bounds; a module whose ``predict_step`` returns something else; the video
            cannot be written; there are two such callbacks; no process has had a driver that can be used.
    """

    needed = "reenacted heads"
    remedy = "use it with a module that reenacts"
    item = "video of a reenacted head"
    folder = "reenacted"
    task = "reenact"
    nothing = "No driver could be used: the lines above say why for each"

    def __init__(
        self,
        side_by_side: bool = False,
        height: Annotated[int, Bounds(least=16, most=4096)] | None = None,
        crf: Annotated[int, Bounds(least=0, most=51)] = 14,
        preset: Preset = "veryfast",
    ):
        check_options(ReenactmentWriter, locals())
        super().__init__()
        self.side_by_side, self.height, self.crf, self.preset = side_by_side, height, crf, preset

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, Reenacted)

    @override
    def begin(self, batch: Mapping[str, Any], folder: Path) -> PredictedFilm:
        side = self._side(batch)
        size = (3 * side if self.side_by_side else side, side)
        return PredictedFilm(folder / f"{batch['name']}.mp4", size, batch, crf=self.crf, preset=self.preset)

    @override
    def add(self, film: PredictedFilm, batch: Mapping[str, Any], outputs: Reenacted) -> None:
        side = self._side(batch)
        made = to_bytes(outputs.images.float().cpu())
        shown = [made]
        if self.side_by_side:
            source: Tensor = batch["shots"][:1].cpu().expand(len(made), -1, -1, -1)
            shown = [source, batch.get("driver", batch["drawing"]).cpu(), made]
        some = [torch.split(each, AT_ONCE) for each in shown]
        film.write((picture for part in zip(*some, strict=True) for picture in beside(part, side)), batch, "pictures")

    @override
    def record_of(self, batch: Mapping[str, Any], outputs: Reenacted, module: LightningModule) -> dict[str, Any]:
        return {
            "source": batch["source"],
            "driver": batch["driving"],
            "sound": batch["audio"] or None,
            "landmarks": batch["mode"],
            "shots": outputs.shots,
            "fine_tuned": outputs.fine_tuned,
            "notes": batch["notes"],
            "warnings": batch["warnings"],
        }

    @override
    def line_of(self, records: Mapping[str, dict[str, Any]], folder: Path) -> str:
        (first, *others) = [records[name] for name in sorted(records)]
        if not others:
            return line_of(first, folder)
        frames = sum(each["frames"] for each in records.values())
        drawn = f"; {DRAWN}" if first["knows_drawn_faces_only"] else ""
        return f"{len(records)} videos, {frames} frames reenacted{drawn}: {folder}"

    def _side(self, batch: Mapping[str, Any]) -> int:
        """Return the side of a head in the video, in pixels."""
        side = batch["shots"].shape[-1]
        return self.height or side * -(-SHOWN // side)


def line_of(record: Mapping[str, Any], folder: Path) -> str:
    """Return in a line what became of a video.

    Args:
        record: as its JSON holds it.
        folder: in which it is.
    """
    pictures = f"{record['shots']} {'picture' if record['shots'] == 1 else 'pictures'}"
    frames = f"{record['frames']} {'frame' if record['frames'] == 1 else 'frames'}"
    words = [f"{frames} of {pictures}{', fine-tuned' if record['fine_tuned'] else ''}"]
    words += [f"{record['landmarks']} landmarks"]
    for key, what in (("interpolated", "interpolated"), ("held", "as the nearest frame with a face")):
        words += [f"{record[key]} of {record['frames']} frames without a face: {what}"] if record[key] else []
    count = len(record["warnings"])
    words += [f"{count} {'warning' if count == 1 else 'warnings'} above"] if count else []
    words.append(f"{record['frames_a_second']:.3g} frames a second")
    words += [DRAWN] if record["knows_drawn_faces_only"] else []
    return f"{', '.join(words)}: {folder / record['output']}"
