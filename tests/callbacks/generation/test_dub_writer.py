import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback

from callbacks.generation import dub_writer
from callbacks.generation.dub_writer import DRAWN, DubWriter, line_of, pasted, steps_of
from datamodules.clips.video_chunks import chunk_loader
from networks.dubbed import Dubbed
from networks.face_region import FaceRegion
from networks.turning import turned
from tests.helpers.dubbing import nobody, person, speech, to_dub, video_of
from tests.helpers.face_files import needs_face_files
from tests.helpers.painting import Painting, lower_half
from tests.helpers.quiet_trainer import quiet_trainer
from visionscapes.errors import UserError
from visionscapes.media.sound import read_sound
from visionscapes.media.video import probe, read_frames, timed_pictures
from visionscapes.media.video_writer import VideoWriter

pytestmark = needs_face_files
MOUTH = FaceRegion(left=0.25, top=0.5, right=0.75, bottom=1.0)


def dub(folder, data, module=None, others=(), **options):
    trainer = quiet_trainer(folder, [DubWriter(**options), *others])
    trainer.predict(module or Painting(region=MOUTH), chunk_loader(data))
    return folder / "dubbed"


def written(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def encoded(monkeypatch):
    """What goes to the encoder."""
    pictures = []
    write = VideoWriter.write

    def kept(self, picture, time=None):
        pictures.append(picture.copy())
        write(self, picture, time)

    monkeypatch.setattr(VideoWriter, "write", kept)
    return pictures


def test_a_video_with_a_new_mouth_and_a_new_sound(tmp_path, encoded, capsys):
    video = video_of(tmp_path / "talk.mp4", person(1, 12))
    audio = speech(tmp_path / "new.wav", 1.0)
    folder = dub(tmp_path, to_dub(video, audio=audio, chunk=5))
    assert written(folder) == ["talk_dubbed.json", "talk_dubbed.mp4"]
    info = probe(folder / "talk_dubbed.mp4")
    assert (info.frames, info.rate, info.width, info.height, info.has_sound) == (12, 25, 112, 112, True)
    heard, given = read_sound(folder / "talk_dubbed.mp4"), read_sound(audio)[: 12 * 640]
    assert np.corrcoef(heard[: len(given)], given)[0, 1] > 0.98
    changed = np.stack([(new != old).any(2) for new, old in zip(encoded, read_frames(video), strict=True)])
    assert changed.any((1, 2)).all(), "each mouth is painted"
    chunk = next(iter(to_dub(video, audio=audio)))
    assert (chunk["roll"].abs() > 0.02).any(), "a head that leans"
    for picture, box, roll in zip(changed, chunk["boxes"], chunk["roll"], strict=True):
        middles = torch.from_numpy(np.argwhere(picture)[:, ::-1] + 0.5)
        columns, rows = turned(middles, box.view(2, 2).mean(0), -roll).unbind(-1)
        x0, y0, x1, y1 = box.tolist()
        assert y0 + 0.7 * (y1 - y0) < rows.min() < rows.max() < y1, "the lower half of the region, the lower quarter"
        assert x0 + 0.24 * (x1 - x0) < columns.min() < columns.max() < x0 + 0.76 * (x1 - x0)
    record = json.loads((folder / "talk_dubbed.json").read_text())
    assert (record["video"], record["sound"], record["output"]) == (str(video), str(audio), "talk_dubbed.mp4")
    assert (record["frames"], record["dubbed"], record["steps"]) == (12, 12, None)
    assert record["knows_drawn_faces_only"] is False
    parts = {"faces", "decoding", "audio", "network", "pasting", "codec", "total"}
    assert set(record["seconds"]) == parts
    assert sum(record["seconds"][part] for part in parts - {"total"}) <= record["seconds"]["total"] + 0.01
    assert record["frames_a_second"] == pytest.approx(12 / record["seconds"]["total"], rel=0.01)
    line = capsys.readouterr().out.splitlines()[-1]
    assert line.startswith("12 of 12 frames dubbed, 0.52 s of sound left out, for the video had ended, ")
    assert line.endswith(f": {folder / 'talk_dubbed.mp4'}")


def test_frames_without_a_face_and_all_beside_the_mask_go_to_the_encoder_as_they_were(tmp_path, encoded):
    video = video_of(tmp_path / "a.mp4", person(1, 4), nobody(6), person(1, 4))
    dub(tmp_path, to_dub(video))
    same = [np.array_equal(new, old) for new, old in zip(encoded, read_frames(video), strict=True)]
    assert same == [False] * 4 + [True] * 6 + [False] * 4
    encoded.clear()
    dub(tmp_path, to_dub(video), Painting(paints=False))
    for new, old in zip(encoded, read_frames(video), strict=True):
        assert np.abs(new.astype(int) - old).max() < 60, "what returns the input hardly changes anything"


def test_side_by_side(tmp_path, encoded):
    video = video_of(tmp_path / "a.mp4", person(1, 3))
    folder = dub(tmp_path, to_dub(video), side_by_side=True)
    assert (probe(folder / "a_dubbed.mp4").width, probe(folder / "a_dubbed.mp4").height) == (224, 112)
    for both, old in zip(encoded, read_frames(video), strict=True):
        assert np.array_equal(both[:, :112], old)
        assert not np.array_equal(both[:, 112:], old)


def test_rate_times_and_the_shape_of_pixels_stay(tmp_path):
    times = [0, 0.04, 0.2, 0.3, 0.5]
    with VideoWriter(tmp_path / "a.mp4", (112, 112), 25, sound=np.zeros(16000), pixel_aspect=16 / 11) as video:
        for picture, time in zip(person(1, 5), times, strict=True):
            video.write(picture, time)
    folder = dub(tmp_path, to_dub(tmp_path / "a.mp4", chunk=2))
    assert [one.time for one in timed_pictures(folder / "a_dubbed.mp4")] == pytest.approx(times, abs=1e-4)
    assert probe(folder / "a_dubbed.mp4").pixel_aspect == pytest.approx(16 / 11)
    assert not json.loads((folder / "a_dubbed.json").read_text())["steady_rate"]
    with VideoWriter(tmp_path / "b.mp4", (112, 112), 29.97, sound=np.zeros(16000)) as video:
        for picture in person(1, 6):
            video.write(picture)
    assert probe(dub(tmp_path, to_dub(tmp_path / "b.mp4")) / "b_dubbed.mp4").rate == pytest.approx(30000 / 1001)


def test_the_face_comes_and_goes_with_its_weight(tmp_path):
    """By ``fade`` alone: the change of a pixel is that share of the whole one."""
    frames = [person(1, 1)[0]] * 3
    batch = {
        "frames": frames,
        "found": torch.tensor([True, True, False]),
        "fade": torch.tensor([1.0, 0.25, 1.0]),
        "boxes": torch.tensor([[20.0, 10.0, 84.0, 74.0]] * 3),
        "roll": torch.zeros(3),
    }
    patches = torch.ones(3, 3, 16, 16)
    new = pasted(batch, Dubbed(torch.zeros(3, 3, 16, 16), patches, lower_half(patches), FaceRegion()), 0.1)
    whole, quarter = (each.astype(float) - frames[0] for each in new[:2])
    assert whole.max() > 50
    assert np.abs(quarter - whole / 4).max() <= 1
    assert np.array_equal(new[2], frames[0])
    assert new[2] is not frames[0], "the frames that came in are left alone"
    assert np.array_equal(frames[0], person(1, 1)[0])


def test_several_videos_and_names_of_all_kinds(tmp_path, capsys):
    names = ["mit Umlaut äöü", "50% & more; $HOME", "no suffix", "-dash"]
    videos = []
    for name in names:
        path = video_of(tmp_path / "in" / f"{name}.mp4", person(1, 2))
        videos.append(path if name != "no suffix" else path.rename(path.with_suffix("")))
    broken = tmp_path / "in" / "broken.mp4"
    broken.write_bytes(b"")
    folder = dub(tmp_path, to_dub(broken, *videos, audio=speech(tmp_path / "a b.wav", 1.0)))
    assert written(folder) == sorted(f"{name}_dubbed.{kind}" for name in names for kind in ("json", "mp4"))
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("left out: ")
    assert out[-1] == f"4 videos, 8 of 8 frames dubbed: {folder}"


def test_weights_that_know_drawn_faces_say_so(tmp_path, capsys):
    video = video_of(tmp_path / "a.mp4", person(1, 2))
    folder = dub(tmp_path, to_dub(video), Painting(drawn=True))
    *before, last = capsys.readouterr().out.splitlines()
    assert DRAWN in before
    assert DRAWN in last
    assert json.loads((folder / "a_dubbed.json").read_text())["knows_drawn_faces_only"] is True


class Ends(Callback):
    """Ends a run after a batch."""

    def __init__(self, error):
        self.error = error

    def on_predict_batch_end(self, trainer, *_):
        assert written(Path(trainer.default_root_dir) / "dubbed"), "something is being written"
        raise self.error


@pytest.mark.parametrize("error", [ValueError("a bug"), UserError("a mistake")])
def test_nothing_half_written_stays(tmp_path, error):
    video = video_of(tmp_path / "a.mp4", person(1, 8))
    with pytest.raises(type(error)):
        dub(tmp_path, to_dub(video, chunk=2), others=[Ends(error)])
    assert written(tmp_path / "dubbed") == []


def test_a_video_that_breaks_off_leaves_nothing_and_the_next_one_is_written(tmp_path, monkeypatch):
    videos = [video_of(tmp_path / f"{name}.mp4", person(1, 6)) for name in "ab"]
    data = to_dub(*videos, chunk=2)
    chunks = list(data)
    monkeypatch.setattr(type(data), "__iter__", lambda _: iter([*chunks[:2], *chunks[3:]]))
    folder = dub(tmp_path, data)
    assert written(folder) == ["b_dubbed.json", "b_dubbed.mp4"]


def test_an_earlier_video_stays_until_the_new_one_is_whole(tmp_path):
    video = video_of(tmp_path / "a.mp4", person(1, 4))
    folder = dub(tmp_path, to_dub(video))
    before = (folder / "a_dubbed.mp4").read_bytes()
    with pytest.raises(ValueError, match="a bug"):
        dub(tmp_path, to_dub(video, chunk=2), others=[Ends(ValueError("a bug"))])
    assert (folder / "a_dubbed.mp4").read_bytes() == before


def test_no_place_to_write_is_told_before_anything_is_computed(tmp_path):
    video = video_of(tmp_path / "a.mp4", person(1, 2))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "dubbed").touch()
    with pytest.raises(UserError, match="dubbed cannot be written"):
        dub(tmp_path / "out", to_dub(video))


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_told(tmp_path):
    video = video_of(tmp_path / "a.mp4", person(1, 2))
    (tmp_path / "out" / "dubbed").mkdir(parents=True)
    (tmp_path / "out" / "dubbed").chmod(0o500)
    with pytest.raises(UserError, match="make the folder writable"):
        dub(tmp_path / "out", to_dub(video))


