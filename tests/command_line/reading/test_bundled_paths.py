from jsonargparse import get_loader

from command_line.reading.bundled_paths import BundledPaths, read_bundled_paths
from command_line.reading.literals import PARSER_MODE, NoneIsNull, read_none_as_null
from command_line.reading.old_names import read_old_names
from visionscapes.bundled import ROOT

WEIGHTS = "weights/dense_contrastive.safetensors"
FILE = ROOT / "configs" / "lift.yaml"


def weights_of(config) -> str:
    return config["model"]["init_args"]["backbone"]["init_args"]["weights"]


def test_paths_of_bundled_configurations_are_theirs_and_all_others_the_users(tmp_path, monkeypatch):
    read_none_as_null()
    read_old_names(["fit"])
    monkeypatch.chdir(tmp_path)
    read_bundled_paths([FILE])
    load = get_loader(PARSER_MODE)
    assert isinstance(load, BundledPaths)
    assert weights_of(load(FILE.read_text())) == str(ROOT / WEIGHTS)
    assert weights_of(load(FILE.read_text() + "# my copy")) == WEIGHTS
    assert load(WEIGHTS) == WEIGHTS
    read_old_names(["fit"])  # the next command of this process
    assert isinstance(get_loader(PARSER_MODE), NoneIsNull)
    assert weights_of(get_loader(PARSER_MODE)(FILE.read_text())) == WEIGHTS


def test_in_the_repository_paths_stay_as_they_are_written(monkeypatch):
    monkeypatch.chdir(ROOT)
    read_none_as_null()
    read_old_names(["fit"])
    read_bundled_paths([FILE])
    assert weights_of(get_loader(PARSER_MODE)(FILE.read_text())) == WEIGHTS
