import csv
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing
from pytorch_lightning.utilities.exceptions import SIGTERMException
from safetensors import safe_open

from callbacks.dense.feature_writer import FeatureWriter
from callbacks.generation.translation_writer import TranslationWriter
from callbacks.results.csv_files import write_csv
from callbacks.results.prediction_writer import PredictionWriter, name_in_table, name_of_files
from callbacks.source_discovery.attribution_writer import AttributionWriter
from networks.generated import Generated
from visionscapes.errors import UserError


class CopyWriter(PredictionWriter):
    """Two files an item that appear together, one that appears at once, and one table of all."""

    needed = "numbers"
    remedy = "use it with a module of numbers"
    item = "number"
    folder = "copies"

    def accepts(self, outputs):
        return isinstance(outputs, list)

    def write_batch(self, trainer, pl_module, batch, outputs):
        for name, output in zip(batch["name"], outputs, strict=True):
            for suffix in (".txt", ".json"):
                self.staged_path(trainer, name, suffix).write_text(json.dumps(output))
            (Path(trainer.default_root_dir) / f"{name}.once").touch()
        return dict(zip(batch["name"], outputs, strict=True))

    def conclude(self, trainer, records):
        assert records.keys() == {path.stem for path in self.finished_folder(trainer).glob("*.txt")}
        write_csv(Path(trainer.default_root_dir) / "copies.csv", ["name", "value"], sorted(records.items()))
        return f"{len(records)} copies" if records else None


def trainer_of(folder, rank=0, root=None):
    return SimpleNamespace(
        default_root_dir=str(folder),
        datamodule=SimpleNamespace(root=root),
        is_global_zero=rank == 0,
        predicting=True,
        received_sigterm=False,
        predict_loop=SimpleNamespace(return_predictions=True),
    )


def predict(callback, trainer, batches, module=None):
    """Run the hooks as a Trainer does."""
    try:
        callback.on_predict_start(trainer, module)
        for number, (batch, outputs) in enumerate(batches):
            callback.on_predict_batch_end(trainer, module, outputs, {"task": "predict", **batch}, number)
        callback.on_predict_end(trainer, module)
    except BaseException as error:
        callback.on_exception(trainer, module, error)
        raise


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_sigterm_ends_a_prediction_after_a_batch_and_leaves_nothing_staged(tmp_path):
    trainer = trainer_of(tmp_path)
    trainer.received_sigterm = True
    with pytest.raises(SIGTERMException):
        predict(CopyWriter(), trainer, [({"name": ["a"]}, [1]), ({"name": ["b"]}, [2])])
    assert files(tmp_path) == ["a.once"]


def test_several_files_an_item_and_a_table(tmp_path, capsys):
    trainer = trainer_of(tmp_path)
    predict(CopyWriter(), trainer, [({"name": ["a", "b"]}, [1, 2]), ({"name": ["c"]}, [3])])
    copies = [f"copies/{name}{suffix}" for name in "abc" for suffix in (".json", ".txt")]
    assert files(tmp_path) == ["a.once", "b.once", "c.once", "copies.csv", *copies]
    assert (tmp_path / "copies" / "b.json").read_text() == "2"
    assert (tmp_path / "copies.csv").read_text().split() == ["name,value", "a,1", "b,2", "c,3"]
    assert capsys.readouterr().out == "3 copies\n"
    assert not trainer.predict_loop.return_predictions


def test_a_second_run_takes_the_place_of_the_first(tmp_path, capsys):
    callback = CopyWriter()
    predict(callback, trainer_of(tmp_path), [({"name": ["a"]}, [1])])
    predict(callback, trainer_of(tmp_path), [({"name": ["a"]}, [2])])
    assert (tmp_path / "copies" / "a.txt").read_text() == "2"
    assert capsys.readouterr().out == "1 copies\n1 copies\n"


def test_staged_files_are_hidden_until_the_end_and_vanish_on_errors(tmp_path):
    callback, trainer = CopyWriter(), trainer_of(tmp_path)
    callback.on_predict_start(trainer, None)
    callback.on_predict_batch_end(trainer, None, [1], {"task": "predict", "name": ["a"]}, 0)
    assert not (tmp_path / "copies").exists()
    assert files(tmp_path / "copies.part") == ["a.json", "a.txt"]
    callback.on_exception(trainer, None, KeyboardInterrupt())
    assert files(tmp_path) == ["a.once"]


def test_what_a_killed_run_left_is_taken_away(tmp_path):
    (tmp_path / "copies.part").mkdir()
    (tmp_path / "copies.part" / "old.txt").touch()
    predict(CopyWriter(), trainer_of(tmp_path), [({"name": ["a"]}, [1])])
    assert not (tmp_path / "copies.part").exists()
    assert files(tmp_path / "copies") == ["a.json", "a.txt"]


