import io

import numpy as np
import pytest

from datamodules.clips.talking_files import main, write_talking_video
from datamodules.procedural.speech.speech import speak
from visionscapes.media.sound import read_sound
from visionscapes.media.video import probe, read_frames


@pytest.mark.parametrize("late", [0, 3, -2])
def test_a_video_shows_and_tells_what_was_made(tmp_path, late):
    speech = speak(0, 2, 1.2, pauses=0.0)
    path = tmp_path / "people who talk" / "a.mp4"
    rendered = write_talking_video(path, speech, world=0, index=2, size=64, late=late, truth=True)
    frames = np.stack(list(read_frames(path)))
    assert frames.shape == (30, 64, 64, 3)
    assert np.abs(frames.astype(int) - rendered.images).mean() < 12
    assert (probe(path).rate, probe(path).has_sound) == (25, True)
    heard, said = read_sound(path)[: len(speech.audio)], speech.audio
    middle = slice(6400, -6400)
    lags = range(-2400, 2401, 20)
    likeness = [np.dot(np.roll(heard, -lag)[middle], said[middle]) for lag in lags]
    assert lags[int(np.argmax(likeness))] == late * 640
    truth = np.load(f"{path}.npz")
    assert np.array_equal(truth["opening"], speech.opening)
    assert np.array_equal(truth["landmarks"], rendered.landmarks)


def test_the_command(tmp_path, capsys):
    assert main([str(tmp_path), "--clips=2", "--seconds=0.4", "--size=32"]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["talk-0.mp4", "talk-1.mp4"]
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / f"talk-{index}.mp4") for index in (0, 1)]
    assert main([str(tmp_path), "--clips=0"]) == 2
    assert main([str(tmp_path), "--seconds=nan"]) == 2
    assert "error: seconds is nan; it has to be" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main([str(tmp_path / "file"), "--clips=1", "--seconds=0.2"]) == 2
    (tmp_path / "talk-0.mp4.npz").mkdir()
    assert main([str(tmp_path), "--clips=1", "--seconds=0.4", "--size=32", "--truth"]) == 2
    assert "talk-0.mp4.npz cannot be written" in capsys.readouterr().err


def test_a_folder_whose_name_is_no_text_is_told(tmp_path, monkeypatch):
    folder, output = tmp_path / "\udcff", io.BytesIO()
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(output, encoding="utf-8", write_through=True))
    assert main([str(folder), "--clips=1", "--seconds=0.2", "--size=32"]) == 0
    assert b"\\xff/talk-0.mp4" in output.getvalue()
    assert (folder / "talk-0.mp4").is_file()


def test_ctrl_c_is_told_in_a_line(tmp_path, monkeypatch, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("datamodules.clips.talking_files.write_talking_video", interrupted)
    assert main([str(tmp_path), "--clips=1", "--seconds=0.2"]) == 130
    assert capsys.readouterr().err == "stopped; what is written is whole\n"
