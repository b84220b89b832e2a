import csv
from types import SimpleNamespace

import pytest
import torch

from callbacks.source_discovery.attribution_writer import AttributionWriter
from visionscapes.errors import UserError


def trainer_of(folder, root, rank=0):
    loop = SimpleNamespace(return_predictions=True)
    return SimpleNamespace(
        default_root_dir=str(folder),
        datamodule=SimpleNamespace(root=root),
        is_global_zero=rank == 0,
        predict_loop=loop,
        received_sigterm=False,
    )


def outputs_of(*names, **more):
    count = len(names)
    figures = {
        "distance": torch.arange(count) * 100.0,
        "margin": 50 - torch.arange(count) * 100.0,
        "probability": torch.linspace(0.5, 1, count, dtype=torch.float64),
    }
    return {"name": list(names), **figures, **more}


def written(folder):
    with (folder / "attributions.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def predicted(tmp_path, batches, rank=0):
    callback, trainer = AttributionWriter(), trainer_of(tmp_path / "run", tmp_path / "images", rank)
    callback.on_predict_start(trainer, None)
    for number, (paths, outputs) in enumerate(batches):
        batch = {"task": "predict", "path": [str(tmp_path / "images" / path) for path in paths]}
        callback.on_predict_batch_end(trainer, SimpleNamespace(), outputs, batch, number)
    callback.on_predict_end(trainer, None)
    return trainer


def test_table_of_all_images(tmp_path, capsys):
    batches = [(["z.png", "b/a.png"], outputs_of("ProGAN", "unknown")), (["a.png"], outputs_of("cluster 12"))]
    trainer = predicted(tmp_path, batches)
    rows = written(tmp_path / "run")
    assert list(rows[0]) == ["image", "source", "distance", "margin", "probability"]
    assert [tuple(row.values()) for row in rows] == [
        ("a.png", "cluster 12", "0", "50", "0.5"),
        ("b/a.png", "unknown", "100", "-50", "1"),
        ("z.png", "ProGAN", "0", "50", "0.5"),
    ]
    assert not trainer.predict_loop.return_predictions
    assert "3 images, 1 of unknown sources; ProGAN 1, cluster 12 1: " in capsys.readouterr().out


def test_many_sources_are_summed_up(tmp_path, capsys):
    names = [f"source {number}" for number in range(7)]
    predicted(tmp_path, [([f"{name}.png" for name in names], outputs_of(*names))])
    assert "source 4 1 and 2 more" in capsys.readouterr().out


def test_names_of_files_that_are_no_unicode(tmp_path):
    name = b"caf\xe9, \xc3\xa9.png".decode(errors="surrogateescape")
    predicted(tmp_path, [([name], outputs_of("ProGAN"))])
    assert b'"caf\xe9, \xc3\xa9.png"' in (tmp_path / "run" / "attributions.csv").read_bytes()


def test_other_ranks_and_empty_predictions_write_nothing(tmp_path):
    predicted(tmp_path, [(["a.png"], outputs_of("ProGAN"))], rank=1)
    predicted(tmp_path, [])
    assert not (tmp_path / "run").exists()


def test_batches_of_other_tasks_are_passed_over(tmp_path):
    callback, trainer = AttributionWriter(), trainer_of(tmp_path, tmp_path)
    callback.on_predict_start(trainer, None)
    callback.on_predict_batch_end(trainer, SimpleNamespace(), None, {"task": "labelled"}, 0)
    callback.on_predict_end(trainer, None)
    assert not list(tmp_path.rglob("attributions.csv"))


def test_other_modules(tmp_path):
    callback, trainer = AttributionWriter(), trainer_of(tmp_path, tmp_path)
    batch = {"task": "predict", "path": ["a.png"]}
    for outputs in (torch.zeros(1, 3), {"name": ["a"]}, None):
        with pytest.raises(UserError, match="SimpleNamespace does not predict"):
            callback.on_predict_batch_end(trainer, SimpleNamespace(), outputs, batch, 0)
