import json

import pytest

from experiments.records import Records, digest_of, inputs_of, read_metrics, run_id
from experiments.runs import launch
from tests.experiments.world import World
from visionscapes.errors import UserError


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_run_is_done_once_and_recorded(world):
    record = world.runner().ensure(world.runs["default"], seed=1)
    (call,) = world.calls
    assert call[:4] == ["fit", "--config", "configs/m.yaml", "--seed_everything=1"]
    assert "--resume=true" in call
    assert world.runner().ensure(world.runs["default"], seed=1) == record
    assert world.runner().ensure(world.runs["default again"], seed=1) == record
    assert len(world.calls) == 1
    world.runner().ensure(world.runs["default"], seed=2)
    world.runner().ensure(world.runs["variant"], seed=1)
    assert len(world.calls) == 3


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
    assert len(names) == 3 * 2 * 2  # "default again" is "default"
    assert "distance_l1" in run_id(world.runs["variant"], "embedded", 0)


def test_failed_run_leaves_no_record_and_is_gone_on_with(world):
    world.failing = {"--model.distance=l1"}
    world.runner().ensure(world.runs["default"], seed=0)
    with pytest.raises(UserError, match="ended with status 1"):
        world.runner().ensure(world.runs["variant"], seed=0)
    assert world.records.seeds(world.runs["variant"], "embedded") == set()
    assert world.records.seeds(world.runs["default"], "embedded") == {0}
    world.failing = set()
    world.runner().ensure(world.runs["variant"], seed=0)
    first, second = (call for call in world.calls if "--model.distance=l1" in call)
    assert first == second  # the same folder, with --resume
    assert world.records.seeds(world.runs["variant"], "embedded") == {0}


def test_failed_run_is_tried_once_for_all_tables(world):
    world.failing, runner = {"fit"}, world.runner()
    for name in ("default", "default again", "elsewhere"):
        with pytest.raises(UserError, match="ended with status 1"):
            runner.ensure(world.runs[name], seed=0)
    assert len(world.calls) == 1


def test_launcher_returns_the_exit_status_of_the_command_line(capfd):
    assert launch(["--version"]) == 0
    assert launch(["fitt"]) == 2
    assert "fit" in capfd.readouterr().err


@pytest.mark.parametrize("status", [130, 143, -15])
def test_interrupted_run_stops_everything(world, status):
    world.failing, world.status = {"fit"}, status
    with pytest.raises(KeyboardInterrupt):
        world.runner().ensure(world.runs["default"], seed=0)


def test_run_without_a_folder_is_an_error(world):
    runner = world.runner()
    runner.launcher = lambda arguments: 0
    with pytest.raises(UserError, match="left no folder"):
        runner.ensure(world.runs["default"], seed=0)


def test_run_starts_from_the_checkpoint_of_another_with_the_same_seed(world):
    record = world.runner().ensure(world.runs["elsewhere"], seed=3)
    fit, test = world.calls
    assert "--seed_everything=3" in fit
    (checkpoint,) = (word.split("=", 1)[1] for word in test if word.startswith("--ckpt_path="))
    assert checkpoint.endswith("checkpoints/last.ckpt")
    assert "--resume=true" not in test  # names a checkpoint too
    assert f"--ckpt_path={run_id(world.runs['default'], 'embedded', 3)}" in record.command
    assert world.records.seeds(world.runs["default"], "embedded") == {3}
    assert "configs/m.yaml" in record.inputs


def test_checkpoint_that_lies_on_another_machine_is_made_again(world):
    world.runner().ensure(world.runs["default"], seed=0)
    next(world.root.glob("runs/experiments/m/*/checkpoints/last.ckpt")).unlink()
    world.runner().ensure(world.runs["default"], seed=0)
    assert len(world.calls) == 1
    world.runner().ensure(world.runs["elsewhere"], seed=0)
    assert [call[0] for call in world.calls] == ["fit", "fit", "test"]


def test_attempt_at_a_test_is_put_aside(world):
    world.failing = {"test"}
    with pytest.raises(UserError):
        world.runner().ensure(world.runs["elsewhere"], seed=0)
    world.failing = set()
    world.runner().ensure(world.runs["elsewhere"], seed=0)
    assert len(list(world.root.glob("runs/experiments/m/*.until-*"))) == 1


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


def test_force_repeats_every_run_once_and_keeps_the_old_folder(world):
    world.runner().ensure(world.runs["elsewhere"], seed=0)
    runner = world.runner(force=True)
    runner.ensure(world.runs["default"], seed=0)
    runner.ensure(world.runs["elsewhere"], seed=0)
    runner.ensure(world.runs["elsewhere"], seed=0)
    assert [call[0] for call in world.calls] == ["fit", "test", "fit", "test"]
    assert len(list(world.root.glob("runs/experiments/m/*.until-*"))) == 2


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
