from pathlib import Path

import numpy as np
import pytest

from datamodules.clips import video_chunks as module
from datamodules.clips.video_chunks import PassingTimes, added, distinct_names, in_order
from tests.helpers.dubbing import nobody, person, to_dub, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.videos import number_of, numbered, write_media
from visionscapes.errors import UserError
from visionscapes.media.errors import ClipError
from visionscapes.media.video import timed_pictures


@needs_face_files
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


@needs_face_files
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


def test_pictures_of_a_video_that_starts_again_and_one_that_changed(tmp_path):
    path = write_media(tmp_path / "a.mp4", [numbered(k) for k in range(5)])
    sources = np.array([0, 0, 2, 4, 0, 1, 1])
    assert [number_of(picture) for picture in in_order(path, sources)] == sources.tolist()
    with pytest.raises(ClipError, match="changed while it was read"):
        list(in_order(path, np.array([3, 5])))


def test_times_and_seconds_are_kept(tmp_path):
    path = write_media(tmp_path / "a.mp4", [numbered(k) for k in range(3)])
    times = PassingTimes()
    assert [number_of(one.picture) for one in times.of(timed_pictures(path))] == [0, 1, 2]
    assert times.starts == pytest.approx([0, 0.04, 0.08])
    assert times.end == pytest.approx(0.12)
    seconds = {"faces": 1.0}
    with added(seconds, "faces"):
        pass
    assert 1 < seconds["faces"] < 1.5
