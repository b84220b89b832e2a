from pathlib import Path

from datamodules.common.errors import DatasetNotFoundError
from visionscapes.errors import UserError


def test_the_message_says_where_what_and_the_ways_out():
    error = DatasetNotFoundError(
        name="Faces",
        looked_in=["here", Path("/there")],
        expected="\n<root>/\n    a.jpg\n",
        remedies=["Point to it", "Download it"],
        missing="a.jpg",
    )
    assert str(error).splitlines() == [
        "Faces was not found.",
        f"Looked in: {Path.cwd() / 'here'}",
        "Looked in: /there",
        "Missing: a.jpg",
        "Expected:",
        "    <root>/",
        "        a.jpg",
        "Ways out:",
        "  1. Point to it.",
        "  2. Download it.",
    ]
    assert isinstance(error, UserError)
    assert error.looked_in == [Path("here"), Path("/there")]


def test_nothing_in_particular_is_missing():
    error = DatasetNotFoundError(name="Faces", looked_in="here", expected="a.jpg", remedies=["Point to it"])
    assert "Missing" not in str(error)
