from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from datamodules.clips.clip import face_crops
from datamodules.clips.clip_files import PreparedClip
from datamodules.clips.prepare import offsets
from datamodules.clips.prepare.offsets import OutOfSyncError, SyncOptions, as_text, frames_to_move, histogram, measure
from metrics import lip_sync
from metrics.lip_sync import REACH, SyncScore, sync_scores
from networks.embedded_clip import embed_clip
from networks.sync_network import SyncNetwork
from tests.helpers.prepared_clips import make_prepared_clip
from visionscapes.errors import UserError


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    torch.manual_seed(0)
    network = SyncNetwork(image_size=24, width=4, norm="group")
    path = tmp_path_factory.mktemp("weights") / "syncnet.safetensors"
    save_file(network.state_dict(), path, {key: str(value) for key, value in network.options.items()})
    return str(path)


def test_a_clip_is_measured_in_pieces_as_in_one(tmp_path, weights):
    found = np.ones(150, bool)
    found[20:25] = False
    make_prepared_clip(tmp_path / "a.safetensors", 150, found=found)
    clip = PreparedClip(tmp_path / "a.safetensors")
    network = SyncNetwork.from_file(weights)
    video, audio = embed_clip(network, face_crops(clip, range(150), 24), clip.mel)
    known = torch.tensor([bool(found[start : start + 5].all()) for start in range(len(video))])
    assert measure(clip, weights) == sync_scores(video, audio, known=known)


@pytest.mark.parametrize(
    ("offsets", "limits", "moved"),
    [
        ("keep", {}, [0, 0, 0]),
        ("shift", {}, [2, None, 0]),
        ("shift", {"largest_offset": 15}, [2, -12, 0]),
        ("shift", {"largest_offset": 5}, [2, None, 0]),
        ("shift", {"least_confidence": 1.0}, [2, None, None]),
        ("drop", {}, [None, None, 0]),
        ("drop", {"largest_offset": 2}, [0, None, 0]),
        ("drop", {"largest_offset": 15, "least_confidence": 1.0}, [0, None, None]),
    ],
)
def test_clips_are_kept_shifted_or_dropped(weights, offsets, limits, moved):
    options = SyncOptions(weights, offsets, **limits)
    scores = [SyncScore(2, 3.0, 1.0), SyncScore(-12, 0.5, 1.0), SyncScore(0, 0.5, 1.0)]
    for score, expected in zip(scores, moved, strict=True):
        if expected is None:
            with pytest.raises(OutOfSyncError, match=r"a\.mp4: ") as raised:
                frames_to_move("a.mp4", score, options)
            assert raised.value.score is score
            assert raised.value.reason == ("out of sync" if score.confidence >= options.least else "offset unclear")
        else:
            assert frames_to_move("a.mp4", score, options) == expected
    assert frames_to_move("a.mp4", SyncScore(None, float("nan"), float("nan")), options) == 0


def test_messages_say_which_way():
    options = SyncOptions("w", "drop", largest_offset=3)
    for offset, words in ((4, "its sound is 4 frames late, more than 3"), (-5, "5 frames early")):
        with pytest.raises(OutOfSyncError, match=words):
            frames_to_move("a.mp4", SyncScore(offset, 3.0, 1.0), options)


def test_limits_that_would_do_nothing_are_told(weights):
    for limits in ({"least_confidence": 1.0}, {"largest_offset": 0}):
        with pytest.raises(UserError, match="leaves out none"):
            SyncOptions(weights, **limits)
    with pytest.raises(UserError, match="largest_offset is 16; it has to be between 0 and 15"):
        SyncOptions(weights, "drop", largest_offset=16)


def test_settings_know_the_file_by_its_content(tmp_path, weights):
    copy = tmp_path / "copy.safetensors"
    content = Path(weights).read_bytes()
    copy.write_bytes(content)
    assert SyncOptions(weights).settings() == SyncOptions(str(copy)).settings()
    copy.write_bytes(content[:-1])
    assert SyncOptions(weights).settings() != SyncOptions(str(copy)).settings()
    with pytest.raises(UserError, match=r"none\.safetensors"):
        SyncOptions(str(tmp_path / "none.safetensors")).settings()


def test_the_histogram_can_be_read():
    counts = histogram([0, 0, 0, 0, 2, -1])
    assert len(counts) == 2 * REACH + 1
    assert as_text(counts) == [
        "offset of the sound in frames of 40 ms, above 0 it is late (6 clips)",
        "  -1        1  16.7% ##########",
        "  +0        4  66.7% ########################################",
        "  +1        0   0.0%",
        "  +2        1  16.7% ##########",
    ]
    assert as_text(histogram([])) == ["no clip had its offset measured"]


def test_constants_are_those_of_the_metric() -> None:
    assert (offsets.REACH, offsets.SURE) == (lip_sync.REACH, lip_sync.SURE)


@pytest.mark.parametrize("what", ["shift", "drop"])
def test_an_offset_that_means_nothing_is_not_acted_upon(what: Literal["shift", "drop"]) -> None:
    nothing, clear = SyncScore(4, 0.05, 0.9), SyncScore(0, 0.12, 0.9)
    with pytest.raises(OutOfSyncError) as error:
        frames_to_move("a", nothing, SyncOptions("w", what))
    assert error.value.reason == "offset unclear"
    assert frames_to_move("a", clear, SyncOptions("w", what)) == 0
    asked = SyncOptions("w", what, least_confidence=0.0, largest_offset=9)
    assert frames_to_move("a", nothing, asked) == (4 if what == "shift" else 0)
    assert frames_to_move("a", nothing, SyncOptions("w")) == 0