def test_other_modules_and_options_are_refused(tmp_path):
    video = video_of(tmp_path / "a.mp4", person(1, 2))
    module = Painting()
    module.predict_step = lambda batch, batch_idx: batch["faces"]
    with pytest.raises(UserError, match="DubWriter needs dubbed faces, which Painting does not predict"):
        dub(tmp_path, to_dub(video), module)
    with pytest.raises(UserError, match=r"DubWriter\.feather is 0"):
        DubWriter(feather=0)


def test_a_second_one_for_the_same_files_is_refused(tmp_path):
    video = video_of(tmp_path / "a.mp4", person(1, 2))
    writers = [DubWriter(), DubWriter(side_by_side=True)]
    trainer = quiet_trainer(tmp_path, writers)
    with pytest.raises(UserError, match=r"2 DubWriters would write the same files.*--trainer\.callbacks\.side_by_side"):
        trainer.predict(Painting(), chunk_loader(to_dub(video)))


def test_no_video_of_any_process_is_an_error_and_not_a_line(tmp_path):
    writer = DubWriter()
    trainer = SimpleNamespace(
        default_root_dir=str(tmp_path),
        is_global_zero=True,
        callbacks=[writer],
        predict_loop=SimpleNamespace(return_predictions=True),
    )
    writer.on_predict_start(trainer, Painting())
    with pytest.raises(UserError, match="No video could be dubbed: the lines above say why"):
        writer.on_predict_end(trainer, Painting())


