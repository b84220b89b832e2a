"""Inputs that make no sense, to the commands that prepare clips and that write videos of talking faces.

Each ends with status 2 and tells in one line what is wrong, or which video is left out; nothing is left behind.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from datamodules.clips import talking_files
from datamodules.clips.faces.track_files import LANDMARKS
from datamodules.clips.prepare import __main__ as prepare
from tests.helpers.face_files import needs_face_files
from tests.helpers.replicas_clips import talking, write_media, write_talking

HUGE = "9" * 5000
FRAMES = 6
LONGEST = 40  # letters of a long value that a message repeats, at least


def wrong(options: dict[str, tuple[str, ...]]) -> Iterator[list[str]]:
    for option, values in options.items():
        yield from ([f"--{option}={value}"] for value in values)


NUMBERS = ("nan", "inf", "-inf", "-1", "abc", "", "1e400", "[1]")
WHOLE = (*NUMBERS, "1.5", HUGE)
PREPARE = [
    *wrong({"size": (*WHOLE, "15", "4097"), "margin": (*NUMBERS, "0.4", "11"), "workers": (*WHOLE, "0")}),
    *wrong({"crop": ("odd", "", "5"), "sound": ("maybe", ""), "layout": ("cinema", "")}),
    *wrong({"shard": ("0/3", "4/3", "3", "a/b", "-1/3", "1/0", "²/3", "1/2/3", "", "1.0/2", f"1/{HUGE}", "/", "1/")}),
    *wrong({"faces.least_score": (*NUMBERS, "0", "2"), "faces.longest_gap": NUMBERS, "faces.smoothing": NUMBERS}),
    *wrong({"faces.choose": ("smallest", "-1", "1.5", "", "²", HUGE)}),
    *wrong({"landmarks": ("nowhere", "README.md"), "sync": ("nowhere", "configs", "", "/dev/zero")}),
    *([f"--{each}"] for each in ("offsets=drop", "offsets=x", "least-confidence=0.5", "largest-offset=3", "siz=64")),
    *(["--sync=README.md", each] for each in ("--largest-offset=3", "--least-confidence=.5")),
    *(["--sync=README.md", "--offsets=drop", f"--largest-offset={each}"] for each in ("16", "-1", "x")),
    *(["--sync=README.md", "--offsets=drop", f"--least-confidence={each}"] for each in ("nan", "-1", "x")),
    *([f"--out={each}"] for each in ("", "README.md", "README.md/x", "/proc/x", "/dev/null", "a" * 300, "a/" * 3000)),
]
TALKING = [
    *wrong({"clips": (*WHOLE, "0"), "size": (*WHOLE, "31", "2049"), "seed": WHOLE, "late": ("nan", "251", "-251")}),
    *wrong({"seconds": (*NUMBERS, "0", "0.1", "601"), "speech": ("klingon", ""), "nope": ("1",)}),
]
FOLDERS = ["", "nowhere", "/proc/nowhere", "a" * 300, "a/" * 3000, "*.nothing", "[", "~nobody/x", "/dev/null", "fifo"]
PLACES = ["README.md", "README.md/x", "/proc/nowhere", "/dev/null", "a" * 300, "a/" * 3000]


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    def check(main, words, *named):
        (tmp_path / "README.md").touch()
        monkeypatch.chdir(tmp_path)
        before = sorted(tmp_path.iterdir())
        try:
            status = main(words)
        except SystemExit as error:  # of argparse
            status = error.code
        assert status == 2
        error = capsys.readouterr().err
        told = [line for line in error.splitlines() if not line.startswith(("usage", " "))]
        assert told
        assert told[0].startswith(("error: ", "python -m datamodules.clips."))
        assert any(word[:LONGEST] in error for word in named), f"none of {named} is in {error!r}"
        assert len(told) <= 12
        assert all(len(line) < 600 for line in told if line.startswith("error: "))  # argparse repeats any word
        assert sorted(tmp_path.iterdir()) == before

    return check


@pytest.mark.parametrize("words", PREPARE, ids=lambda words: " ".join(words)[:60])
def test_options_of_prepare(tmp_path, refused, words):
    (tmp_path / "videos").mkdir()
    (tmp_path / "videos" / "a.mp4").touch()
    option, _, value = words[-1].removeprefix("--").partition("=")
    out = [] if option == "out" else ["--out=prepared"]
    refused(prepare.main, ["videos", *out, *words], f"--{option}", value or f"--{option}")


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder[:40])
def test_folders_of_prepare(tmp_path, refused, folder):
    os.mkfifo(tmp_path / "fifo")
    refused(prepare.main, [folder, "--out=prepared"], folder or "FOLDER", os.path.expanduser(folder) or "FOLDER")


@pytest.mark.parametrize("words", TALKING, ids=lambda words: " ".join(words)[:60])
def test_options_of_talking_files(refused, words):
    option = words[0].removeprefix("--").partition("=")[0]
    refused(talking_files.main, ["talk", *words], option)


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place[:40])
def test_places_of_talking_files(refused, place):
    refused(talking_files.main, [place, "--clips=1", "--seconds=0.2", "--size=32"], place)


def videos() -> dict[str, bytes | None]:
    """Return what is in files that are no videos of a person who talks."""
    return {
        "empty": b"",
        "text": b"hello",
        "zeros": bytes(5000),
        "noise": np.random.default_rng(0).bytes(20000),
        "web page": b"<html>404 Not Found</html>",
        "zip": b"PK\3\4" + bytes(100),
        "playlist": b"#EXTM3U\n/etc/passwd\n",
        "list": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
        "beginning": None,
        "one frame": None,
        "four frames": None,
        "no sound": None,
        "one sample": None,
        "sound alone": None,
        "nobody": None,
        "8 x 8": None,
        "2000 x 16": None,
    }


def make(kind: str, path: Path) -> None:
    images, audio = talking(0, FRAMES)
    if (content := videos()[kind]) is not None:
        path.write_bytes(content)
    elif kind == "beginning":
        whole = write_talking(path, frames=FRAMES).read_bytes()
        path.write_bytes(whole[:100])
    elif kind == "one sample":
        write_media(path, images, audio[:1])
    elif kind == "sound alone":
        write_media(path, None, audio)
    elif kind in ("one frame", "four frames"):
        write_talking(path, frames={"one frame": 1, "four frames": 4}[kind])
    elif kind == "no sound":
        write_talking(path, frames=FRAMES, sound=None)
    else:
        size = {"nobody": (64, 64), "8 x 8": (8, 8), "2000 x 16": (16, 2000)}[kind]
        write_media(path, np.full((FRAMES, *size, 3), 128, np.uint8), audio)


def left_out(video: Path, capsys: pytest.CaptureFixture, *words: str) -> str:
    """Return the line about a video that is left out."""
    out = video.parent / "out"
    assert prepare.main([str(video), f"--out={out}", "--size=32", "--workers=1", *words]) == 2
    printed = capsys.readouterr()
    assert printed.err == ""
    lines = printed.out.splitlines()
    assert "out: 0 clips, 0.0 minutes; 1 left out" in printed.out
    assert sorted(path.name for path in out.iterdir()) == ["left_out.csv", "manifest.csv"]
    line = lines[lines.index(next(line for line in lines if "left out" in line)) + 2]
    assert not {"Error", "crashed", "Traceback"} & set(printed.out.replace("(", " ").split())
    return line


@needs_face_files
@pytest.mark.parametrize("kind", videos())
def test_videos(tmp_path, capsys, kind):
    video = tmp_path / 'it\'s a "video"\n of $HOME.mp4'
    make(kind, video)
    assert ": " in left_out(video, capsys)  # and a remedy


GOOD = np.random.default_rng(0).uniform(30, 90, (FRAMES, 68, 2)).astype(np.float32)
TRACKS = {
    "not finite": {LANDMARKS: GOOD * np.nan},
    "nothing": {LANDMARKS: GOOD * 0},
    "shares": {LANDMARKS: GOOD / 112},
    "far away": {LANDMARKS: GOOD + 1e5},
    "beyond all bounds": {LANDMARKS: GOOD * 1e30},
    "of a larger video": {LANDMARKS: GOOD * 10},
    "of a point": {LANDMARKS: GOOD * 0 + 50},
    "too few": {LANDMARKS: GOOD[:-1]},
    "too many": {LANDMARKS: np.concatenate([GOOD, GOOD])},
    "no frames": {LANDMARKS: GOOD[:0]},
    "one frame": {LANDMARKS: GOOD[0]},
    "67 points": {LANDMARKS: GOOD[:, :67]},
    "words": {LANDMARKS: GOOD.astype(str)},
    "complex": {LANDMARKS: GOOD.astype(complex)},
    "objects": {LANDMARKS: np.array([GOOD, None], object)},
    "another name": {"points": GOOD},
    "boxes of nothing": {LANDMARKS: GOOD, "boxes": np.zeros((FRAMES, 4))},
    "boxes of five numbers": {LANDMARKS: GOOD, "boxes": np.ones((FRAMES, 5))},
    "boxes beyond all bounds": {LANDMARKS: GOOD, "boxes": np.tile([-1e30, -1e30, 1e30, 1e30], (FRAMES, 1))},
    "found nowhere": {LANDMARKS: GOOD, "found": np.zeros(FRAMES, bool)},
    "found too often": {LANDMARKS: GOOD, "found": np.ones(FRAMES + 1, bool)},
}


@pytest.mark.parametrize("kind", [*TRACKS, "text", "cut", "missing"])
def test_landmarks_of_another_detector(tmp_path, capsys, kind):
    path = tmp_path / "landmarks" / "video.npz"
    path.parent.mkdir()
    if kind != "missing":
        np.savez(path, **TRACKS.get(kind, {LANDMARKS: GOOD}))
    if kind in ("text", "cut"):
        path.write_bytes(b"hello" if kind == "text" else path.read_bytes()[:-100])
    video = write_talking(tmp_path / "video.mp4", frames=FRAMES)
    assert "video.npz" in left_out(video, capsys, f"--landmarks={path.parent}") or kind == "missing"
