import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from callbacks import ReenactmentWriter
from callbacks.generation.film_writer import DRAWN
from callbacks.generation.reenactment_writer import line_of
from datamodules.clips.heads.motion import write_motion
from datamodules.clips.video_chunks import chunk_loader
from tests.helpers.dubbing import nobody, person, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import Posing, motion, reenacting, turning
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError
from visionscapes.media.sound import read_sound
from visionscapes.media.video import probe, read_frames, timed_pictures
from visionscapes.media.video_writer import VideoWriter


def reenact(folder, data, module=None, others=(), **options):
    trainer = quiet_trainer(folder, [ReenactmentWriter(**options), *others])
    trainer.predict(module or Posing(), chunk_loader(data))
    return folder / "reenacted"


def written(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def landmarks(tmp_path):
    write_motion(tmp_path / "turn.npz", motion(turning(8), rate=30000 / 1001))
    return tmp_path / "turn.npz"


def test_landmarks_alone_make_a_video(tmp_path, landmarks, capsys):
    folder = reenact(tmp_path, reenacting(landmarks, chunk=3))
    assert written(folder) == ["me__turn.json", "me__turn.mp4"]
    info = probe(folder / "me__turn.mp4")
    assert (info.frames, info.width, info.height, info.has_sound) == (8, 256, 256, False)
    assert info.rate == pytest.approx(30000 / 1001)
    record = json.loads((folder / "me__turn.json").read_text())
    assert (record["frames"], record["shots"], record["fine_tuned"], record["landmarks"]) == (8, 2, False, "absolute")
    assert (record["source"], record["driver"], record["sound"]) == ("me", str(landmarks), None)
    parts = {"faces", "decoding", "drawing", "network", "pictures", "codec", "total"}
    assert set(record["seconds"]) == parts
    assert sum(record["seconds"][part] for part in parts - {"total"}) <= record["seconds"]["total"] + 0.01
    assert record["notes"][-1] == "turn.npz is the driver: a face in 8 of 8 frames"
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("8 frames of 2 pictures, absolute landmarks, ")
    assert line.endswith(f": {folder / 'me__turn.mp4'}")


class Slow(Posing):
    """Takes its time, as where a network is fine-tuned before the first chunk."""

    def predict_step(self, batch, batch_idx, dataloader_idx=0):
        if int(batch["index"][0]) == 0:
            time.sleep(0.5)
        return super().predict_step(batch, batch_idx)


def test_the_time_before_the_first_picture_counts(tmp_path, landmarks):
    folder = reenact(tmp_path, reenacting(landmarks), Slow())
    record = json.loads((folder / "me__turn.json").read_text())
    assert record["seconds"]["total"] >= record["seconds"]["network"] >= 0.5
    assert record["frames_a_second"] <= 8 / 0.5


@needs_face_files
def test_the_driver_gives_rate_times_and_sound(tmp_path):
    video = video_of(tmp_path / "talk.mp4", person(1, 12))
    folder = reenact(tmp_path, reenacting(video, sound=True))
    heard, given = read_sound(folder / "me__talk.mp4"), read_sound(video)
    assert np.corrcoef(heard[: len(given)], given[: len(heard)])[0, 1] > 0.98
    assert not probe(reenact(tmp_path / "silent", reenacting(video)) / "me__talk.mp4").has_sound
    times = [0, 0.04, 0.2, 0.3, 0.5]
    with VideoWriter(tmp_path / "a.mp4", (112, 112), 25) as writer:
        for picture, time in zip(person(1, 5), times, strict=True):
            writer.write(picture, time)
    folder = reenact(tmp_path, reenacting(tmp_path / "a.mp4", chunk=2))
    assert [one.time for one in timed_pictures(folder / "me__a.mp4")] == pytest.approx(times, abs=1e-4)
    record = json.loads((folder / "me__a.json").read_text())
    assert not record["steady_rate"]
    assert any("variable frame rate" in each for each in record["warnings"])


@needs_face_files
def test_side_by_side(tmp_path):
    """Source, driver and result, which the stand-in for a network makes of the source and the landmarks."""
    video = video_of(tmp_path / "talk.mp4", person(1, 4), sound=None)
    data = reenacting(video)
    (chunk,) = data
    folder = reenact(tmp_path, data, side_by_side=True, height=65, crf=0)
    assert (probe(folder / "me__talk.mp4").width, probe(folder / "me__talk.mp4").height) == (196, 66), "even sizes"
    for number, picture in enumerate(read_frames(folder / "me__talk.mp4")):
        panels = [picture[:65, 65 * place : 65 * place + 65].astype(float) for place in range(3)]
        wanted = chunk["shots"][0], chunk["driver"][number]
        for panel, head in zip(panels, wanted, strict=False):
            large = torch.nn.functional.interpolate(head[None].float(), (65, 65), mode="bicubic")[0].permute(1, 2, 0)
            assert np.abs(panel - large.numpy()).mean() < 6
        assert np.abs(panels[2] - panels[0]).max() > 60


def test_where_there_is_no_driver_to_be_seen_its_landmarks_are(tmp_path, landmarks):
    folder = reenact(tmp_path, reenacting(landmarks), side_by_side=True)
    picture = next(read_frames(folder / "me__turn.mp4"))
    assert picture.shape == (256, 768, 3)
    assert 0 < (picture[:, 256:512].max(2) > 100).mean() < 0.2, "lines on black"


def test_a_height_of_ones_own(tmp_path, landmarks):
    folder = reenact(tmp_path, reenacting(landmarks), height=100)
    assert probe(folder / "me__turn.mp4").height == 100


@needs_face_files
def test_several_drivers_of_which_one_is_none(tmp_path, landmarks, capsys):
    empty = video_of(tmp_path / "leer äöü.mp4", nobody(3), sound=None)
    talk = video_of(tmp_path / "50% & more; $HOME.mp4", person(1, 3), sound=None)
    folder = reenact(tmp_path, reenacting(empty, talk, landmarks), Posing(drawn=True))
    assert written(folder) == [
        f"me__{name}.{kind}" for name in ("50% & more; $HOME", "turn") for kind in ("json", "mp4")
    ]
    out = capsys.readouterr().out.splitlines()
    assert DRAWN in out
    assert out[-1] == f"2 videos, 11 frames reenacted; {DRAWN}: {folder}"


class Ends(Callback):
    """Ends a run after a batch."""

    def __init__(self, error):
        self.error = error

    def on_predict_batch_end(self, trainer, *_):
        assert written(Path(trainer.default_root_dir) / "reenacted"), "something is being written"
        raise self.error


@pytest.mark.parametrize("error", [ValueError("a bug"), UserError("a mistake")])
def test_nothing_half_written_stays_and_an_earlier_video_does(tmp_path, landmarks, error):
    with pytest.raises(type(error)):
        reenact(tmp_path, reenacting(landmarks, chunk=2), others=[Ends(error)])
    assert written(tmp_path / "reenacted") == []
    before = (reenact(tmp_path, reenacting(landmarks)) / "me__turn.mp4").read_bytes()
    with pytest.raises(type(error)):
        reenact(tmp_path, reenacting(landmarks, chunk=2), others=[Ends(error)])
    assert (tmp_path / "reenacted" / "me__turn.mp4").read_bytes() == before


def test_what_is_refused(tmp_path, landmarks):
    module = Posing()
    module.predict_step = lambda batch, batch_idx: batch["drawing"]
    with pytest.raises(UserError, match="ReenactmentWriter needs reenacted heads, which Posing does not predict"):
        reenact(tmp_path, reenacting(landmarks), module)
    with pytest.raises(UserError, match="2 ReenactmentWriters would write the same files"):
        reenact(tmp_path, reenacting(landmarks), others=[ReenactmentWriter()])
    with pytest.raises(UserError, match=r"ReenactmentWriter\.height is 1"):
        ReenactmentWriter(height=1)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "reenacted").touch()
    with pytest.raises(UserError, match="reenacted cannot be written"):
        reenact(tmp_path / "out", reenacting(landmarks))