def test_the_line_says_what_is_worth_it():
    record = {
        **dict.fromkeys(("without_face", "turned_away", "cuts", "held", "repeated", "trimmed"), 0),
        **{"frames": 50, "dubbed": 40, "faces_at_once": 1, "sound_left_out_seconds": 0.03, "rate": 25},
        **{"silence_after_sound_seconds": 0.0, "silent_share": 0.0, "frames_a_second": 12.345},
        **{"knows_drawn_faces_only": False, "output": "a_dubbed.mp4"},
    }
    folder = Path("runs/1")
    assert line_of(record, folder) == "40 of 50 frames dubbed, 12.3 frames a second: runs/1/a_dubbed.mp4"
    record |= {"without_face": 3, "turned_away": 7, "cuts": 1, "faces_at_once": 2, "trimmed": 4, "silent_share": 0.25}
    record |= {"silence_after_sound_seconds": 0.5, "held": 2}
    assert line_of(record, folder) == (
        "40 of 50 frames dubbed, 3 without a face, 7 turned away, 1 cut, 2 frames held while the sound went on, "
        "4 frames left out, for the sound had ended, up to 2 faces at once, 0.50 s without sound at the end, "
        "silence in 25 %, 12.3 frames a second: runs/1/a_dubbed.mp4"
    )


def test_steps_are_those_of_the_sampling():
    assert steps_of(SimpleNamespace(sampling=SimpleNamespace(steps=25))) == 25
    assert steps_of(object()) is None
    assert dub_writer.DubWriter().crf == 14
