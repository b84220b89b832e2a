import yaml

from command_line.run.saved_config import SAVED_CONFIG, SavedConfig


def test_the_saved_configuration_is_of_no_run_in_particular(run, tmp_path):
    command = run("--name=first", "--resume", "--model.lr=0.02")
    (callback,) = [each for each in command.trainer.callbacks if isinstance(each, SavedConfig)]
    written = (command.run_folder / SAVED_CONFIG).read_text()
    content = yaml.safe_load(written)
    assert content["name"] is None
    assert content["resume"] is False
    assert content["model"]["init_args"]["lr"] == 0.02
    callback.save_in(tmp_path / "other")
    assert (tmp_path / "other" / SAVED_CONFIG).read_text() == written
    assert len(list((tmp_path / "other").iterdir())) == 1
