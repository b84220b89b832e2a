from dataclasses import dataclass

import pytest
import yaml
from torch import nn

from networks.vit_features import ViTFeatures
from visionscapes.bundled import ROOT
from visionscapes.errors import UserError
from visionscapes.saved_runs import built, described, named_class, run_folder_of, saved_part


@dataclass
class Options:
    size: int = 3
    inner: object = None


OPTIONS = f"{Options.__module__}.Options"


@pytest.fixture
def run(tmp_path):
    content = {"model": {"class_path": OPTIONS, "init_args": {"size": 5}}, "data": None}
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "cli_config.yaml").write_text(yaml.safe_dump(content))
    return tmp_path


def test_a_checkpoint_knows_its_run(run):
    assert run_folder_of(run / "checkpoints" / "last.ckpt") == run
    assert run_folder_of(run / "hpc_ckpt_1.ckpt") == run
    assert run_folder_of(run / "deep" / "er" / "last.ckpt") is None


def test_parts_of_a_run(run):
    assert saved_part(run, "model") == (OPTIONS, {"size": 5})
    assert saved_part(run / "cli_config.yaml", "model") == (OPTIONS, {"size": 5})
    assert saved_part(run, "data") == (None, {})
    assert saved_part(run / "checkpoints", "model") == (None, {})
    assert saved_part(None, "model") == (None, {})


def test_a_configuration_that_is_none_is_named(run):
    (run / "cli_config.yaml").write_text("a: [")
    with pytest.raises(UserError, match=r"cli_config\.yaml cannot be read"):
        saved_part(run, "model")


def test_classes_by_their_paths():
    assert named_class("networks.ViTFeatures", nn.Module) is ViTFeatures
    with pytest.raises(UserError, match="there is no class ViTFeature in networks: did you mean ViTFeatures"):
        named_class("networks.ViTFeature", nn.Module)
    with pytest.raises(UserError, match=r"nowhere\.Mine is not to be found.*start Python in the folder that holds"):
        named_class("nowhere.Mine", nn.Module)
    with pytest.raises(UserError, match="is no Module"):
        named_class(OPTIONS, nn.Module)
    with pytest.raises(UserError, match="not to be found"):
        named_class("Mine", nn.Module)


def test_what_is_described_is_built_again():
    inner = {"class_path": OPTIONS, "init_args": {"size": 1}}
    assert built({"class_path": OPTIONS, "init_args": {"inner": [inner, {"a": inner}]}}) == Options(
        inner=[Options(1), {"a": Options(1)}]
    )
    options = Options(7)
    assert built(described(options, vars(options))) == options
    with pytest.raises(UserError, match="is no Module"):
        built(inner, nn.Module)


def test_files_that_come_with_the_code_are_the_same_on_every_machine():
    file = "weights/dino.safetensors"
    told = described(Options, {"inner": {"weights": str(ROOT / file), "other": "/elsewhere/x", "list": (1, 2)}})
    assert told["init_args"]["inner"] == {"weights": file, "other": "/elsewhere/x", "list": [1, 2]}
    assert built(told).inner["weights"] == str(ROOT / file)
