"""Dubbing videos by one command, with weights that have hardly been trained.

configs/diff2lip.yaml
"""

import json

import numpy as np
import pytest

import cli
from tests.helpers.dubbing import nobody, person, speech, video_of
from tests.helpers.dubbing_runs import DIFF2LIP, QUIET, SMALL
from tests.helpers.face_files import needs_face_files
from tests.helpers.runs import ROOT
from visionscapes.media.video import probe, read_frames

pytestmark = needs_face_files


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of a step on drawn faces."""
    runs = tmp_path_factory.mktemp("weights")
    words = [*SMALL, *QUIET, f"--runs_dir={runs}", "--trainer.limit_train_batches=1", "--test_after_fit=false"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        folder = cli.main(["fit", f"--config={DIFF2LIP}", *words]).run_folder
    return folder / "checkpoints" / "last.ckpt"


def dub(weights, runs, **options):
    given = [f"--data.{name}={value}" for name, value in options.items()]
    words = [*SMALL, *QUIET, f"--runs_dir={runs}", f"--ckpt_path={weights}", *given]
    return cli.main(["predict", f"--config={DIFF2LIP}", *words]).run_folder / "dubbed"


def complaint_about(weights, runs, capsys, **options):
    """Return what is said where dubbing ends with status 2."""
    with pytest.raises(SystemExit) as end:
        dub(weights, runs, **options)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said[said.index("error: ") :]


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_video_is_dubbed(weights, tmp_path, capsys):
    frames = np.pad(person(1, 20), [(0, 0), (0, 0), (100, 100), (0, 0)], constant_values=90)
    frames[6:13, 20:, 100:-100] = 90  # the face leaves and returns
    video = video_of(tmp_path / "my talk.mp4", frames)
    folder = dub(weights, tmp_path / "runs", video=video, audio=speech(tmp_path / "new sound.wav", 0.6))
    assert files(folder) == ["my talk_dubbed.json", "my talk_dubbed.mp4"]
    info = probe(folder / "my talk_dubbed.mp4")
    assert (info.width, info.height, info.frames, info.rate, info.has_sound) == (312, 112, 15, 25, True)
    record = json.loads((folder / "my talk_dubbed.json").read_text())
    assert (record["dubbed"], record["without_face"], record["trimmed"]) == (8, 7, 5)
    assert (record["steps"], record["knows_drawn_faces_only"]) == (2, True)
    assert record["seconds"]["network"] > 0
    out = capsys.readouterr().out
    assert "8 of 15 frames dubbed, 7 without a face, 5 frames left out, for the sound had ended" in out
    assert "these weights know drawn faces only" in out
    for at, (new, old) in enumerate(zip(read_frames(folder / "my talk_dubbed.mp4"), read_frames(video), strict=False)):
        apart = np.abs(new.astype(int) - old).max(2)
        assert apart[:40].max() < 30, "above the mouth there is nothing but what the encoder changes"
        assert apart.max() < 30 if at in range(6, 13) else apart.max() > 30 or at in (4, 5), "untrained mouths are seen"


def test_sound_that_goes_on_and_two_videos_of_which_one_is_none(weights, tmp_path, capsys):
    video_of(tmp_path / "in" / "a.mp4", person(1, 4))
    (tmp_path / "in" / "b.mp4").write_bytes(b"no video")
    audio = speech(tmp_path / "new.wav", 0.4)
    folder = dub(weights, tmp_path / "runs", video=tmp_path / "in", audio=audio, length="hold")
    assert files(folder) == ["a_dubbed.json", "a_dubbed.mp4"]
    assert json.loads((folder / "a_dubbed.json").read_text())["held"] == 6
    assert "b.mp4 cannot be read as video or sound" in capsys.readouterr().out


def test_what_cannot_be_dubbed_is_told(weights, tmp_path, capsys):
    runs, audio = tmp_path / "runs", speech(tmp_path / "new.wav", 0.4)
    empty = video_of(tmp_path / "empty.mp4", nobody(3))
    assert "empty.mp4 shows no face" in complaint_about(weights, runs, capsys, video=empty, audio=audio)
    mute = video_of(tmp_path / "mute.mp4", person(1, 3), sound=None)
    assert "mute.mp4 has no sound" in complaint_about(weights, runs, capsys, video=mute)
    assert "mute.mp4 has no sound" in complaint_about(weights, runs, capsys, video=mute, audio=mute)
    nowhere = tmp_path / "nowhere"
    assert "nowhere" in complaint_about(weights, runs, capsys, video=nowhere, audio=audio)
    assert "nowhere" in complaint_about(weights, runs, capsys, video=mute, audio=nowhere)
    assert not [path for path in runs.rglob("*dubbed*") if path.is_file()]


def test_a_place_that_cannot_be_written_is_told(weights, tmp_path, capsys):
    video = video_of(tmp_path / "a.mp4", person(1, 2))
    (tmp_path / "file").touch()
    assert "cannot" in complaint_about(weights, tmp_path / "file", capsys, video=video)
