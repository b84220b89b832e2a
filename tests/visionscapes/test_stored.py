import io
import pickle

import pytest
import torch

from tests.helpers.bomb import Bomb
from visionscapes.errors import UserError
from visionscapes.stored import read_open, read_stored

CONTENT = {"state_dict": {"a": torch.arange(5.0)}, "epoch": 3}


def stored(content) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def flipped(content: bytes) -> bytes:
    """Return bytes of which one bit of the numbers is another."""
    place = content.index(torch.arange(5.0).numpy().tobytes())
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGED = {
    "cut off": (stored(CONTENT)[:-300], "is incomplete or damaged"),
    "empty": (b"", "is incomplete or damaged"),
    "text": (b"<html>404</html>", "is damaged or no checkpoint"),
    "one bit": (flipped(stored(CONTENT)), r"is damaged \(the checksum of "),
    "objects": (pickle.dumps(Bomb("exploded")), "is refused: it holds Python objects"),
    "objects inside": (stored(CONTENT | {"extra": Bomb("exploded")}), "is refused: it holds Python objects"),
}


@pytest.fixture(autouse=True)
def _nothing_explodes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / "exploded").exists()


def read(path):
    return read_stored(path, lambda path: f"; instead of {path.name} there is another", lambda path: "; beside it")


def test_what_was_stored_is_read(tmp_path):
    path = tmp_path / "a.ckpt"
    path.write_bytes(stored(CONTENT))
    with path.open("rb") as file:
        for found in (read(path), read_open(file), read_open(io.BytesIO(stored(CONTENT)))):
            assert found.keys() == CONTENT.keys()
            assert torch.equal(found["state_dict"]["a"], torch.arange(5.0))


@pytest.mark.parametrize("kind", DAMAGED)
def test_what_is_damaged_or_unsafe_is_told(kind, tmp_path):
    content, said = DAMAGED[kind]
    path = tmp_path / "a.ckpt"
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"^checkpoint .*a\.ckpt {said}") as told:
        read(path)
    assert str(told.value).endswith("; instead of a.ckpt there is another") is not kind.startswith("objects")


def test_what_is_missing_is_told(tmp_path):
    with pytest.raises(UserError, match=r"gone\.ckpt does not exist; beside it$"):
        read(tmp_path / "gone.ckpt")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        read(tmp_path)


@pytest.mark.parametrize("kind", ["cut off", "empty", "text", "objects", "objects inside"])
def test_an_open_file_that_is_none_is_told(kind, tmp_path):
    (tmp_path / "a.ckpt").write_bytes(DAMAGED[kind][0])
    said = r"the open file .*a\.ckpt is no checkpoint, is damaged, or holds Python"
    with (tmp_path / "a.ckpt").open("rb") as file, pytest.raises(UserError, match=said):
        read_open(file)
    with (tmp_path / "a.ckpt").open(errors="replace") as file, pytest.raises(UserError, match=r"open\(path, 'rb'\)"):
        read_open(file)


@pytest.mark.parametrize("given", [None, 5, {"state_dict": {}}])
def test_what_is_neither_path_nor_file_is_told(given):
    with pytest.raises(UserError, match=f"a path or an open file, and .* is of class {type(given).__name__}"):
        read_open(given)
