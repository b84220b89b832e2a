import io

import numpy as np
import pytest
import torch

from datamodules.clips.faces.face_options import FaceOptions
from datamodules.clips.given import GivenClips, in_memory, path_of
from datamodules.clips.prepared_clips import Clips
from datamodules.clips.talking_world import TalkingWorld
from tests.helpers.face_files import needs_face_files
from tests.helpers.replicas_clips import write_talking
from visionscapes.errors import UserError

pytestmark = needs_face_files


def test_a_video_is_prepared_as_its_file_is_for_predict(tmp_path):
    path = write_talking(tmp_path / "a.mp4", frames=12)
    data = Clips(str(path), face_size=24, num_workers=0)
    data.setup("predict")
    (expected,) = data.predict_dataloader()
    (batch,) = GivenClips(24).ask(path).batches(1)
    assert batch.keys() == expected.keys()
    for key in ("faces", "mel", "found"):
        assert torch.equal(batch[key], expected[key])
    assert batch["name"] == expected["name"]
    assert data.inputs == GivenClips(24)


def test_lists_and_options(tmp_path):
    paths = [write_talking(tmp_path / f"{k}.mp4", person=k, frames=8) for k in range(2)]
    asked = GivenClips(24, FaceOptions(choose=0)).ask(paths)
    assert asked.many
    assert [batch["faces"].shape[-1] for batch in asked.batches(4)] == [24, 24]
    again = GivenClips(**GivenClips(24, FaceOptions(choose=0)).options())
    assert again.faces == FaceOptions(choose=0)
    assert TalkingWorld(face_size=48).inputs == GivenClips(48)


def test_errors(tmp_path):
    with pytest.raises(UserError, match="class ndarray: give the path of a file"):
        GivenClips().ask(np.zeros((4, 4, 3)))
    with pytest.raises(UserError, match="face_size"):
        GivenClips(1)
    with pytest.raises(UserError, match=r"gone\.mp4"):
        list(GivenClips().ask(tmp_path / "gone.mp4").batches(1))
    assert path_of(tmp_path, "x") == str(tmp_path)
    with pytest.raises(UserError, match="the picture is of class BytesIO: give the path of a file of video"):
        GivenClips().ask(io.BytesIO(b"video"))
    for given, said in (("x" * 5000, "has 5000 characters"), ("https://example.org/a.mp4", "download it")):
        with pytest.raises(UserError, match=said):
            path_of(given, "x")


def test_a_result_that_does_not_fit_is_told_before_it_is_made():
    chunk = {"frames": [np.zeros((1080, 1920, 3), np.uint8)], "total": 2000}
    with pytest.raises(UserError, match=r"a\.mp4, 2000 frames, would take 11\.6 GiB of memory: cut the video"):
        next(in_memory([chunk], "a.mp4"))
    few = chunk | {"total": 20}
    assert list(in_memory([few], "a.mp4")) == [few]
    assert list(in_memory([{"shots": torch.zeros(1, 3, 8, 8), "total": 1000}], "a.mp4"))
