import csv

import pytest
import torch

from callbacks.generation.sync_writer import COLUMNS, SyncWriter
from tests.callbacks.generation.test_lip_sync import clip
from tests.callbacks.results.test_prediction_writer import predict, trainer_of
from visionscapes.errors import UserError


def table(path):
    with path.open(newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_a_row_a_clip(tmp_path, capsys):
    late = clip(4)._replace(name="b, 'late'.mp4")
    fits = clip(0)._replace(name="a.mp4")
    batches = [({"name": [late.name]}, late), ({"name": [fits.name], "remarks": [""]}, fits)]
    predict(SyncWriter(), trainer_of(tmp_path), batches)
    rows = table(tmp_path / "sync.csv")
    assert list(rows) == ["a.mp4", "b, 'late'.mp4"]
    assert tuple(rows["a.mp4"]) == COLUMNS
    found = rows["b, 'late'.mp4"]
    assert (found["offset frames"], found["offset ms"], found["windows"], found["remarks"]) == ("5", "200", "40", "")
    assert float(found["confidence"]) > 1
    assert float(found["distance"]) == pytest.approx(0, abs=1e-4)
    printed = capsys.readouterr().out
    assert printed.startswith("2 clips, 2 with an offset to rely on, 1 of them within a frame: ")


def test_what_cannot_be_relied_on_has_a_remark(tmp_path):
    whole = clip(0)
    short = whole._replace(name="short", video=whole.video[:3], audio=whole.audio[:3], known=whole.known[:3])
    silent = whole._replace(name="silent", audio=whole.audio[:1].expand(40, -1))
    hidden = whole._replace(name="hidden", known=torch.arange(40) < 12, faces=0.4)
    broken = whole._replace(name="broken", video=whole.video * torch.nan)
    batches = [({"name": [each.name]}, each) for each in (short, silent, hidden, broken)]
    batches[1][0]["remarks"] = ["no sound"]
    predict(SyncWriter(), trainer_of(tmp_path), batches)
    rows = table(tmp_path / "sync.csv")
    assert rows["short"]["remarks"] == "too short"
    assert rows["short"]["offset frames"] == rows["short"]["confidence"] == ""
    assert rows["broken"]["remarks"] == "not a number"
    assert rows["broken"]["offset frames"] == ""
    assert rows["silent"]["remarks"] == "no sound; not sure"
    assert rows["hidden"]["remarks"] == "faces in 40 %"
    assert (rows["hidden"]["windows"], rows["hidden"]["faces"]) == ("12", "0.400")


def test_nothing_is_written_without_clips_or_for_other_modules(tmp_path):
    predict(SyncWriter(), trainer_of(tmp_path), [])
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="SyncWriter needs embedded clips, which Linear does not predict"):
        predict(SyncWriter(), trainer_of(tmp_path), [({"name": ["a"]}, None)], torch.nn.Linear(1, 1))
