import pytest

from datamodules.clips.video_files import find_videos
from datamodules.common.errors import DatasetNotFoundError


def found(place):
    return find_videos(place, name="The video", expected="videos", remedies=["Name another"])


@pytest.fixture
def videos(tmp_path):
    folder = tmp_path / "my videos"
    (folder / "sub").mkdir(parents=True)
    for name in ("b.mp4", "a.mp4", "sub/c.MOV", "notes.txt", ".hidden.mp4"):
        (folder / name).touch()
    return folder


def test_a_file_a_folder_and_a_pattern_name_videos(videos, monkeypatch):
    a, b, c = videos / "a.mp4", videos / "b.mp4", videos / "sub" / "c.MOV"
    assert found(a) == (videos, [a])
    assert found(str(videos)) == (videos, [a, b, c])
    assert found(f"{videos}/*.mp4") == (videos, [a, b])
    assert found(f"{videos}/**/*.M*") == (videos, [c])
    assert found(f"{videos}/s*/*") == (videos, [c])
    assert found(videos / "notes.txt") == (videos, [videos / "notes.txt"]), "who reads it tells that it is none"
    monkeypatch.setenv("HOME", str(videos))
    assert found("~/a.mp4") == (videos, [a])


def test_files_of_other_kinds_are_told(videos, caplog):
    (videos / "photo.heic").touch()
    found(videos)
    assert "my videos: left out 2 files that are no videos: 1 .heic, 1 .txt" in caplog.text
    caplog.clear()
    find_videos(videos / "sub", name="", expected="", remedies=[])
    assert not caplog.text


def test_a_name_that_looks_like_a_pattern_is_a_name_if_it_is_there(tmp_path):
    path = tmp_path / "talk [1]" / "talk [2].mp4"
    path.parent.mkdir()
    path.touch()
    assert found(path) == found(path.parent) == (path.parent, [path])


@pytest.mark.parametrize("place", ["none.mp4", "none/", "empty", ""])
def test_no_video_is_told(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetNotFoundError, match=r"(?s)The video was not found.*1\. Name another\."):
        found(place)
    if not place:
        (tmp_path / "a.mp4").touch()
        with pytest.raises(DatasetNotFoundError, match="Missing: a name: it is empty"):
            found(place)
    if place.startswith("none"):
        with pytest.raises(DatasetNotFoundError, match="Missing: a file or folder of this name"):
            found(place)


@pytest.mark.parametrize("place", ["*.avi", "[", "[a]/**"])
def test_a_pattern_that_nothing_matches_is_told(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"(?s)The video was not found.*1\. Mend the pattern"):
        found(place)
