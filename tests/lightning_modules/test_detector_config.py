import shutil

import pytest
import torch

from lightning_modules.detector_config import KEPT, kept_config, with_config
from networks.detection.configs import plain_config, read_config
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
