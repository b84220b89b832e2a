import pytest
import yaml

from command_line.run.recipe import recipe_batch
from visionscapes.bundled import ROOT

LIFT = "configs/paper/lift.yaml"


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize(
    ("file", "batch"),
    [
        (LIFT, 256),  # 8.2.4
        ("configs/paper/supervision/mae.yaml", 4096),  # 2.7.1.2
        ("configs/paper/sparsedet_coco.yaml", 8),  # 3.3.3
        ("configs/paper/gan_discovery.yaml", 256),  # 4.3.1
        ("configs/paper/grit_256.yaml", 16),
        ("configs/grit.yaml", 8),
    ],
)
def test_recipes_are_those_of_the_configurations(file, batch):
    assert recipe_batch([file, "configs/hardware/ddp.yaml"]) == (batch, file)


def test_every_configuration_that_trains_has_a_recipe():
    """By its datamodule's default where it says nothing itself."""
    for path in sorted(ROOT.glob("configs/**/*.yaml")):
        content = yaml.safe_load(path.read_text())
        trainer = content.get("trainer") or {}
        stacked = not isinstance(content.get("data"), str) and "class_path" not in (content.get("data") or {})
        if content.get("model") and {"max_epochs", "max_steps"} & trainer.keys() and not stacked:
            batch, source = recipe_batch([str(path)])
            assert source == str(path.relative_to(ROOT))
            assert batch is not None
            assert batch > 0


def test_what_is_stacked_on_a_recipe_changes_a_part_of_it(monkeypatch, tmp_path):
    lift, vitdet = recipe_batch(["configs/lift.yaml"]), recipe_batch(["configs/vitdet.yaml"])
    assert recipe_batch(["configs/lift.yaml", "configs/lift_vitdet.yaml"]) == lift
    assert recipe_batch(["configs/vitdet.yaml", "configs/vitdet_lift.yaml"]) == vitdet
    assert recipe_batch(["configs/lift_vitdet.yaml"]) == (None, "")
    monkeypatch.setattr("command_line.run.recipe.is_bundled", lambda file: True)
    (tmp_path / "part.yaml").write_text("data: {init_args: {batch_size: 3}}")
    assert recipe_batch(["configs/lift.yaml", str(tmp_path / "part.yaml")]) == (3, "configs/lift.yaml")


def test_a_users_own_configuration_is_no_recipe(tmp_path):
    mine = tmp_path / "mine.yaml"
    mine.write_text((ROOT / LIFT).read_text().replace("batch_size: 256", "batch_size: 16"))
    assert recipe_batch([str(mine)]) == (None, "")
    assert recipe_batch([LIFT, str(mine)]) == (256, LIFT)
    assert recipe_batch([]) == (None, "")


def test_accumulated_batches_count(monkeypatch, tmp_path):
    monkeypatch.setattr("command_line.run.recipe.is_bundled", lambda file: True)
    file = tmp_path / "grit.yaml"
    content = yaml.safe_load((ROOT / "configs/grit.yaml").read_text())
    content["model"]["init_args"]["optimizer"] = {"accumulate": 3}
    content["trainer"]["accumulate_grad_batches"] = 2
    file.write_text(yaml.safe_dump(content))
    assert recipe_batch([str(file)])[0] == 8 * 3 * 2
