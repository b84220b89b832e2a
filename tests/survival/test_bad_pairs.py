"""Pairs to dub that cannot be had, lists that are none and videos that are not there, through the real entry point.

Each ends with status 2 and a message that says what is wrong and what to do; no run folder is left.
"""

import pytest

import cli
from tests.helpers.prepared_clips import make_prepared_clip
from tests.helpers.survival import REPOSITORY

WORLD = ["--data=datamodules.DubbingWorld", "--data.clips=2", "--data.face_size=16", "--data.seconds=0.4"]
CLIPS = ["--data=datamodules.DubbingClips", "--data.root=clips", "--data.num_workers=0"]


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(str(REPOSITORY))
    monkeypatch.chdir(tmp_path)

    def check(command, words, *patterns):
        with pytest.raises(SystemExit) as caught:
            cli.main([command, "--model=tests.helpers.tiny.TinyModule", "--trainer.accelerator=cpu", *words])
        error = capsys.readouterr().err
        assert caught.value.code == 2, error
        assert "Traceback" not in error
        message = error.partition("error: ")[2]
        assert 0 < len(message) < 1200
        for pattern in patterns:
            assert pattern in message, error
        assert list(tmp_path.glob("runs/*/*")) == []

    return check


@pytest.mark.parametrize(
    ("words", "patterns"),
    [
        (["--data.test_clips=1"], ("1 clip(s) make 0 pair(s) of the setting cross", "lower --data.init_args.cross")),
        (["--data.test_clips=2", "--data.cross=3"], ("2 clip(s) make 2 pair(s)", "3 are asked for")),
        (["--data.reconstruction=100"], ("setting reconstruction, and 100 are asked for",)),
        (["--data.reconstruction=-1"], ("DubbingWorld.reconstruction is -1",)),
        (["--data.seconds=0.3"], ("DubbingWorld.seconds is 0.3", "take at least 0.36")),
        (["--data.silence=1"], ("DubbingWorld.silence is 1",)),
        (["--data.length=stretch"], ("length", "trim")),
        (["--data.most_turned=0"], ("DubbingWorld.most_turned is 0",)),
    ],
)
def test_a_world_that_cannot_be(refused, words, patterns):
    refused("test", [*WORLD, *words], *patterns)


def make_clips(root, count=2):
    for index in range(count):
        make_prepared_clip(root / "test" / f"id{index}" / "video" / "00001.safetensors", 12, seed=index)


LISTS = {
    "missing": (None, "The list of pairs list.txt cannot be read (No such file or directory)"),
    "empty": (b"", "list.txt lists no pair"),
    "one word": (b"id0/video/00001 id1/video/00001\nid0/video/00001\n", "Line 2 of list.txt has 1 words"),
    "table": (b"audio,video\n", "Line 1 of list.txt has 1 words"),
    "three words": (b"a b c\n", "Line 1 of list.txt has 3 words"),
    "no text": (b"\xff\xfe" + bytes(range(128, 255)), "list.txt is no list of text lines"),
    "escape": (b"../../etc/passwd id0/video/00001\n", "list.txt names '../../etc/passwd'"),
    "of another data set": (b"id7/video/00001 id7/video/00001\n", "None of the 1 pairs of list.txt"),
}


@pytest.mark.parametrize("kind", LISTS)
def test_a_list_that_is_none(tmp_path, refused, kind):
    make_clips(tmp_path / "clips")
    content, told = LISTS[kind]
    if content is not None:
        (tmp_path / "list.txt").write_bytes(content)
    option = "reconstruction_list" if kind in ("empty", "of another data set") else "cross_list"
    refused("test", [*CLIPS, f"--data.{option}=list.txt"], told)


def test_a_folder_for_a_list(tmp_path, refused):
    make_clips(tmp_path / "clips")
    refused("test", [*CLIPS, "--data.cross_list=clips"], "The list of pairs clips cannot be read (Is a directory)")


def test_clips_that_are_too_few_or_too_short(tmp_path, refused):
    make_clips(tmp_path / "clips", count=1)
    refused("test", CLIPS, "1 clip(s) make 0 pair(s) of the setting cross")
    for path in (tmp_path / "clips").rglob("*.safetensors"):
        make_prepared_clip(path, 4)
    refused("test", CLIPS, "No clip of clips can be used (1 looked at)", "has no window with sound")
    for path in (tmp_path / "clips").rglob("*.safetensors"):
        make_prepared_clip(path.parents[3] / "train" / "a.safetensors", 8)
    refused("fit", [*CLIPS, "--data.val_share=0"], "nothing is left to train on")


@pytest.mark.parametrize(
    ("data", "place"),
    [(CLIPS, "nowhere.mp4"), *((WORLD, each) for each in ("nowhere/", "empty", "", "clips"))],
)
def test_a_video_that_is_not_there(tmp_path, refused, data, place):
    make_clips(tmp_path / "clips")
    (tmp_path / "empty").mkdir()
    refused("predict", [*data, f"--data.video={place}"], "The video to dub was not found", "--data.init_args.video")


def test_a_pattern_that_no_video_matches(refused):
    refused("predict", [*WORLD, "--data.video=*.mp4"], "The video to dub was not found", "Mend the pattern")


def test_prepared_clips_for_a_video(tmp_path, refused):
    make_clips(tmp_path / "clips")
    refused("predict", CLIPS, "clips holds prepared clips", "name the video to dub as --data.init_args.video")
