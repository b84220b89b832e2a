import os
from pathlib import Path

import pytest

from visionscapes.errors import UserError
from visionscapes.given_paths import checked_path, file_of


@pytest.fixture(autouse=True)
def _place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    Path("a.png").write_bytes(b"a")
    Path("http:").mkdir()
    Path("http:", "b.png").write_bytes(b"b")
    Path("gone.png").symlink_to("nowhere.png")
    Path("circle").symlink_to("circle")


def test_what_can_be_looked_up_is_a_path(tmp_path):
    for given in ("a.png", Path("a.png"), "none.png", "http:/b.png", "gone.png", ".", "photos/*.png"):
        assert checked_path(given) == Path(given)
    assert checked_path("~/a.png") == tmp_path / "a.png"
    assert file_of("~/a.png") == tmp_path / "a.png"
    assert file_of("http:/b.png") == Path("http:/b.png")


@pytest.mark.parametrize("look", [checked_path, file_of])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("x" * 5000, r"^x{80} \.\.\. has 5000 characters, more than the file system allows: give a path$"),
        ("x/" * 2500, r"^(x/){40} \.\.\. has 5000 characters"),
        (Path("x" * 256), "has 256 characters"),
        ("https://example.org/a.jpg", r"^https://example\.org/a\.jpg is an address, .*: download it$"),
        (Path("https://example.org/a.jpg"), "is an address"),
        ("s3://bucket/a.jpg", "is an address"),
        ("circle", "circle is a link that leads back to itself: give the file that is meant"),
        ("~nobody-of-this-name/a.png", "in the home of a user that there is not: write the whole path"),
        ("a\0b", r"'a\\x00b' is no path \(embedded null byte\)"),
        ("", "is an empty path: name a file"),
    ],
)
def test_what_cannot_be_looked_up_is_told(look, given, said):
    with pytest.raises(UserError, match=said):
        look(given)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("none.png", f"there is no picture none.png: looked in {os.sep}"),
        ("gone.png", r"gone\.png is a link to nowhere\.png, which is not there: give the file that is meant"),
        ("http:", r"http: is a folder: give its files, such as sorted\(Path\('http:'\).iterdir\(\)\)"),
    ],
)
def test_what_is_no_file_is_told(given, said):
    with pytest.raises(UserError, match=said):
        file_of(given, "picture")
