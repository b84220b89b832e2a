import pytest
import yaml
from jsonargparse import get_loader

import cli
from command_line.reading.bundled_paths import BundledPaths, read_bundled_paths
from command_line.reading.literals import PARSER_MODE, NoneIsNull, read_none_as_null
from command_line.reading.old_names import read_old_names
from tests.helpers.image_files import save_photo
from tests.helpers.trained_runs import LIMITS, QUIET
from tests.test_lives import LIVES
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


def test_the_configuration_of_a_run_names_bundled_files_and_others_as_it_was(run, tmp_path, monkeypatch):
    text = (run().run_folder / "cli_config.yaml").read_text()
    saved = yaml.safe_dump(yaml.safe_load(text) | {"model": yaml.safe_load(FILE.read_text())["model"]})
    for name in ("cli_config.yaml", "renamed.yaml"):
        (tmp_path / name).write_text(saved)
        monkeypatch.chdir(tmp_path)
        read_none_as_null()
        read_old_names(["fit"])
        read_bundled_paths([tmp_path / name, tmp_path / "none.yaml"])
        assert weights_of(get_loader(PARSER_MODE)(saved)) == str(ROOT / WEIGHTS)
    (tmp_path / "weights").mkdir()
    (tmp_path / WEIGHTS).write_text("that of the folder where the run was trained comes first")
    assert weights_of(get_loader(PARSER_MODE)(saved)) == WEIGHTS


@pytest.mark.parametrize("content", [b"a: \xff", b"a: [", b"[" * 5000, b"2026-99-99", b""])
def test_files_that_cannot_be_read_are_left_to_the_parser(content, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_bytes(content)
    read_none_as_null()
    read_old_names(["fit"])
    read_bundled_paths([tmp_path / "mine.yaml", tmp_path, tmp_path / "none.yaml"])
    assert get_loader(PARSER_MODE)("weights: weights/dino.safetensors") == {"weights": "weights/dino.safetensors"}


def test_a_run_of_one_folder_predicts_in_another(tmp_path, monkeypatch):
    photo = save_photo(tmp_path / "elsewhere" / "photos" / "a.png", 50, 30)
    for place in (ROOT, tmp_path):
        monkeypatch.chdir(place)
        words = [*LIVES["LiFT"].start, *QUIET, *LIMITS, "--test_after_fit=false", f"--runs_dir={tmp_path / 'runs'}"]
        trained = cli.main(["fit", *words, f"--name={place.name}"]).run_folder
        saved = trained / "cli_config.yaml"
        assert weights_of(yaml.safe_load(saved.read_text())) == WEIGHTS
        assert str(ROOT) not in saved.read_text()
        monkeypatch.chdir(photo.parents[1])
        words = [f"--config={saved}", f"--ckpt_path={trained}", "--data.root=photos", *QUIET]
        found = cli.main(["predict", *words, "--trainer.limit_predict_batches=null"]).run_folder
        assert (found / "features" / "a.png.safetensors").is_file()
