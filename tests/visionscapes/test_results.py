import numpy as np
import torch

from tests.helpers.dubbing import speech
from visionscapes.media.video import probe, timed_pictures
from visionscapes.results import Attribution, DetectedObjects, MadeVideo, SyncResult, Translation


def part(start: int, count: int, value: int = 0) -> MadeVideo:
    times = torch.arange(start, start + count) / 25
    return MadeVideo(
        torch.full((count, 16, 24, 3), value, dtype=torch.uint8), times.double(), torch.ones(count).bool(), rate=25.0
    )


def test_parts_become_the_videos_that_they_are_of():
    videos = MadeVideo.series([part(0, 3), part(3, 2), part(0, 4)])
    assert [len(video) for video in videos] == [5, 4]
    assert (videos[0].times * 25).round().tolist() == [0, 1, 2, 3, 4]
    assert len(videos[0].found) == 5


def test_a_video_is_saved_with_its_sound(tmp_path):
    video = MadeVideo(**{**vars(part(0, 10, value=200)), "sound": str(speech(tmp_path / "a.wav", 0.4))})
    path = video.save(tmp_path / "new" / "a.mp4")
    info = probe(path)
    assert (info.width, info.height, info.frames, info.has_sound) == (24, 16, 10, True)
    assert all(np.abs(one.picture.astype(int) - 200).max() < 4 for one in timed_pictures(path))


def test_times_of_their_own_are_kept(tmp_path):
    times = torch.tensor([0, 0.1, 0.5], dtype=torch.float64)
    video = MadeVideo(**{**vars(part(0, 3)), "times": times, "steady": False})
    shown = [one.time for one in timed_pictures(video.save(tmp_path / "a.mp4"))]
    assert np.allclose(shown, times, atol=1e-3)


def test_offsets_in_seconds():
    assert SyncResult(5, 1.0, 0.5, windows=9, faces=1.0).seconds == 0.2
    assert SyncResult(None, 0.0, 0.0, windows=0, faces=0.0).seconds is None


def test_others_hold_plain_values():
    found = DetectedObjects(torch.zeros(2, 4), torch.ones(2), torch.tensor([0, 1]), names=["cat", "dog"])
    assert len(found) == 2
    assert Translation(torch.zeros(3, 4, 4)).parts == {}
    assert Attribution("unknown", 1.0, margin=-0.5, probability=0.5).source == "unknown"
