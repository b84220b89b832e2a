import json

import pytest

from experiments.records import Records, digest_of, inputs_of, read_metrics, run_id
from visionscapes.errors import UserError


def test_record_says_what_ran_from_what_and_where(world):
    record = world.runner().ensure(world.runs["variant"], seed=2)
    (path,) = (world.root / "results").iterdir()
    content = json.loads(path.read_text())
    assert path.stem == content["id"] == record.id == run_id(world.runs["variant"], "embedded", 2)
    assert content["command"] == [
        "fit",
        "--config",
        "configs/m.yaml",
        "--seed_everything=2",
        "--data.init_args.seed=2",
        "--model.distance=l1",
    ]
    assert (content["scale"], content["seed"]) == ("embedded", 2)
    assert set(content["inputs"]) == {"configs/m.yaml", "weights/vit.safetensors"}
    assert content["provenance"] == {"git": {"commit": "0123456789", "dirty": False}, "hardware": {"cpu": "C"}}
    assert ["PCK@0.1", "LiFT", 64, 0.412, None, 7] in content["metrics"]
    assert str(world.root) not in path.read_text()
    assert path.stat().st_size < 2000


def test_tables_of_a_report_are_no_figures(tmp_path):
    (tmp_path / "knn.csv").write_text(
        "protocol,metric,method,image_size,value,standard_error,count\nknn,a,FS,64,0.5,nan,0\n"
    )
    (tmp_path / "table_2_1.csv").write_text("Model,k-NN top-1\nFS,50.00 (6)\n")
    (tmp_path / "table_2_4.csv").write_text("")
    assert read_metrics(tmp_path) == [["a", "FS", 64, 0.5, None, 0]]


def test_figure_is_found_and_scaled(world):
    world.runner().ensure(world.runs["default"], seed=1)
    cells = world.table.grids["embedded"].cells
    assert world.records.figure(cells["LiFT", "32 px"], "embedded", 1) == pytest.approx(30.0)
    assert world.records.figure(cells["LiFT", "32 px"], "embedded", 0) is None
    assert world.records.figure(cells["variant", "32 px"], "embedded", 1) is None
    assert world.records.seeds(world.runs["default"], "embedded") == {1}


def test_names_tell_runs_apart(world):
    names = {
        run_id(run, scale, seed) for run in world.runs.values() for scale in ("embedded", "paper") for seed in (0, 10)
    }
    assert len(names) == 6 * 2 * 2  # "default again" is "default"
    assert "distance_l1" in run_id(world.runs["variant"], "embedded", 0)


@pytest.mark.parametrize(
    ("file", "content", "again"),
    [
        ("configs/m.yaml", "# a comment\nmodel:\n  weights: weights/vit.safetensors\n", False),
        ("configs/m.yaml", "model: {weights: weights/vit.safetensors, lr: 1}\n", True),
        ("weights/vit.safetensors", "1", True),
        ("configs/other.yaml", "data: here\n", False),
    ],
)
def test_changed_input_makes_a_record_outdated(world, file, content, again):
    world.runner().ensure(world.runs["default"], seed=0)
    (world.root / file).write_text(content)
    record = world.records.find(world.runs["default"], "embedded", 0)
    assert record.outdated(world.root) == ([file] if again else [])
    world.runner().ensure(world.runs["default"], seed=0)
    assert len(world.calls) == 1 + again
    if again:
        assert world.calls[0] != world.calls[1]  # another folder: nothing stale is gone on with
        assert not world.records.find(world.runs["default"], "embedded", 0).outdated(world.root)


def test_weights_that_are_not_here_do_not_make_a_record_outdated(world):
    record = world.runner().ensure(world.runs["default"], seed=0)
    (world.root / "weights" / "vit.safetensors").unlink()
    assert not record.outdated(world.root)


def test_missing_config_is_named(world):
    (world.root / "configs" / "m.yaml").unlink()
    with pytest.raises(UserError, match=r"needs configs/m\.yaml, which is not there"):
        inputs_of(world.runs["default"], world.root)


def test_damaged_record_is_named(world):
    world.runner().ensure(world.runs["default"], seed=0)
    (path,) = (world.root / "results").iterdir()
    path.write_text(path.read_text()[:50])
    with pytest.raises(UserError, match=path.name):
        Records(path.parent).find(world.runs["default"], "embedded", 0)


def test_digest_of_yaml_is_of_its_meaning(tmp_path):
    (tmp_path / "a.yaml").write_text("b: 1\na: [x, y]  # why\n")
    (tmp_path / "b.yaml").write_text("a:\n- x\n- y\nb: 1\n")
    (tmp_path / "c.yaml").write_text("a: [y, x]\nb: 1\n")
    a, b, c = (digest_of(tmp_path / f"{name}.yaml") for name in "abc")
    assert a == b != c