def test_no_driver_of_any_process_is_an_error(tmp_path, landmarks, monkeypatch):
    data = reenacting(landmarks)
    monkeypatch.setattr(type(data), "__iter__", lambda _: iter(()))
    with pytest.raises(UserError, match="No driver could be used: the lines above say why"):
        reenact(tmp_path, data)


def test_the_line_says_what_is_worth_it():
    record = {
        **{"frames": 250, "shots": 1, "fine_tuned": False, "landmarks": "absolute", "interpolated": 0, "held": 0},
        **{"warnings": [], "frames_a_second": 12.345, "knows_drawn_faces_only": False, "output": "a__b.mp4"},
    }
    folder = Path("runs/1")
    assert line_of(record, folder) == (
        "250 frames of 1 picture, absolute landmarks, 12.3 frames a second: runs/1/a__b.mp4"
    )
    record |= {"shots": 4, "fine_tuned": True, "interpolated": 3, "held": 2, "warnings": ["a"]}
    assert line_of(record | {"landmarks": "relative"}, folder) == (
        "250 frames of 4 pictures, fine-tuned, relative landmarks, 3 of 250 frames without a face: interpolated, 2 of"
        " 250 frames without a face: as the nearest frame with a face, 1 warning above, 12.3 frames a second:"
        " runs/1/a__b.mp4"
    )
