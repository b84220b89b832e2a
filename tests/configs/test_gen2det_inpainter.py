"""configs/gen2det_inpainter.yaml through the real entry point, and what its file draws, with a guide and without."""

import pytest
from safetensors import safe_open

import cli
from networks.box_diffusion import BoxDiffusion
from tests.configs.test_detection import SCENES, fit
from tests.configs.test_gen2det_generate import FEW, QUIET, generate
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
    """The folder of a training of three steps, and a detector that has hardly learnt anything."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        folder = tmp_path_factory.mktemp("inpainter")
        words = [f"--runs_dir={folder / 'runs'}", *QUIET, *SMALL, *SHORT]
        run = cli.main(["fit", CONFIG, *words])
        assert run.trainer.global_step == 3
        detector = ["--config=configs/detector.yaml", *SCENES, "--model.init_args.backbone_weights=null"]
        found = fit(folder, *detector, "--test_after_fit=false")
        (folder / "detector").symlink_to(found.run_folder)
    return run.run_folder, folder / "detector"


def test_the_file_knows_how_it_was_made_and_is_a_network(trained):
    path = trained[0] / "backbone.safetensors"
    with safe_open(path, "pt") as file:
        assert {"command", "seed", "commit", "steps", "classes", "channels", "blocks"} <= file.metadata().keys()
    assert BoxDiffusion.from_file(path).channels == (8, 16)


def draw(folder, trained, *words):
    own = ["--model.inpainter=networks.DiffusionInpainter", "--model.inpainter.steps=3"]
    return generate(folder, *FEW, *own, f"--model.inpainter.weights={trained[0] / 'backbone.safetensors'}", *words)


@pytest.mark.parametrize("guided", [False, True])
def test_scenes_are_drawn_and_drawn_again_alike(trained, tmp_path, capsys, guided):
    guide = (
        [f"--model.guide={trained[1]}", "--model.guidance.scale=0.2", "--model.guidance.ceiling=null"] if guided else []
    )
    run, entries = draw(tmp_path, trained, *guide)
    assert type(run.model).__name__ == "LayoutInpainting"
    assert [each["name"] for each in entries] == ["0-0", "1-0", "2-0", "3-0"]
    assert all(all(each["repainted"]) for each in entries)
    told = entries[0]["inpainter"]["options"]
    assert told["steps"] == 3
    assert ("guide" in told) == guided
    if guided:
        assert told["guide"]["options"]["guidance"]["scale"] == 0.2
        assert len(told["guide"]["options"]["digest"]) == 64
    run, _ = draw(tmp_path, trained, *guide, "--data.only=[2-0,0-0]")
    assert "2 of 2 pictures are the same bytes" in capsys.readouterr().out


def test_guided_and_unguided_pictures_are_not_mixed(trained, tmp_path, capsys):
    _, plain = draw(tmp_path / "a", trained)
    # All of this detector's losses are above the usual ceiling.
    words = [f"--model.guide={trained[1]}", "--model.guidance.scale=0.2", "--model.guidance.ceiling=null"]
    _, guided = draw(tmp_path / "b", trained, *words)
    assert all(one["sha256"] != other["sha256"] for one, other in zip(plain, guided, strict=True))
    _, still = draw(tmp_path / "c", trained, f"--model.guide={trained[1]}", "--model.guidance.scale=0")
    assert [each["sha256"] for each in still] == [each["sha256"] for each in plain]
    with pytest.raises(SystemExit) as end:
        draw(tmp_path / "a", trained, f"--model.guide={trained[1]}")
    assert end.value.code == 2
    assert "were made with another inpainter" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model.inpainter.weights={0}", "--model.guide=nowhere"], "there is nothing at nowhere"),
        (["--model.inpainter.weights={0}", "--model.guidance.scale=-1"], "guidance.scale is -1"),
        (["--model.inpainter=datamodules.SceneInpainter", "--model.guide={1}"], "SceneInpainter cannot be guided"),
        (["--model.inpainter.weights=none.safetensors"], "no weights at"),
    ],
)
def test_what_cannot_be_is_told(trained, tmp_path, capsys, words, message):
    with pytest.raises(SystemExit) as end:
        generate(tmp_path, *FEW, "--model.inpainter=networks.DiffusionInpainter",
                 *(word.format(trained[0] / "backbone.safetensors", trained[1]) for word in words))  # fmt: skip
    assert end.value.code == 2
    assert message in capsys.readouterr().err
