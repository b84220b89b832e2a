import pytest

from datamodules.clips.dubbing import videos as module
from datamodules.clips.video_chunks import chunk_loader
from tests.helpers.dubbing import person, speech, to_dub, video_of
from tests.helpers.face_files import needs_face_files
from visionscapes.errors import UserError

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


def test_no_video():
    with pytest.raises(UserError, match="There is no video to dub"):
        to_dub()
