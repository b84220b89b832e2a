import pytest

from datamodules.clips.heads.subject_lists import Subject, listed_subjects, read_subjects
from visionscapes.errors import UserError

LINES = "id1/v/1 source 8\nid1/v/1 source 2\nid2/v/1 target 0\r\n\nid1/v/1 target 30\nid2/v/1 source 4\n"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "list.txt"


def test_subjects_have_their_frames_in_order(path):
    path.write_text(LINES)
    assert read_subjects(path) == [Subject("id1/v/1", [2, 8], [30]), Subject("id2/v/1", [4], [0])]


def test_clips_may_lie_in_the_folder_test_and_missing_ones_are_counted(path, caplog):
    path.write_text(LINES)
    kept = listed_subjects(path, ["train/id2/v/1", "test/id1/v/1"])
    assert [(place, each.clip) for place, each in kept] == [(1, "id1/v/1")]
    assert "left out 1 of 2 subjects: their clips are not there, the first is id2/v/1" in caplog.text
    with pytest.raises(UserError, match=r"None of the 2 clips of .*first missing one is id1/v/1.*begin as other"):
        listed_subjects(path, ["other"])


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "lists no frame"),
        ("a source", "entry 1: 'a source' is not"),
        ("a shot 3", "is not"),
        ("a source -1", "is not"),
        ("a source 1\na target 1", "entry 2: frame 1 of a is in the list already, and a target is never a shot"),
        ("a source 1", "no target of a"),
        ("a target 1", "no source of a"),
        ("../a source 1", "leads out of the folder"),
    ],
)
def test_what_is_no_list_is_refused(path, content, said):
    path.write_text(content)
    with pytest.raises(UserError, match=said):
        read_subjects(path)


def test_a_missing_list_is_told(path):
    with pytest.raises(UserError, match="There is no list"):
        read_subjects(path)
