"""What both kinds of films share; what each shows is tested with its own callback."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from callbacks.generation.film_writer import PredictedFilm, wait_for
from visionscapes.errors import UserError
from visionscapes.media.video import probe


def batch(**more):
    return {
        **{"name": "a", "rate": 25.0, "steady": True, "audio": "", "seconds": {"faces": 2.0}, "total": 3, "last": True},
        **{"time": torch.arange(3) / 25, "counts": {"frames": 3}},
        **more,
    }


def film(folder):
    return PredictedFilm(folder / "a.mp4", (32, 16), batch(), crf=14, preset="veryfast")


def pictures(count=3):
    return (np.full((16, 32, 3), 40 * number, np.uint8) for number in range(count))


def test_a_film_appears_when_it_is_finished_with_what_it_took(tmp_path):
    one = film(tmp_path)
    one.write(pictures(), batch(), "painting")
    assert not (tmp_path / "a.mp4").exists()
    written = one.finish(batch(), {"who": "me"} | one.about(batch(), SimpleNamespace(trained_on_drawn=True)))
    assert probe(tmp_path / "a.mp4").frames == 3
    assert json.loads((tmp_path / "a.json").read_text()) == written
    assert set(written["seconds"]) == {"faces", "network", "codec", "painting", "total"}
    assert written["seconds"]["total"] >= 2, "what the data took before the first chunk counts"
    assert written["frames_a_second"] == pytest.approx(3 / written["seconds"]["total"], rel=0.01)
    assert (written["frames"], written["who"], written["knows_drawn_faces_only"]) == (3, "me", True)


def test_the_size_that_is_told_is_that_of_the_file(tmp_path):
    one = PredictedFilm(tmp_path / "a.mp4", (31, 15), batch(), crf=14, preset="veryfast")
    one.write((each[:15, :31] for each in pictures()), batch(), "painting")
    written = one.finish(batch(), one.about(batch(), SimpleNamespace()))
    info = probe(tmp_path / "a.mp4")
    assert written["size"] == [info.width, info.height] == [32, 16]


def test_a_film_that_is_given_up_leaves_nothing(tmp_path):
    one = film(tmp_path)
    one.write(pictures(), batch(), "painting")
    one.abandon()
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"):
        film(tmp_path / "file")


def test_only_tensors_of_a_gpu_are_waited_for(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "synchronize", waited.append)
    wait_for((torch.zeros(1), None, 3))
    assert waited == []
    monkeypatch.setattr(torch.Tensor, "is_cuda", property(lambda tensor: True))
    wait_for((None, torch.zeros(1), torch.zeros(1)))
    assert waited == [torch.device("cpu")]  # once, wherever the first of them is
