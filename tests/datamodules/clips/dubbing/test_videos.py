from pathlib import Path

import pytest

from datamodules.clips.dubbing import videos as module
from datamodules.clips.dubbing.videos import chunk_loader, distinct_names
from tests.helpers.dubbing import nobody, person, speech, to_dub, video_of
from tests.helpers.face_files import needs_face_files
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError

pytestmark = needs_face_files


def test_videos_come_one_after_the_other(tmp_path):
    first, second = (video_of(tmp_path / f"{name}.mp4", person(k, 6)) for k, name in enumerate("ab"))
    data = to_dub(first, second, audio=speech(tmp_path / "c.wav", 1.0), chunk=4)
    batches = list(chunk_loader(data))
    assert [batch["name"] for batch in batches] == ["a", "a", "b", "b"]
    assert [batch["last"] for batch in batches] == [False, True, False, True]
    assert isinstance(batches[0]["frames"], list)
    assert batches[0]["frames"][0].shape == (112, 112, 3)
    assert len(batches) <= len(data) <= len(batches) + 2


@pytest.mark.parametrize("length", ["trim", "hold", "loop"])
@pytest.mark.parametrize("seconds", [0.1, 0.9])
def test_there_are_never_more_chunks_than_said(tmp_path, length, seconds):
    video = video_of(tmp_path / "a.mp4", person(1, 8))
    data = to_dub(video, audio=speech(tmp_path / "c.wav", seconds), length=length, chunk=3)
    assert len(list(data)) <= len(data)


def test_large_frames_come_in_smaller_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MOST_BYTES", 5 * 3 * 112 * 112)
    video = video_of(tmp_path / "a.mp4", person(1, 8))
    assert [len(batch["frames"]) for batch in to_dub(video)] == [5, 3]


def test_one_bad_video_does_not_end_the_run(tmp_path, capsys, caplog):
    good, empty = video_of(tmp_path / "a.mp4", person(1, 4)), video_of(tmp_path / "b.mp4", nobody(3))
    broken = tmp_path / "c.mp4"
    broken.write_bytes(b"no video")
    batches = list(to_dub(broken, empty, good))
    assert [batch["name"] for batch in batches] == ["a"]
    printed = capsys.readouterr().out
    assert "left out: " in printed
    assert "c.mp4 cannot be read" in printed
    assert "left out 1 of 3 videos: no face" in caplog.text
    assert "left out 1 of 3 videos: unreadable" in caplog.text
    with pytest.raises(UserError, match=r"None of 2 videos can be dubbed\. The first: "):
        list(to_dub(broken, empty))
    with pytest.raises(ClipError, match=r"c\.mp4 cannot be read"):
        list(to_dub(broken))
    with pytest.raises(UserError, match="There is no video to dub"):
        to_dub()


def test_processes_share_the_videos_and_one_may_have_none(tmp_path, monkeypatch, capsys):
    """A loader without a length would be an error of Lightning, and a bad video must not end the others' processes."""
    good, broken = video_of(tmp_path / "a.mp4", person(1, 4)), tmp_path / "c.mp4"
    broken.write_bytes(b"no video")
    monkeypatch.setattr(module, "rank_and_world_size", lambda: (1, 2))
    assert len(to_dub(good)) == 1
    assert list(to_dub(good)) == []
    assert list(to_dub(good, broken)) == []
    assert "left out: " in capsys.readouterr().out


def test_files_about_videos_have_names_of_their_own():
    paths = [Path(each) for each in ("a/talk.mp4", "b/Talk.mov", "c/ä b.mp4", "d/plain", "x/a/talk.avi", "b/Talk.mov")]
    names = distinct_names(paths)
    assert list(names.values()) == ["a_talk", "b_Talk", "ä b", "plain", "a_talk-2"]
    assert len(distinct_names([Path("x" * 300 + ".mp4")]).popitem()[1]) == 180
