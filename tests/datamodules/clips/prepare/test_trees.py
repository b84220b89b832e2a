import logging
import os

import pytest

from datamodules.clips.prepare.trees import (
    clean,
    compare_with_published,
    find_clips,
    passed_over,
    with_names_of_their_own,
)
from datamodules.common.errors import DatasetNotFoundError

VOXCELEB2 = [
    "dev/mp4/id00012/-ab_cdefghi/00039.mp4",
    "dev/mp4/id00012/-ab_cdefghi/00040.mp4",
    "dev/mp4/id00012/_xy-zabcdef/00010.mp4",
    "dev/mp4/id00012/_xy-zabcdef/00009.mp4",
    "test/mp4/id00017/01dfn2spqyE/00001.mp4",
]
LRW = [
    f"lipread_mp4/{word}/{part}/{word}_00001.mp4" for word in ("ABOUT", "YEARS") for part in ("train", "val", "test")
]


def touch(root, names):
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def names(clips):
    return [clip.name for clip in clips]


def test_voxceleb2_is_told_by_its_tree_and_dev_is_for_training(tmp_path):
    touch(tmp_path, [*VOXCELEB2, "dev/aac/id00012/-ab_cdefghi/00039.m4a", "dev/mp4/id00012/-ab_cdefghi/._00039.mp4"])
    layout, clips = find_clips(tmp_path)
    assert layout == "voxceleb2"
    assert names(clips) == [
        "test/id00017/01dfn2spqyE/00001",
        "train/id00012/-ab_cdefghi/00039",
        "train/id00012/-ab_cdefghi/00040",
        "train/id00012/_xy-zabcdef/00009",
        "train/id00012/_xy-zabcdef/00010",
    ]
    assert clips[1].video == tmp_path / VOXCELEB2[0]
    assert clips[1].sound == tmp_path / "dev/aac/id00012/-ab_cdefghi/00039.m4a"


def test_the_first_utterance_of_a_video_has_the_lowest_number_of_its_folder(tmp_path):
    touch(tmp_path, VOXCELEB2)
    _, clips = find_clips(tmp_path, first_utterance=True)
    assert names(clips) == [
        "test/id00017/01dfn2spqyE/00001",
        "train/id00012/-ab_cdefghi/00039",
        "train/id00012/_xy-zabcdef/00009",
    ]


def test_one_part_of_voxceleb2_is_enough(tmp_path):
    touch(tmp_path, VOXCELEB2[:1])
    for place in (tmp_path, tmp_path / "dev"):
        layout, clips = find_clips(place)
        assert (layout, names(clips)) == ("voxceleb2", ["train/id00012/-ab_cdefghi/00039"])


@pytest.mark.parametrize("inside", [False, True])
def test_lrw_has_the_word_above_the_part(tmp_path, inside):
    touch(tmp_path, [*LRW, "lipread_mp4/ABOUT/train/ABOUT_00001.txt"])
    layout, clips = find_clips(tmp_path / "lipread_mp4" if inside else tmp_path)
    assert layout == "lrw"
    parts = [f"{part}/{word}/{word}_00001" for part in ("test", "train", "val") for word in ("ABOUT", "YEARS")]
    assert names(clips) == parts


def test_any_folder_is_searched_with_its_sub_folders_and_sorted(tmp_path):
    touch(tmp_path, ["b c.MP4", "a/-x.mov", "a/x.y.webm", ".hidden.mp4", ".git/z.mp4", "notes.txt", "train/q'.avi"])
    (tmp_path / "loop").symlink_to(tmp_path)
    layout, clips = find_clips(str(tmp_path))
    assert (layout, names(clips)) == ("folder", ["a/-x", "a/x.y", "b c", "train/q'"])


def test_a_file_and_a_glob_take_any_suffix(tmp_path):
    touch(tmp_path, ["one/a.xyz", "one/two/b.xyz", "c.mp4"])
    assert names(find_clips(tmp_path / "one" / "a.xyz")[1]) == ["a"]
    assert names(find_clips(str(tmp_path / "**" / "*.xyz"))[1]) == ["one/a", "one/two/b"]
    assert names(find_clips(str(tmp_path / "one" / "[a-z].xyz"))[1]) == ["a"]


def test_a_folder_whose_name_looks_like_a_glob_is_a_folder(tmp_path):
    touch(tmp_path, ["[a]*/x.mp4"])
    assert names(find_clips(tmp_path / "[a]*")[1]) == ["x"]


def test_the_layout_can_be_said(tmp_path):
    touch(tmp_path, VOXCELEB2)
    layout, clips = find_clips(tmp_path, "folder")
    assert layout == "folder"
    assert "dev/mp4/id00012/-ab_cdefghi/00039" in names(clips)
    for other in ("lrw", "voxceleb2"):
        with pytest.raises(DatasetNotFoundError, match=r"(?s)Expected:.*Choose another --layout"):
            find_clips(touch(tmp_path / "other", ["a.mp4"]), other)


@pytest.mark.parametrize("place", ["none", "empty", "none/*.mp4"])
def test_nothing_found_is_told(tmp_path, place):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"(?s)not found.*Looked in: .*Ways out"):
        find_clips(str(tmp_path / place))


def test_names_are_cleaned_and_those_that_clash_are_told(tmp_path):
    assert clean("a b'\"/c\nd\x7f\udcff") == "a b'\"/c_d__"
    assert len(clean("é" * 300).encode()) == 180
    touch(tmp_path, ["a.mov", "a.mp4", "c\nd.mp4", "c_d.mp4", os.fsdecode(b"\xff.mp4")])
    _, clips = find_clips(tmp_path)
    kept, others = with_names_of_their_own(clips)
    assert names(kept) == ["_", "a", "c_d"]
    assert [str(error) for _, error in others] == [
        f"{tmp_path}/a.mp4 would have the name of {tmp_path}/a.mov, a: rename one of them",
        f"{tmp_path}/c_d.mp4 would have the name of {tmp_path}/c\nd.mp4, c_d: rename one of them",
    ]
    assert {error.reason for _, error in others} == {"name taken"}


def test_counts_are_compared_with_the_published_ones(caplog):
    with caplog.at_level(logging.WARNING):
        compare_with_published("voxceleb2", ["train/a", "train/b"])
        compare_with_published("voxceleb2", ["train/a"] * 145_569 + ["test/a"], first_utterance=True)
        compare_with_published("folder", ["a"])
    assert caplog.messages == [
        "VoxCeleb2 train has 2 clips here, 1092009 as published",
        "VoxCeleb2 test has 1 clips here, 4911 as published",
    ]


def test_files_that_are_no_videos_by_their_names_are_counted(tmp_path):
    for name in ("a.mp4", "b.GIF", "sub/c.gif", "sub/d.MOV", "README", ".hidden", "sub/.DS_Store", "e.jpg"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert passed_over(tmp_path) == {".gif": 2, "no suffix": 1, ".jpg": 1}
    assert passed_over(tmp_path / "a.mp4") == {}
