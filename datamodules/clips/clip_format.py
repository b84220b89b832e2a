"""The bytes of a prepared clip: a safetensors file whose header, arrays and pictures each have a checksum.

So a window of a long clip is read and checked without the rest of the file, which `safetensors` opens as any other.
"""

import io
import json
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from visionscapes.checksums import UNSEALED
from visionscapes.errors import UserError
from visionscapes.files import atomic_write
from visionscapes.media.errors import ClipError

SUFFIX = ".safetensors"
FORMAT, VERSION = "visionscapes clip", 1
PICTURES = "jpegs"
_LARGEST_HEADER = 1 << 24
_HEAD_SEAL = b'"head_crc32":"%s"'
_SEAL = b'"crc32":"%s"'
_NONE = b"00000000"
_DTYPES = {"F32": "<f4", "F16": "<f2", "I64": "<i8", "U32": "<u4", "I16": "<i2", "U8": "u1", "BOOL": "?"}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}


def write_clip_file(
    path: Path, arrays: Mapping[str, NDArray[Any]], about: Mapping[str, Any], pictures: tuple[int, Iterable[bytes]]
) -> None:
    """Write a clip, whole or not at all, holding no more of its pictures in memory than one piece.

    Args:
        path: of the file.
        arrays: by name.
        about: plain values, stored as JSON.
        pictures: how many bytes they have together, and these bytes in pieces.

    Raises:
        OSError: no space or no permission.
    """
    ordered = dict(sorted(arrays.items(), key=lambda item: -item[1].dtype.itemsize))  # so that each is aligned
    contents = {name: np.ascontiguousarray(array) for name, array in ordered.items()}
    entries, end = {}, 0
    for name, array in contents.items():
        entries[name] = _entry(_NAMES[array.dtype], array.shape, end, array.nbytes)
        end += array.nbytes
    entries[PICTURES] = _entry("U8", (pictures[0],), end, pictures[0])
    checksums = {name: _hexadecimal(zlib.crc32(array.data)) for name, array in contents.items()}
    metadata = {
        "format": FORMAT,
        "version": str(VERSION),
        **UNSEALED,
        "head_crc32": _NONE.decode(),
        "checksums": json.dumps(checksums),
        "about": json.dumps(about),
    }
    text = json.dumps({"__metadata__": metadata, **entries}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    length = len(text).to_bytes(8, "little")
    text = text.replace(_HEAD_SEAL % _NONE, _HEAD_SEAL % _hexadecimal(zlib.crc32(text)).encode(), 1)
    checksum = zlib.crc32(length + text)
    with atomic_write(path) as file:
        file.write(length + text)
        for array in contents.values():
            file.write(array.data)
            checksum = zlib.crc32(array.data, checksum)
        for piece in pictures[1]:
            file.write(piece)
            checksum = zlib.crc32(piece, checksum)
        file.seek(0)
        file.write(length + text.replace(_SEAL % _NONE, _SEAL % _hexadecimal(checksum).encode(), 1))


def _entry(dtype: str, shape: tuple[int, ...], start: int, size: int) -> dict[str, Any]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": [start, start + size]}


def _hexadecimal(checksum: int) -> str:
    return f"{checksum:08x}"


class ClipHeader:
    """What stands at the beginning of a prepared clip: where its arrays lie, their checksums, and what it tells.

    Attributes:
        path: of the file.
        about: what was stored of the clip.

    Args:
        path: of the file.

    Raises:
        ClipError: the file cannot be read, is damaged, or is no clip.
        UserError: it was written by a newer version of this program.
    """

    def __init__(self, path: Path):
        self.path = path
        with self.opened() as file:
            length = int.from_bytes(file.read(8), "little")
            text = file.read(length) if length <= _LARGEST_HEADER else b""
            size = file.seek(0, io.SEEK_END)
        seal = re.search(_HEAD_SEAL % b"([0-9a-f]{8})", text)
        if FORMAT.encode() not in text or seal is None:
            raise ClipError(f"{path} is no prepared clip: make one with `python -m datamodules.clips.prepare`")
        unsealed = re.sub(_SEAL % b"[0-9a-f]{8}", _SEAL % _NONE, text, count=1).replace(seal[0], _HEAD_SEAL % _NONE, 1)
        if zlib.crc32(unsealed) != int(seal[1], 16):
            raise self.damaged("the checksum of its header does not match")
        header = json.loads(text)
        metadata = header.pop("__metadata__")
        if int(metadata["version"]) > VERSION:
            raise UserError(
                f"{path} is a prepared clip of version {metadata['version']}, and this program reads up to version"
                f" {VERSION}: update the program, or prepare the clip anew"
            )
        self.about: dict[str, Any] = json.loads(metadata["about"])
        self._entries, self._start = header, 8 + length
        self._checksums: dict[str, str] = json.loads(metadata["checksums"])
        if size != self._start + header[PICTURES]["data_offsets"][1]:
            raise self.damaged("it is shorter or longer than it was")  # as where a copy was interrupted

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of an array."""
        return tuple(self._entries[name]["shape"])

    def array(self, name: str) -> NDArray[Any]:
        """Read an array.

        Raises:
            ClipError: the file cannot be read or is damaged.
        """
        start, end = self._entries[name]["data_offsets"]
        with self.opened() as file:
            file.seek(self._start + start)
            content = file.read(end - start)
        if len(content) < end - start:
            raise self.damaged("it ends too early")
        if _hexadecimal(zlib.crc32(content)) != self._checksums[name]:
            raise self.damaged(f'the checksum of its "{name}" does not match')
        dtype = _DTYPES[self._entries[name]["dtype"]]
        return np.frombuffer(bytearray(content), dtype).reshape(self.shape(name))

    def pictures(self, places: Iterable[tuple[int, int, int]], decode: Callable[[bytes], Any]) -> list[Any]:
        """Read pictures.

        Args:
            places: first byte, byte after the last, and checksum of each.
            decode: makes a picture of its bytes.

        Raises:
            ClipError: the file cannot be read or is damaged.
        """
        origin, decoded = self._start + self._entries[PICTURES]["data_offsets"][0], []
        with self.opened() as file:
            for start, end, checksum in places:
                file.seek(origin + start)
                content = file.read(end - start)
                if zlib.crc32(content) != checksum:
                    raise self.damaged("the checksum of a picture does not match, or the file ends too early")
                decoded.append(decode(content))
        return decoded

    def opened(self) -> IO[bytes]:
        """Open the file.

        Raises:
            ClipError: it cannot be opened.
        """
        try:
            return self.path.open("rb")
        except OSError as error:
            raise ClipError(f"{self.path} cannot be read: {error.strerror}") from error

    def damaged(self, how: str) -> ClipError:
        """Return the error of a file that is not as it was written."""
        return ClipError(
            f"{self.path} is damaged: {how}. Copy it again, or remove it and run `python -m datamodules.clips.prepare`"
            " again, which makes what is missing"
        )
