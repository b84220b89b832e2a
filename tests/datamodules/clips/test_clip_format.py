import json
import os
import zlib
from contextlib import suppress

import numpy as np
import pytest
from safetensors import safe_open

from datamodules.clips.clip_format import ClipHeader, write_clip_file
from tests.helpers.full_disk import largest_file
from visionscapes.checksums import damage_of
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError

PIECES = [b"first picture", b"second"]
PLACES = [(0, 13, zlib.crc32(PIECES[0])), (13, 19, zlib.crc32(PIECES[1]))]
ABOUT = {"source": 'a "crc32":"00000000" \udcff\n.mp4', "settings": {"size": 224}}


def write(path):
    generator = np.random.default_rng(0)
    arrays = {
        "flags": generator.random(7) < 0.5,
        "halves": generator.random((3, 5)).astype(np.float16),
        "numbers": np.arange(4, dtype=np.int64),
        "empty": np.zeros((80, 0), np.float16),
    }
    write_clip_file(path, arrays, ABOUT, (19, iter(PIECES)))
    return arrays


def test_what_is_written_is_read_by_this_program_and_by_safetensors(tmp_path):
    arrays = write(tmp_path / "a.safetensors")
    header = ClipHeader(tmp_path / "a.safetensors")
    assert header.about == ABOUT
    assert header.pictures(PLACES[::-1], bytes) == PIECES[::-1]
    with safe_open(tmp_path / "a.safetensors", "np") as file:
        assert set(file.keys()) == {*arrays, "jpegs"}
        for name, array in arrays.items():
            np.testing.assert_array_equal(file.get_tensor(name), array)
            np.testing.assert_array_equal(header.array(name), array)
            assert header.array(name).dtype == array.dtype
            assert header.shape(name) == array.shape
        assert file.get_tensor("jpegs").tobytes() == b"".join(PIECES)
        assert json.loads(file.metadata()["about"]) == ABOUT


def test_the_whole_file_has_the_checksum_that_other_files_of_runs_have(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path)
    content = path.read_bytes()
    assert damage_of(path) == ""
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 4]))
    assert damage_of(path) == "its checksum does not match"


def everything(path):
    header = ClipHeader(path)
    return [
        header.about,
        *(header.array(name).tobytes() for name in ("flags", "halves", "numbers")),
        *(header.pictures(PLACES, bytes)),
    ]


def test_any_flipped_bit_is_found_by_who_reads_it(tmp_path):
    path = tmp_path / "a.safetensors"
    write(path)
    content, whole = path.read_bytes(), everything(path)
    unseen = 0
    for position in range(len(content)):
        flipped = bytes([content[position] ^ 1 << position % 8])
        path.write_bytes(content[:position] + flipped + content[position + 1 :])
        with suppress(ClipError):
            assert everything(path) == whole
            unseen += 1
    assert unseen <= 8  # the digits of the checksum over all, which reading a part cannot check


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_file_that_ends_too_early_is_told(tmp_path, kept):
    path = tmp_path / "a.safetensors"
    write(path)
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(ClipError, match=r"no prepared clip|damaged"):
        ClipHeader(path)


def test_other_files_and_versions_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ClipError, match="cannot be read: No such file"):
        ClipHeader(tmp_path / "none.safetensors")
    for content in (b"", b"\xff" * 40, os.urandom(100), b"\x10" + bytes(7) + b'{"a": 1}        '):
        (tmp_path / "other.safetensors").write_bytes(content)
        with pytest.raises(ClipError, match="no prepared clip"):
            ClipHeader(tmp_path / "other.safetensors")
    monkeypatch.setattr("datamodules.clips.clip_format.VERSION", 2)
    write(tmp_path / "newer.safetensors")
    monkeypatch.undo()
    with pytest.raises(UserError, match="of version 2, and this program reads up to version 1: update"):
        ClipHeader(tmp_path / "newer.safetensors")


def test_a_full_disk_leaves_nothing(tmp_path):
    with largest_file(500), pytest.raises(OSError, match="too large"):
        write(tmp_path / "a.safetensors")
    assert list(tmp_path.iterdir()) == []
