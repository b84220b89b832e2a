"""Prepared clips: one file each, of which a few frames are read without the others."""

import io
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from typing_extensions import override

from datamodules.clips.clip import Clip
from datamodules.clips.clip_format import ClipHeader, write_clip_file
from networks.audio import MEL_BINS

QUALITY = 95  # of JPEG: about 15 kB for a face of 224 pixels
_PIECE = 1 << 20
_LOUDEST = 32768  # of 16 bits


class ClipArrays(NamedTuple):
    """What a prepared clip holds beside its pictures, for T frames.

    Attributes:
        boxes: (T, 4) float32 xyxy in pixels of the pictures.
        landmarks: (T, 68, 2) float32 xy in pixels of the pictures.
        found: (T,) bool.
        crops: (T, 4) float32 xyxy in pixels of the source: which part of its frame a picture shows.
        mel: (80, M) float32 in [-4, 4].
        audio: (N,) float32 in [-1, 1] at 16 kHz.
    """

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    found: NDArray[np.bool_]
    crops: NDArray[np.float32]
    mel: NDArray[np.float32]
    audio: NDArray[np.float32]


class JpegFrames:
    """Pictures of a clip, compressed and kept in a temporary file, so that a long clip takes no memory.

    Args:
        folder: of the temporary file, which has no name and is gone when the process is.
    """

    def __init__(self, folder: Path):
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by ``close``)
        self.starts, self.checksums = [0], list[int]()

    def __len__(self) -> int:
        return len(self.checksums)

    def append(self, picture: Image.Image) -> None:
        """Add an RGB picture."""
        buffer = io.BytesIO()
        picture.save(buffer, "JPEG", quality=QUALITY)
        content = buffer.getvalue()
        self._file.write(content)
        self.starts.append(self.starts[-1] + len(content))
        self.checksums.append(zlib.crc32(content))

    def images(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        """Return some pictures as they will be read, (n, H, W, 3) uint8 RGB."""
        return np.stack([decode(b"".join(self.pieces(index, index + 1))) for index in indices])

    def pieces(self, first: int, end: int) -> Iterator[bytes]:
        """Yield the bytes of pictures ``first`` to ``end`` - 1."""
        self._file.seek(self.starts[first])
        left = self.starts[end] - self.starts[first]
        while left:
            piece = self._file.read(min(left, _PIECE))
            left -= len(piece)
            yield piece

    def close(self) -> None:
        """Remove the file."""
        self._file.close()


def write_clip(
    path: Path, pictures: JpegFrames, arrays: ClipArrays, about: Mapping[str, Any], *, first: int = 0
) -> None:
    """Write a prepared clip, whole or not at all.

    The mel spectrogram is kept as float16, which is at most .00098 off in [-4, 4] and half as large; it is that of the
    sound before this is rounded to 16 bits, which would show in what is hardly loud enough to hear.

    Args:
        path: of the file.
        pictures: at least ``first`` + T; what comes before and after is left out.
        arrays: what else the clip holds.
        about: plain values: where it comes from and how it was made.
        first: number of the picture of frame 0.

    Raises:
        OSError: no space or no permission.
    """
    end = first + len(arrays.found)
    starts = np.asarray(pictures.starts[first : end + 1], np.int64)
    stored: dict[str, NDArray[Any]] = {
        "jpeg_starts": starts - starts[0],
        "jpeg_crc32": np.asarray(pictures.checksums[first:end], np.uint32),
        "boxes": arrays.boxes.astype(np.float32),
        "landmarks": arrays.landmarks.astype(np.float32),
        "found": arrays.found.astype(bool),
        "crops": arrays.crops.astype(np.float32),
        "mel": arrays.mel.astype(np.float16),
        "audio": _in_16_bits(arrays.audio),
    }
    write_clip_file(path, stored, about, (int(starts[-1] - starts[0]), pictures.pieces(first, end)))


def _in_16_bits(audio: NDArray[np.float32]) -> NDArray[np.int16]:
    scaled = audio * _LOUDEST  # an hour of sound takes 230 MB: one copy is enough
    np.rint(scaled, out=scaled)
    np.clip(scaled, -_LOUDEST, _LOUDEST - 1, out=scaled)
    return scaled.astype(np.int16)


def decode(content: bytes) -> NDArray[np.uint8]:
    """Return the picture of a JPEG file as (H, W, 3) uint8 RGB."""
    # Of Pillow and not of torchvision, which is quicker by a third and gives its decoders up with version 0.29.
    return np.array(Image.open(io.BytesIO(content), formats=["JPEG"]))


class PreparedClip(Clip):
    """A prepared clip, of which each thing is read when it is asked for, and checked when it is read.

    Attributes:
        about: where it comes from and how it was made: "source", "settings", "seen", "interpolated", "sync", ...

    Args:
        path: of the file.
        name: unique in the data set; that of the file without suffix if None.

    Raises:
        ClipError: the file cannot be read, is damaged, or is no clip.
        UserError: it was written by a newer version of this program.
    """

    def __init__(self, path: Path, name: str | None = None):
        self._header = ClipHeader(path)
        self.name = path.stem if name is None else name
        self.about = self._header.about

    @override
    def __len__(self) -> int:
        return self._header.shape("found")[0]

    @cached_property
    def boxes(self) -> NDArray[np.float32]:  # type: ignore[override]
        """The boxes (T, 4)."""
        return self._header.array("boxes")

    @cached_property
    def landmarks(self) -> NDArray[np.float32]:  # type: ignore[override]
        """The landmarks (T, 68, 2)."""
        return self._header.array("landmarks")

    @cached_property
    def found(self) -> NDArray[np.bool_]:  # type: ignore[override]
        """Where there is a face (T,)."""
        return self._header.array("found")

    @cached_property
    def crops(self) -> NDArray[np.float32]:
        """Which part of the source's frame a picture shows (T, 4), xyxy in pixels of the source."""
        return self._header.array("crops")

    @cached_property
    def mel(self) -> Tensor:  # type: ignore[override]
        """The mel spectrogram (80, M) float32; M is 0 without sound."""
        return torch.from_numpy(self._header.array("mel")).float()

    @cached_property
    def audio(self) -> Tensor:  # type: ignore[override]
        """The sound (N,) float32; N is 0 without sound."""
        return torch.from_numpy(self._header.array("audio")).float() / _LOUDEST

    @property
    @override
    def mel_steps(self) -> int:
        return self._header.shape("mel")[1]

    @cached_property
    def _places(self) -> tuple[NDArray[np.int64], NDArray[np.uint32]]:
        return self._header.array("jpeg_starts"), self._header.array("jpeg_crc32")

    @override
    def images(self, indices: Sequence[int]) -> NDArray[np.uint8]:
        starts, checksums = self._places
        places = [(int(starts[index]), int(starts[index + 1]), int(checksums[index])) for index in indices]
        return np.stack(self._header.pictures(places, decode))


class ClipFiles(Sequence[Clip]):
    """Prepared clips of a data set, each opened when it is asked for, for there may be a million.

    Args:
        paths: of the files.
        names: of the clips, unique.
    """

    def __init__(self, paths: Sequence[Path], names: Sequence[str]):
        self.paths, self.names = list(paths), list(names)

    def __len__(self) -> int:
        return len(self.paths)

    @overload
    def __getitem__(self, index: int) -> PreparedClip: ...
    @overload
    def __getitem__(self, index: slice) -> "ClipFiles": ...
    def __getitem__(self, index: int | slice) -> "PreparedClip | ClipFiles":
        """Open a clip; of a slice, none yet."""
        if isinstance(index, slice):
            return ClipFiles(self.paths[index], self.names[index])
        return PreparedClip(self.paths[index], self.names[index])

    def chosen(self, positions: Sequence[int]) -> "ClipFiles":
        """Return some of the clips."""
        return ClipFiles([self.paths[each] for each in positions], [self.names[each] for each in positions])


def no_sound() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the mel spectrogram (80, 0) and the sound (0,) of a clip without any."""
    return np.zeros((MEL_BINS, 0), np.float32), np.zeros(0, np.float32)
