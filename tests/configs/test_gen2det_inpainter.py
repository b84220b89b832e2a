"""configs/gen2det_inpainter.yaml through the real entry point."""

import pytest
from safetensors import safe_open

import cli
from networks.box_diffusion import BoxDiffusion
from tests.configs.test_gen2det_generate import QUIET
from tests.helpers.runs import ROOT

CONFIG = "--config=configs/gen2det_inpainter.yaml"
SMALL = ["--model.init_args.channels=[8,16]", "--data.init_args.scenes=6", "--data.init_args.test_scenes=2"]
SMALL += ["--data.init_args.image_size=64", "--data.init_args.crop_size=32", "--data.init_args.batch_size=2"]
SHORT = ["--trainer.max_epochs=1", "--trainer.check_val_every_n_epoch=1"]


@pytest.fixture(autouse=True)
def _at_home(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a training of three steps."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        folder = tmp_path_factory.mktemp("inpainter")
        words = [f"--runs_dir={folder / 'runs'}", *QUIET, *SMALL, *SHORT]
        run = cli.main(["fit", CONFIG, *words])
        assert run.trainer.global_step == 3
    return run.run_folder


def test_the_file_knows_how_it_was_made_and_is_a_network(trained):
    path = trained / "backbone.safetensors"
    with safe_open(path, "pt") as file:
        assert {"command", "seed", "commit", "steps", "classes", "channels", "blocks"} <= file.metadata().keys()
    assert BoxDiffusion.from_file(path).channels == (8, 16)
