import hashlib
import os
import random
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from visionscapes.checksums import SUMS, UNSEALED, damage_of, damage_of_archive, damage_of_weights, sealed

WEIGHTS = Path(__file__).parents[2] / "weights"


def flip(path: Path, bit: int) -> None:
    """Turn a bit of a file over; the time of the last change stays another one."""
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)
    os.utime(path, ns=(bit, bit + 1))


def bits(path: Path, count: int) -> list[int]:
    return random.Random(0).sample(range(8 * path.stat().st_size), count)


def test_each_flipped_bit_of_a_checkpoint_is_found_or_changes_nothing(tmp_path):
    path, content = tmp_path / "a.ckpt", {"state": torch.randn(3000), "step": 3}
    torch.save(content, path)
    assert damage_of_archive(path) == ""
    whole, missed = path.read_bytes(), 0
    for bit in bits(path, 300):
        flip(path, bit)
        if not damage_of_archive(path):
            missed += 1  # padding, dates, ...
            with suppress(RuntimeError):  # torch has found it
                read = torch.load(path, weights_only=True)
                assert read["state"].equal(content["state"]), bit
                assert read["step"] == 3
        path.write_bytes(whole)
    assert missed < 30


def test_each_flipped_bit_of_arrays_is_found_or_changes_nothing(tmp_path):
    path, array = tmp_path / "a.npz", np.arange(500.0)
    np.savez(path, array=array)
    whole = path.read_bytes()
    for bit in bits(path, 300):
        flip(path, bit)
        if not damage_of(path):
            assert (np.load(path)["array"] == array).all()
        path.write_bytes(whole)


def test_each_flipped_bit_of_sealed_weights_is_found_or_changes_nothing(tmp_path):
    path, weights = tmp_path / "a.safetensors", {"a": torch.randn(40), "b": torch.arange(6)}
    path.write_bytes(sealed(save(weights, {"made": "by"} | UNSEALED)))
    assert damage_of_weights(path) == ""
    assert all(load_file(path)[name].equal(weights[name]) for name in weights)
    whole, missed = path.read_bytes(), 0
    for bit in range(8 * len(whole)):
        flip(path, bit)
        if not damage_of_weights(path):
            missed += 1  # the word crc32 itself, or the length of a header that is none any more
            with suppress(SafetensorError):
                read = load_file(path)
                assert all(read[name].equal(weights[name]) for name in weights), bit
        path.write_bytes(whole)
    assert missed < 200


def test_weights_of_others_are_taken_as_they_are(tmp_path):
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"a": torch.zeros(2)}))
    assert damage_of(path) == ""
    flip(path, 8 * path.stat().st_size - 1)
    assert damage_of(path) == "", "nothing is known of them"


def test_a_list_of_checksums_is_asked(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"content")
    (tmp_path / SUMS).write_text(f"{hashlib.sha256(b'content').hexdigest()}  a.bin\n{'0' * 64} *b.bin\n")
    assert damage_of(path) == ""
    flip(path, 5)
    assert SUMS in damage_of(path)
    (tmp_path / "b.bin").write_bytes(b"other")
    assert SUMS in damage_of(tmp_path / "b.bin")


@pytest.mark.parametrize("path", sorted(WEIGHTS.rglob("*.safetensors")), ids=lambda path: path.stem)
def test_the_weights_of_this_repository_are_listed(path):
    if "external" not in path.parts:
        assert path.name in path.with_name(SUMS).read_text()
        assert damage_of(path) == ""


def test_an_unchanged_archive_is_read_once(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    np.savez(path, array=np.zeros(3))
    assert damage_of_archive(path) == ""
    monkeypatch.setattr("zipfile.ZipFile.testzip", lambda archive: "part")
    assert damage_of_archive(path) == ""
    path.write_bytes(path.read_bytes())
    assert "part" in damage_of_archive(path)
