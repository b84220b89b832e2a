import logging

import pytest

from datamodules.clips.dubbing.pair_lists import listed_pairs, read_pairs
from datamodules.clips.dubbing.pairs import Pair
from visionscapes.errors import UserError

NAMES = [
    "test/id00017/01dfn2spqyE/00001",
    "test/id00061/cAT9aR8oFx0/00141",
    "train/id00061/cAT9aR8oFx0/00141",
    "test/ABOUT/ABOUT_00001",
    "val/MONEY/MONEY_00028",
    "talk",
]


def written(tmp_path, *lines, ends="\n"):
    path = tmp_path / "list.txt"
    path.write_bytes("".join(f"{line}{ends}" for line in lines).encode())
    return path


@pytest.mark.parametrize("ends", ["\n", "\r\n"])
def test_pairs_are_sound_and_video_and_names_need_not_tell_their_part(tmp_path, ends):
    path = written(
        tmp_path,
        "id00017/01dfn2spqyE/00001 id00061/cAT9aR8oFx0/00141",
        "",
        "train/id00061/cAT9aR8oFx0/00141\ttest/id00017/01dfn2spqyE/00001.mp4",
        "ABOUT/test/ABOUT_00001 MONEY/val/MONEY_00028",
        "talk ABOUT/ABOUT_00001",
        ends=ends,
    )
    assert listed_pairs(path, "cross", NAMES) == [
        Pair("cross", video=1, audio=0),
        Pair("cross", video=0, audio=2),
        Pair("cross", video=4, audio=3),
        Pair("cross", video=3, audio=5),
    ]
    assert listed_pairs(path, "cross", NAMES, most=1) == [Pair("cross", video=1, audio=0)]


def test_clips_that_are_not_there_are_counted_and_the_first_is_told(tmp_path, caplog):
    path = written(tmp_path, "a talk", "talk talk", "talk b")
    with caplog.at_level(logging.WARNING):
        pairs = listed_pairs(path, "cross", NAMES)
    assert pairs == [Pair("cross", 5, 5)]
    (told,) = caplog.messages
    assert "list.txt: left out 2 of 3 pairs: their clips are not there, the first is a" in told


def test_a_list_of_other_clips_is_told(tmp_path):
    path = written(tmp_path, "talk x", "y talk")
    with pytest.raises(UserError, match=r"None of the 2 pairs of .*list\.txt is among the 6 clips \(the first .* x\)"):
        listed_pairs(path, "cross", NAMES)


def test_a_list_to_reconstruct_has_each_clip_with_itself(tmp_path):
    path = written(tmp_path, "talk talk", "talk ABOUT/test/ABOUT_00001")
    with pytest.raises(
        UserError, match=r"Pair 2 of .*list\.txt is of two clips, talk and ABOUT/test/ABOUT_00001.*cross"
    ):
        listed_pairs(path, "reconstruction", NAMES)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"a b\n\na b c\n", r"Line 3 of .*list\.txt has 3 words, 'a b c'; write two names"),
        (b"a\n", r"Line 1 of .*list\.txt has 1 words, 'a'"),
        (b"a ../../etc/passwd\n", r"list\.txt names '\.\./\.\./etc/passwd', which leads out"),
        (b"", r"list\.txt lists no pair"),
        (b"\n \n", r"list\.txt lists no pair"),
        (b"\xff\xfe\x00", r"list\.txt is no list of text lines"),
        (None, r"list\.txt cannot be read \(No such file"),
    ],
)
def test_what_is_no_list_is_told(tmp_path, content, told):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=told):
        list(read_pairs(path))


def test_a_folder_is_no_list(tmp_path):
    with pytest.raises(UserError, match=r"cannot be read \(Is a directory"):
        list(read_pairs(tmp_path))
