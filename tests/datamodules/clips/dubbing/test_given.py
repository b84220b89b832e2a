import numpy as np
import pytest
import torch

from datamodules.clips.dubbing.dubbing_world import DubbingWorld
from datamodules.clips.dubbing.given import GivenVideos
from tests.helpers.dubbing import nobody, person, speech, to_dub, video_of
from tests.helpers.face_files import needs_face_files
from visionscapes.errors import UserError

pytestmark = needs_face_files


@pytest.fixture(scope="module")
def talk(tmp_path_factory):
    return video_of(tmp_path_factory.mktemp("videos") / "a.mp4", person(0))


def test_a_video_is_prepared_as_its_file_is_for_predict(talk, tmp_path):
    sound = speech(tmp_path / "b.wav", 0.3)
    expected = list(to_dub(talk, audio=sound))
    found = list(GivenVideos(32).ask(talk, sound).batches(1))
    assert len(found) == len(expected)
    for key in ("faces", "frame_mel", "found", "boxes", "roll"):
        assert all(torch.equal(one[key], other[key]) for one, other in zip(found, expected, strict=True))
    assert all(np.array_equal(one["frames"], other["frames"]) for one, other in zip(found, expected, strict=True))


def test_sounds_go_with_videos(talk, tmp_path):
    sound, other = speech(tmp_path / "b.wav", 0.3), speech(tmp_path / "c.wav", 0.2)
    sounds = [
        [batch["audio"] for batch in GivenVideos(32).ask(*given).batches(1)]
        for given in ((talk,), ([talk, talk], sound), ([talk, talk], [sound, other]))
    ]
    assert sounds == [[str(talk)], [str(sound)] * 2, [str(sound), str(other)]]
    with pytest.raises(UserError, match="2 videos and 1 sounds"):
        GivenVideos(32).ask([talk, talk], [sound])


def test_a_video_without_a_face_is_named(tmp_path):
    path = video_of(tmp_path / "nobody.mp4", nobody(6))
    with pytest.raises(UserError, match=r"nobody\.mp4 shows no face"):
        list(GivenVideos(32).ask(path).batches(1))


def test_options():
    assert DubbingWorld(face_size=32, most_turned=30).inputs == GivenVideos(32, most_turned=30)
    assert GivenVideos(**GivenVideos(32, length="loop").options()) == GivenVideos(32, length="loop")
    with pytest.raises(UserError, match="most_turned"):
        GivenVideos(most_turned=100)
