"""Videos with new mouths, written as they come, and what it took beside each."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pytorch_lightning import LightningModule
from typing_extensions import override

from callbacks.generation.film_writer import DRAWN, FilmWriter, PredictedFilm
from networks.dubbed import Dubbed
from networks.pasting import FEATHER, pasted
from visionscapes.checks import Bounds, check_options
from visionscapes.media.video_writer import Preset

Feather = Annotated[float, Bounds(above=0, most=0.5)]


class DubWriter(FilmWriter):
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
    nothing = "No video could be dubbed: the lines above say why for each"

    def __init__(
        self,
        side_by_side: bool = False,
        crf: Annotated[int, Bounds(least=0, most=51)] = 14,
        preset: Preset = "veryfast",
        feather: Feather = FEATHER,
    ):
        check_options(DubWriter, locals())
        super().__init__()
        self.side_by_side, self.crf, self.preset, self.feather = side_by_side, crf, preset, feather

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, Dubbed)

    @override
    def begin(self, batch: Mapping[str, Any], folder: Path) -> PredictedFilm:
        height, width = batch["frames"][0].shape[:2]
        return PredictedFilm(
            folder / f"{batch['name']}_dubbed.mp4",
            (2 * width if self.side_by_side else width, height),
            batch,
            crf=self.crf,
            preset=self.preset,
            pixel_aspect=batch["pixel_aspect"],
        )

    @override
    def add(self, film: PredictedFilm, batch: Mapping[str, Any], outputs: Dubbed) -> None:
        pairs = zip(batch["frames"], pasted(batch, outputs, self.feather), strict=True)
        beside = (np.concatenate(pair, 1) if self.side_by_side else pair[1] for pair in pairs)
        film.write(beside, batch, "pasting")

    @override
    def record_of(self, batch: Mapping[str, Any], outputs: Dubbed, module: LightningModule) -> dict[str, Any]:
        return {"video": batch["video"], "sound": batch["audio"], "steps": steps_of(module)}

    @override
    def line_of(self, records: Mapping[str, dict[str, Any]], folder: Path) -> str:
        (first, *others) = [records[name] for name in sorted(records)]
        if not others:
            return line_of(first, folder)
        frames, dubbed = (sum(each[key] for each in records.values()) for key in ("frames", "dubbed"))
        drawn = f"; {DRAWN}" if first["knows_drawn_faces_only"] else ""
        return f"{len(records)} videos, {dubbed} of {frames} frames dubbed{drawn}: {folder}"


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
