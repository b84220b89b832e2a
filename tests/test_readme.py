"""The lines of README's section "From Python" run as they stand, on small trainings by its own first lines."""

import re
import shlex

import pytest
from PIL import Image

import cli
from tests.configs.test_detection import SCENES
from tests.helpers.dubbing import person, speech, video_of
from tests.helpers.dubbing_runs import SMALL as FEW_DUBBED
from tests.helpers.face_files import needs_face_files
from tests.helpers.heads import photograph
from tests.helpers.image_files import pixels, save_photo
from tests.helpers.reenacting_runs import SMALL as FEW_HEADS
from tests.helpers.runs import ROOT
from tests.helpers.sync_runs import SMALL as FEW_CLIPS
from tests.helpers.translation_runs import FEW_FACES, SIZE, words
from tests.helpers.translation_runs import SMALL as SMALL_NETWORKS
from tests.test_lives import FEW_SOURCES, FEW_SUBJECTS, ONE_ROUND, SMALL_HEADS, WITHOUT_WEIGHTS, world

SECTION = re.search(r"^## From Python\n(.*?)^## ", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)[1]
FIRST = re.search(r"^```python\n(.*?)^```", SECTION, re.MULTILINE | re.DOTALL)[1]
METHODS = {
    title: re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    for title, text in re.findall(r"^\*\*([\w ]+)\*\*(.*?)(?=^\*\*|\Z)", SECTION, re.MULTILINE | re.DOTALL)
}
IMPORTS = "".join(line for line in FIRST.splitlines(True) if line.startswith(("import", "from")))
QUIET = ["--trainer.accelerator=cpu", "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
LIMITS = ["--trainer.limit_train_batches=2", "--trainer.limit_val_batches=0", "--test_after_fit=false"]
ONE_EPOCH = "--trainer.max_epochs=1"
# What makes each training small enough for a test.
SMALL = {
    "LiFT": world("lift")[1:],
    "Supervised ViTs": [*words(SMALL_HEADS["dino"], "model"), *words(FEW_SUBJECTS, "data"), ONE_EPOCH],
    "Detectors": [*SCENES, WITHOUT_WEIGHTS],
    "Discovery": [*words(FEW_SOURCES, "data.init_args"), *words(ONE_ROUND, "model")],
    "GRIT": [*words(SMALL_NETWORKS["grit"] | {"image_size": SIZE}, "model"), *words(FEW_FACES, "data"), ONE_EPOCH],
    "LSR": FEW_HEADS,
    "Diff2Lip": FEW_DUBBED,
    "SyncNet": FEW_CLIPS,
}
SLOW = {"Supervised ViTs", "LSR", "Diff2Lip", "SyncNet"}


@pytest.fixture
def home(tmp_path, monkeypatch):
    """Return a folder with what the lines name, in which they run."""
    save_photo(tmp_path / "photos" / "cat.jpg", 90, 70)
    save_photo(tmp_path / "photos" / "dog.png", 70, 90)
    (tmp_path / "labels").mkdir()
    Image.fromarray(pixels(20, 20, 1)[..., 0] % 19).save(tmp_path / "labels" / "face.png")
    photograph(tmp_path / "me.jpg")
    video_of(tmp_path / "talk.mp4", person(0, 40))
    speech(tmp_path / "new.wav", 0.3)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line, *more):
    python, program, *command = shlex.split(line)
    assert (python, program) == ("python", "cli.py")
    return cli.main([*command, *QUIET, *more])


def test_every_method_has_both_ways():
    assert METHODS.keys() == SMALL.keys()
    for title, blocks in METHODS.items():
        assert [language for language, _ in blocks] == ["", "python"], title
        lines = [line for _, block in blocks for line in block.splitlines()]
        assert len(lines) <= 10, title
        assert [line.split()[2] for line in blocks[0][1].splitlines()] == ["fit", "predict"], title


@pytest.mark.parametrize(
    "title", [pytest.param(each, marks=[pytest.mark.slow] if each in SLOW else []) for each in SMALL]
)
@needs_face_files
def test_the_lines_run(title, home, capsys):
    (_, shell), (_, python) = METHODS[title]
    fit, predict = shell.splitlines()
    limits = LIMITS[2:] if title == "Discovery" else LIMITS
    trained = run(fit, *SMALL[title], *limits).run_folder
    written = run(predict).run_folder
    assert {path.name for path in written.iterdir()} - {path.name for path in trained.iterdir()}, "what predict wrote"
    names: dict = {}
    exec(IMPORTS + python, names)
    answers = {
        "LiFT": lambda: len(names["several"]) == 3 and names["features"].ndim == 3,
        "Supervised ViTs": lambda: names["tokens"].ndim == 3 and names["by_vit"]["MAE"]["6"].ndim == 3,
        "Detectors": lambda: len(names["boxes"]) == len(names["names"]),
        "Discovery": lambda: len(names["origins"]) == 2,
        "GRIT": lambda: names["image"].shape == names["residual"].shape == (3, 20, 20),  # of the label map
        "LSR": lambda: (home / "reenacted.mp4").stat().st_size > 0,
        "Diff2Lip": lambda: (home / "dubbed.mp4").stat().st_size > 0,
        "SyncNet": lambda: names["result"].windows > 0,
    }
    assert answers[title]()


def test_the_first_lines_run(home, capsys):
    (_, shell), _ = METHODS["LiFT"]
    run(shell.splitlines()[0], *SMALL["LiFT"], *LIMITS)
    exec(FIRST, {})
    assert "LiFT from runs/lift/mine" in capsys.readouterr().out
