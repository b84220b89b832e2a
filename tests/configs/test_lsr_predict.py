"""Reenacting people by one command, with weights that have hardly been trained.

configs/lsr.yaml
"""

import json

import numpy as np
import pytest
from PIL import Image

import cli
from datamodules.clips.heads.motion import read_motion, write_motion
from tests.helpers.dubbing import nobody, person, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.head_runs import QUIET
from tests.helpers.heads import motion, photograph, picture, turning
from tests.helpers.reenacting_runs import LSR, SMALL, WRITER
from tests.helpers.runs import ROOT
from tests.helpers.videos import with_matrix
from visionscapes.media.video import probe, read_frames
from visionscapes.media.video_writer import VideoWriter

pytestmark = needs_face_files


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A checkpoint of a step on drawn people."""
    runs = tmp_path_factory.mktemp("weights")
    words = [*SMALL, *QUIET, f"--runs_dir={runs}", "--trainer.limit_train_batches=1", "--trainer.max_epochs=1"]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        folder = cli.main(["fit", f"--config={LSR}", *words, "--test_after_fit=false"]).run_folder
    return folder / "checkpoints" / "last.ckpt"


def reenact(weights, runs, *more, **options):
    given = [f"--data.{name}={value}" for name, value in options.items()]
    words = [*SMALL, *QUIET, *WRITER, f"--runs_dir={runs}", f"--ckpt_path={weights}", *more, *given]
    return cli.main(["predict", f"--config={LSR}", *words]).run_folder / "reenacted"


def complaint_about(weights, runs, capsys, **options):
    """Return what is said where reenacting ends with status 2."""
    with pytest.raises(SystemExit) as end:
        reenact(weights, runs, **options)
    assert end.value.code == 2
    said = capsys.readouterr().err
    assert "Traceback" not in said
    return said[said.index("error: ") :]


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_a_photograph_moves_as_a_video_does(weights, tmp_path, capsys):
    frames = person(1, 16).copy()
    frames[6:9] = nobody(1)
    video = video_of(tmp_path / "my talk.mp4", frames)
    photo = photograph(tmp_path / "mé & you.png")
    more = ["--trainer.callbacks.side_by_side=true"]
    folder = reenact(weights, tmp_path / "runs", *more, source=photo, driving=video, sound="true")
    assert files(folder) == ["mé & you__my talk.json", "mé & you__my talk.mp4"]
    info = probe(folder / "mé & you__my talk.mp4")
    assert (info.width, info.height, info.frames, info.rate, info.has_sound) == (768, 256, 16, 25, True)
    record = json.loads((folder / "mé & you__my talk.json").read_text())
    assert (record["shots"], record["fine_tuned"], record["landmarks"]) == (1, False, "absolute")
    assert record["interpolated"] + record["held"] == 3
    assert record["knows_drawn_faces_only"]
    assert record["notes"][:2] == ["1 picture of the source", "mé & you.png: a face"]
    out = capsys.readouterr().out
    assert "my talk.mp4 is the driver: a face in 13 of 16 frames, 3 of 16 frames without a face: " in out
    assert "16 frames of 1 picture, absolute landmarks" in out
    shown = next(read_frames(folder / "mé & you__my talk.mp4"))
    photo_again = np.asarray(Image.fromarray(picture()).resize((256, 256)), float)
    assert np.abs(shown[:, :256] - photo_again).mean() < 35, "the source to the left"


def test_with_fine_tuning_and_relative_landmarks_that_were_saved(weights, tmp_path):
    me = tmp_path / "me"
    for number in range(2):
        photograph(me / f"{number}.jpg", number=1)
    video, saved = video_of(tmp_path / "talk.mp4", person(1, 6), sound=None), tmp_path / "talk.npz"
    runs, options = tmp_path / "runs", {"source": me, "landmarks": "relative"}
    plain = reenact(weights, runs, driving=video, save_landmarks=saved, **options)
    steps = "--model.finetune.steps=8"
    again = reenact(weights, runs, steps, driving=saved, finetune="true", **options)
    first, second = (json.loads((folder / "me__talk.json").read_text()) for folder in (plain, again))
    assert (first["shots"], first["fine_tuned"]) == (2, False)
    assert (second["shots"], second["fine_tuned"]) == (2, True)
    assert first["reference_frame"] == second["reference_frame"]
    pictures = [np.stack(list(read_frames(folder / "me__talk.mp4"))).astype(float) for folder in (plain, again)]
    assert pictures[0].shape == pictures[1].shape == (6, 256, 256, 3)
    assert np.abs(pictures[0] - pictures[1]).mean() > 0.5, "training changes the result"


def test_without_any_picture_people_of_the_test_are_drawn(weights, tmp_path):
    folder = reenact(weights, tmp_path / "runs")
    (film,) = folder.glob("*.mp4")
    assert probe(film).frames > 20
    assert json.loads(film.with_suffix(".json").read_text())["shots"] > 1


def test_what_is_no_driver_is_told(weights, tmp_path, capsys):
    """What is no source is told before anything is computed: tests/survival/test_bad_heads.py."""
    runs, photo = tmp_path / "runs", photograph(tmp_path / "me.png")
    empty, talk = video_of(tmp_path / "empty.mp4", nobody(3), sound=None), video_of(tmp_path / "a b.mp4", person(1, 3))
    (tmp_path / "zero.mp4").touch()
    write_motion(tmp_path / "one.npz", motion(turning(1)))
    np.savez(tmp_path / "points.npz", landmarks=np.ones((4, 5, 2)))
    np.savez(tmp_path / "far.npz", landmarks=turning(4) + 5000, size=np.array([112, 112]))
    cases = [
        ({"driving": empty}, "empty.mp4 shows no face"),
        ({"driving": tmp_path / "zero.mp4"}, "zero.mp4 is empty: copy or download it again"),
        ({"driving": tmp_path / "points.npz"}, "has landmarks of shape (4, 5, 2)"),
        ({"driving": tmp_path / "far.npz"}, "of a video of 112 x 112 pixels"),
        ({"driving": tmp_path / "one.npz", "landmarks": "relative"}, "the source would stay as it is"),
        ({"driving": talk, "save_landmarks": tmp_path / "a.pkl"}, "end on .safetensors or .npz"),
    ]
    for options, told in cases:
        assert told in complaint_about(weights, runs, capsys, source=photo, **options), options
    assert not [path for path in runs.rglob("*__*") if path.is_file()]


def test_odd_sized_and_uneven_and_rotated_videos(weights, tmp_path, capsys):
    """What phones write: a size and a rate of its own, and pictures that lie on their side in the file."""
    photo = photograph(tmp_path / "me.png")
    odd = np.pad(person(1, 4), [(0, 0), (3, 0), (0, 7), (0, 0)], mode="edge")
    with VideoWriter(tmp_path / "odd.size.mp4", (119, 115), 25) as video:
        for frame, time in zip(odd, (0, 0.04, 0.2, 0.3), strict=True):
            video.write(frame, time)
    folder = reenact(weights, tmp_path / "runs", source=photo, driving=tmp_path / "odd.size.mp4")
    record = json.loads((folder / "me__odd.size.json").read_text())
    assert not record["steady_rate"]
    assert any("variable frame rate" in each for each in record["warnings"])
    assert "warning: the driver's frames are shown for different times" in capsys.readouterr().out
    upright, lying = (tmp_path / f"{name}.mp4" for name in ("upright", "lying"))
    for path, turns in ((upright, 0), (lying, 1)):
        with VideoWriter(path, (112, 112), 25, crf=0) as video:
            for frame in person(1, 4):
                video.write(np.ascontiguousarray(np.rot90(frame, turns)))
    with_matrix(lying, 0, 1, -1, 0)
    made = []
    for path in (upright, lying):
        saved = tmp_path / f"{path.stem}.npz"
        reenact(weights, tmp_path / "runs", source=photo, driving=path, save_landmarks=saved)
        made.append(read_motion(saved).track.landmarks)
    assert np.abs(made[0] - made[1]).max() < 2, "pixels of 112"
