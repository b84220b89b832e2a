import shutil

import pytest
import torch

from lightning_modules.detector_config import KEPT, kept_config, with_config, without_start_files
from networks.detection.configs import apply_override, plain_config, read_config
from tests.helpers.runs import ROOT
from visionscapes.errors import UserError

BUNDLED = "configs/detectors/faster_rcnn_scenes.py"


@pytest.fixture
def own(tmp_path):
    return shutil.copy(ROOT / BUNDLED, tmp_path / "own.py")


def test_a_configuration_that_is_there_is_read_from_its_file(own, tmp_path, monkeypatch):
    kept = kept_config(str(own))
    assert with_config({"config": str(own), "lr": 1}, kept) == {"config": str(own), "lr": 1}
    assert with_config({"config": "mmdet::x.py"}, kept) == {"config": "mmdet::x.py"}
    monkeypatch.chdir(tmp_path)
    assert with_config({"config": BUNDLED}, kept) == {"config": str(ROOT / BUNDLED)}


def test_one_that_is_gone_is_the_one_that_was_kept(own):
    kept = kept_config(str(own))
    own.unlink()
    options = with_config({"config": str(own), "lr": 1, "_class_path": "x"}, kept)
    assert options.keys() == {"config", "lr"}
    assert read_config(options["config"]) == read_config(ROOT / BUNDLED)
    assert with_config({"config": str(own)}, {}) == {"config": str(own)}  # an earlier checkpoint


def test_what_is_kept_can_be_read_safely(own, tmp_path):
    torch.save(kept_config(str(own)), tmp_path / "x.ckpt")
    assert torch.load(tmp_path / "x.ckpt", weights_only=True)[KEPT] == plain_config(own)


def test_classes_in_a_configuration_are_not_kept():
    assert plain_config({"type": "FCOS", "act": torch.nn.ReLU}) is None
    with pytest.raises(UserError, match="no detector configuration"):
        kept_config("gone.py")


@pytest.mark.parametrize(
    ("config", "overrides", "left_out"),
    [
        (BUNDLED, None, {}),
        (BUNDLED, {"backbone.depth": 34}, {}),
        ("configs/detectors/vitdet.py", None, {"backbone.weights": None}),
        ("configs/detectors/vitdet_lift_scenes.py", {"backbone.frozen": False}, {}),
        (
            "configs/detectors/vitdet_lift_scenes.py",
            {"backbone.lift.weights": "a.ckpt", "backbone.weights": "gone", "backbone": {"lift.weights": "b.ckpt"}},
            {"backbone.weights": None, "backbone.lift.weights": None},
        ),
        ("configs/detectors/vitdet_lift_scenes.py", {"backbone.lift": "bilinear"}, {}),
        ("gone.py", {"backbone.weights": "gone"}, {}),
    ],
)
def test_a_checkpoint_has_all_weights(config, overrides, left_out):
    options = {"config": config, "overrides": overrides}
    found = without_start_files(options)
    assert (found["overrides"] or {}) == (overrides or {}) | left_out
    if left_out:
        model = read_config(config)
        for key, value in found["overrides"].items():
            apply_override(model, key, value)
        assert model["backbone"]["weights"] is None
        assert (model["backbone"].get("lift") or {}).get("weights") is None
    assert options == {"config": config, "overrides": overrides}
