"""By how much picture and sound of clips are apart, as a SyncNet hears and sees it, and what is done about it."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

import torch
from torch import Tensor

from datamodules.clips.clip import Clip, face_crops
from visionscapes.checks import Bounds, NonNegativeFloat, check_options
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError, Reason

if TYPE_CHECKING:  # torchmetrics takes seconds to import, and most clips are prepared without a SyncNet
    from metrics.lip_sync import SyncScore
    from networks.sync_network import SyncNetwork

# As in ``metrics.lip_sync``: the largest offset that is tried, and the confidence from which on one is clear.
REACH, SURE = 15, 0.1
WIDEST_BAR = 40  # characters


@dataclass(frozen=True)
class SyncOptions:
    """How picture and sound are held against each other.

    Args:
        weights: file of a SyncNet that knows its own options, such as weights/syncnet.safetensors.
        offsets: "keep" clips as they are, "shift" the sound to where it fits best, or "drop" clips that are apart.
        least_confidence: "shift" and "drop" leave out clips whose Sync_c is lower, because their offsets mean nothing;
            None for 0.1, which suits weights/syncnet.safetensors: other SyncNets have other scales.
        largest_offset: "shift" and "drop" leave out clips that are further apart, in frames of 40 ms; None for 1 with
            "drop", and for 6 with "shift", as in the data of LatentSync.

    Raises:
        UserError: an option is out of its bounds, or would do nothing.
    """

    weights: str
    offsets: Literal["keep", "shift", "drop"] = "keep"
    least_confidence: NonNegativeFloat | None = None
    largest_offset: Annotated[int, Bounds(least=0, most=REACH)] | None = None

    def __post_init__(self) -> None:
        check_options(SyncOptions, vars(self))
        if self.offsets == "keep" and (self.least_confidence is not None or self.largest_offset is not None):
            raise UserError(
                "SyncOptions.least_confidence and SyncOptions.largest_offset say which clips are left out, and"
                ' SyncOptions.offsets is "keep", which leaves out none: choose "shift" or "drop"'
            )

    @property
    def limit(self) -> int:
        """The largest offset of a clip that is taken, in frames."""
        if self.largest_offset is not None:
            return self.largest_offset
        return 1 if self.offsets == "drop" else 6

    @property
    def least(self) -> float:
        """The lowest confidence of a clip that is taken."""
        if self.least_confidence is not None:
            return self.least_confidence
        return 0.0 if self.offsets == "keep" else SURE

    def settings(self) -> dict[str, Any]:
        """Return what the outcome depends on: the content of the file, not its name.

        Raises:
            UserError: the file cannot be read.
        """
        path = Path(self.weights).expanduser()
        try:
            if not path.is_file():  # a device may never end
                raise UserError(
                    f"SyncOptions.weights is '{self.weights}', and there is no such file: name the weights of a SyncNet"
                )
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            raise UserError(
                f"'{self.weights}', the weights of the SyncNet, cannot be read: {error.strerror}"
            ) from error
        return {
            "weights": digest,
            "offsets": self.offsets,
            "least_confidence": self.least,
            "largest_offset": self.limit,
        }


class OutOfSyncError(ClipError):
    """Picture and sound of a clip are too far apart, or it is not clear by how much.

    Args:
        message: names the file.
        score: what was measured.
        reason: see `ClipError`.
    """

    def __init__(self, message: str, score: "SyncScore | None" = None, reason: Reason = "out of sync"):
        super().__init__(message, reason)
        self.score = score


def measure(clip: Clip, weights: str) -> "SyncScore":
    """Return how picture and sound of a clip fit; memory does not grow with it but by its embeddings.

    Windows with a frame without a face do not count.

    Args:
        clip: with sound.
        weights: see `SyncOptions`.
    """
    from metrics.lip_sync import sync_scores
    from networks.embedded_clip import embed_clip, window_is_known

    network = _network(weights)
    faces = cast(Tensor, _Faces(clip, network.image_size))
    video, audio = embed_clip(network, faces, clip.mel)
    return sync_scores(video, audio, REACH, known=window_is_known(torch.from_numpy(clip.found), len(video)))


def frames_to_move(name: str, score: "SyncScore", options: SyncOptions) -> int:
    """Return by how many frames the sound has to come earlier; below 0 later.

    Args:
        name: of the clip, for the message.
        score: as measured.
        options: what is asked for.

    Raises:
        OutOfSyncError: the clip is to be left out.
    """
    if options.offsets == "keep" or score.offset is None:
        return 0
    if score.confidence < options.least:
        raise OutOfSyncError(
            f"{name}: the confidence of its offset is {score.confidence:.2f}, below {options.least:g}",
            score,
            "offset unclear",
        )
    if abs(score.offset) > options.limit:
        early = "late" if score.offset > 0 else "early"
        raise OutOfSyncError(
            f"{name}: its sound is {abs(score.offset)} frames {early}, more than {options.limit}", score
        )
    return score.offset if options.offsets == "shift" else 0


def histogram(offsets: Iterable[int]) -> list[tuple[int, int]]:
    """Return how many clips have each offset, from -15 to 15 frames."""
    counts = Counter(offsets)
    return [(offset, counts[offset]) for offset in range(-REACH, REACH + 1)]


def as_text(counts: list[tuple[int, int]]) -> list[str]:
    """Return a histogram as lines of text, from the first to the last offset that a clip has, and 0.

    Args:
        counts: of `histogram`.
    """
    total, most = sum(count for _, count in counts), max(count for _, count in counts)
    if not total:
        return ["no clip had its offset measured"]
    there = [offset for offset, count in counts if count or offset == 0]
    lines = [f"offset of the sound in frames of 40 ms, above 0 it is late ({total} clips)"]
    for offset, count in counts:
        if there[0] <= offset <= there[-1]:
            bar = "#" * -(-WIDEST_BAR * count // most)
            lines.append(f"{offset:+4d} {count:8d} {100 * count / total:5.1f}% {bar}".rstrip())
    return lines


@cache
def _network(weights: str) -> "SyncNetwork":
    from networks.sync_network import SyncNetwork

    return SyncNetwork.from_file(Path(weights).expanduser())


class _Faces:
    """The faces (T, 3, S, S) of a clip, of which a slice is read when it is asked for."""

    def __init__(self, clip: Clip, size: int):
        self.clip, self.size = clip, size

    def __len__(self) -> int:
        return len(self.clip)

    def __getitem__(self, part: slice) -> Tensor:
        return face_crops(self.clip, range(*part.indices(len(self.clip))), self.size)
