"""Whether a file still holds what was written: one flipped bit of a disk or a copy changes a result without a word.

Archives (zip: checkpoints of torch, arrays of numpy) have a checksum for each part. Weights in safetensors have none of
their own: files that runs write carry one in their metadata, others may have a line in ``SHA256SUMS`` beside them.
"""

import hashlib
import re
import zipfile
import zlib
from pathlib import Path

_NONE = b"00000000"
_SEAL = b'"crc32":"%s"'
UNSEALED = {"crc32": _NONE.decode()}
SUMS = "SHA256SUMS"

_whole: set[tuple[str, int, int, int]] = set()  # archives that were read to their end before, as they are now


def damage_of_archive(path: Path) -> str:
    """Return what is wrong with a zip archive, in words; nothing if each of its parts matches its checksum.

    An archive that has not changed since it was found whole is not read again.

    Args:
        path: of the archive.

    Raises:
        OSError: the file cannot be read.
    """
    state = path.stat()
    identity = str(path.resolve()), state.st_ino, state.st_size, state.st_mtime_ns
    if identity in _whole:
        return ""
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (OSError, MemoryError):  # say nothing of the file
        raise
    except Exception as error:  # zlib.error, NotImplementedError, ...: whatever a flipped bit turns a header into
        return " ".join(str(error).split()) or type(error).__name__
    if part is not None:
        return f"the checksum of {part} does not match"
    _whole.add(identity)
    return ""


def damage_of(path: Path) -> str:
    """Return what is wrong with a file of weights or arrays, in words; nothing if all that can be checked is right.

    Args:
        path: of a zip archive, a safetensors file, or of any other file, which is checked only if it is listed.

    Raises:
        OSError: the file cannot be read.
    """
    listed = listed_digest(path)
    if listed is not None and hashlib.sha256(path.read_bytes()).hexdigest() != listed:
        return f"the checksum in {SUMS} does not match"
    if path.suffix == ".safetensors":
        return damage_of_weights(path)
    return damage_of_archive(path) if zipfile.is_zipfile(path) else ""


def sealed(weights: bytes) -> bytes:
    """Return the content of a safetensors file with its checksum in the place that its metadata have for it.

    Args:
        weights: saved with ``UNSEALED`` in the metadata.
    """
    return weights.replace(_SEAL % _NONE, _SEAL % f"{zlib.crc32(weights):08x}".encode(), 1)


def damage_of_weights(path: Path) -> str:
    """Return what is wrong with a safetensors file, in words; nothing if it matches its checksum, or has none.

    Args:
        path: of the file.

    Raises:
        OSError: the file cannot be read.
    """
    content = path.read_bytes()
    header = content[8 : 8 + int.from_bytes(content[:8], "little")]
    seal = re.search(_SEAL % b"([0-9a-f]{8})", header)
    if seal is None or zlib.crc32(content.replace(seal[0], _SEAL % _NONE, 1)) == int(seal[1], 16):
        return ""
    return "its checksum does not match"


def listed_digest(path: Path) -> str | None:
    """Return the digest of a file that ``SHA256SUMS`` in its folder names, None if there is none."""
    try:
        lines = path.with_name(SUMS).read_text().splitlines()
    except (OSError, ValueError):
        return None
    listed = (line.split(maxsplit=1) for line in lines if line.strip())
    return next((words[0] for words in listed if words[-1].lstrip("*") == path.name), None)