def test_batches_of_other_tasks_are_passed_over(tmp_path):
    callback, trainer = CopyWriter(), trainer_of(tmp_path)
    callback.on_predict_start(trainer, None)
    for batch in ({"task": "test"}, torch.zeros(1)):
        callback.on_predict_batch_end(trainer, None, None, batch, 0)
    assert not list(tmp_path.iterdir())


def test_a_module_that_predicts_something_else(tmp_path):
    message = "CopyWriter needs numbers, which Linear does not predict: use it with a module of numbers, or leave"
    with pytest.raises(UserError, match=message):
        predict(CopyWriter(), trainer_of(tmp_path), [({"name": ["a"]}, "text")], torch.nn.Linear(1, 1))


@pytest.mark.parametrize("name", ["", ".", "..", "../a", "a/b", "a\\b", "a\0"])
def test_names_that_are_no_names_of_files(tmp_path, name):
    with pytest.raises(UserError, match="no name of a file to write a number to"):
        predict(CopyWriter(), trainer_of(tmp_path / "run"), [({"name": [name]}, [1])])
    assert not list(tmp_path.iterdir())


def test_names_that_differ_in_case_alone_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"2 numbers would share a file, such as 'A__b\.txt'"):
        predict(CopyWriter(), trainer_of(tmp_path), [({"name": ["A__b"]}, [1]), ({"name": ["a__B"]}, [2])])
    assert files(tmp_path) == ["A__b.once"]


def test_names_of_files(tmp_path):
    root = tmp_path / "photos"
    assert name_of_files(root / "trip" / "cat.jpg", root) == Path("trip/cat.jpg")
    outside = name_of_files(Path("/elsewhere/trip/cat.jpg"), root)
    assert outside.name == "cat.jpg"
    assert outside != name_of_files(Path("/other/trip/cat.jpg"), root)
    assert outside == name_of_files(Path("/elsewhere/trip/cat.jpg"), None)


def test_names_in_tables():
    assert name_in_table("data/sub/a.png", "data") == "sub/a.png"
    assert name_in_table("other/a.png", Path("data")) == "other/a.png"
    assert name_in_table("data2/a.png", "data") == "data2/a.png"
    assert name_in_table("a.png", None) == "a.png"


NAMES = [["a", "c", "d"], ["b"]]  # of the items of two processes


def writers_and_batches(root, names):
    """Return every writer with batches of one item each."""
    values = {name: float(ord(name)) for name in "abcd"}
    images = {name: torch.full((1, 3, 4, 4), value / 200) for name, value in values.items()}
    paths = {name: [f"{root}/{name}.png"] for name in values}

    def features(name):
        return {"image": images[name], "path": paths[name]}, images[name].repeat(1, 2, 1, 1)

    def translation(name):
        condition = {"labels": torch.zeros(1, 4, 4, dtype=torch.uint8), "style": images[name]}
        return {"name": [f"{name}__{name}"], **condition}, Generated(images[name] * 2 - 1, {})

    def attribution(name):
        figures = {key: torch.tensor([values[name]]) for key in ("distance", "margin", "probability")}
        return {"path": paths[name]}, {"name": ["ProGAN"], **figures}

    makers = {FeatureWriter: features, TranslationWriter: translation, AttributionWriter: attribution}
    copies = [({"name": [name]}, [values[name]]) for name in names]
    return {CopyWriter: copies, **{writer: [make(name) for name in names] for writer, make in makers.items()}}


def content_of(path):
    if path.suffix != ".safetensors":
        return path.read_bytes()
    with safe_open(path, "pt") as content:  # whose metadata stand in any order
        return content.metadata(), content.get_tensor("features").tolist()


def one_process(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    trainer = trainer_of(folder / "two", rank, root="/data")
    for writer, batches in writers_and_batches("/data", NAMES[rank]).items():
        predict(writer(), trainer, batches, torch.nn.Identity())
        torch.distributed.barrier()
    with pytest.raises(UserError, match=r"4 numbers would share a file, such as 'a\.txt'"):
        predict(CopyWriter(), trainer_of(folder / "same", rank), [({"name": ["a"]}, [1])])
    torch.distributed.destroy_process_group()


def test_two_processes_leave_what_one_does(tmp_path):
    for writer, batches in writers_and_batches("/data", [*NAMES[0], *NAMES[1]]).items():
        predict(writer(), trainer_of(tmp_path / "one", root="/data"), batches, torch.nn.Identity())
    torch.multiprocessing.spawn(one_process, (tmp_path,), nprocs=2)
    one, two = tmp_path / "one", tmp_path / "two"
    assert files(one) == files(two)
    assert len(files(one)) > 20
    for name in files(one):
        assert content_of(one / name) == content_of(two / name)
    with (two / "attributions.csv").open(newline="") as table:
        assert [row["image"] for row in csv.DictReader(table)] == ["a.png", "b.png", "c.png", "d.png"]
    assert np.shape(content_of(two / "features" / "b.png.safetensors")[1]) == (6, 4, 4)
    assert files(tmp_path / "same") == ["a.once"]
