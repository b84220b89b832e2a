"""CONTRIBUTING.md is followed literally, in a copy of the repository, down to a table of the new evaluation."""

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.helpers.image_files import save_photo
from tests.helpers.runs import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text()
RECIPES = ("A method", "A data set", "An evaluation")
MOST_LINES = 60
LEFT_BEHIND = shutil.ignore_patterns("__pycache__", "results", "*.png", ".*")
COPIED = ("cli.py", "pyproject.toml", "README.md", "visionscapes", "command_line", "lightning_modules", "networks")
COPIED += ("metrics", "datamodules", "callbacks", "configs", "experiments", "weights", "tests")


def recipe(title: str) -> str:
    """Return what stands below a title."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## (?:A|An) |\Z)", TEXT, re.MULTILINE | re.DOTALL)
    assert found, title
    return found[1]


def whole_files(text: str) -> dict[str, str]:
    """Return the content of the files that are given as a bold path and a block."""
    blocks = re.findall(r"\*\*`([^`]+)`\*\*\n\n(`{3,4})\w+\n(.*?\n)\2\n", text, re.DOTALL)
    empty = re.findall(r"\*\*`([^`]+)`\*\* is empty", text)
    return {path: content for path, _, content in blocks} | dict.fromkeys(empty, "")


def additions(text: str) -> list[tuple[str, str, str]]:
    """Return (file, what is there, what comes in its place) for every diff."""
    found = []
    for path, block in re.findall(r"```diff\n# (\S+)\n(.*?)\n```", text, re.DOTALL):
        lines = block.split("\n")
        old = "\n".join(line[1:] for line in lines if not line.startswith("+"))
        new = "\n".join(line[1:] for line in lines if not line.startswith("-"))
        found.append((path, old, new))
    return found


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A copy of the repository after all three recipes."""
    copy = tmp_path_factory.mktemp("contributing") / "house"
    copy.mkdir()
    for name in COPIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, copy / name, ignore=LEFT_BEHIND if name != "callbacks" else only_source)
        else:
            shutil.copy(ROOT / name, copy / name)
    for path, content in whole_files(TEXT).items():
        assert not (copy / path).exists(), path
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        (copy / path).write_text(content)
    for path, old, new in additions(TEXT):
        before = (copy / path).read_text()
        assert before.count(old) == 1, (path, old)
        (copy / path).write_text(before.replace(old, new))
    return copy


def only_source(folder: str, names: list[str]) -> set[str]:
    """Leave out what Python made; callbacks/results is source, unlike the results of experiments."""
    return {name for name in names if name == "__pycache__"}


def run(house: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=house, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, (done.stdout[-4000:], done.stderr[-4000:])
    return done.stdout


def tool(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_is_short_and_complete(title):
    files = whole_files(recipe(title))
    code = [content for path, content in files.items() if not path.startswith("tests/") and not path.endswith(".md")]
    lines = [line for content in code for line in content.splitlines() if line.strip()]
    assert 0 < len(lines) < MOST_LINES, len(lines)
    assert any(path.startswith("tests/") for path in files)
    assert any("EXPORTS" in old for _, old, _ in additions(recipe(title)))


def test_every_block_of_code_is_a_file_or_an_addition():
    assert len(re.findall(r"^```(?:python|yaml)$", TEXT, re.MULTILINE)) == sum(
        path.endswith((".py", ".yaml")) for path, content in whole_files(TEXT).items() if content
    )


def test_the_examples_pass_the_linter_and_keep_the_contracts(house):
    files = [path for path in whole_files(TEXT) if path.endswith(".py")] + [path for path, *_ in additions(TEXT)]
    python = [path for path in files if path.endswith(".py")]
    run(house, tool("ruff"), "check", "--no-cache", *python)
    run(house, tool("ruff"), "format", "--no-cache", "--check", *python)
    assert "0 broken" in run(house, tool("lint-imports"), "--no-logo", "--no-cache")


@pytest.mark.slow
def test_fit_test_and_predict(house, tmp_path):
    """A new method learns on a new data set, and a new evaluation measures it."""
    names = [f"{kind}/{kind}_{k:04d}.jpg" for kind in ("banded", "zigzagged") for k in range(6)]
    for seed, name in enumerate(names):
        save_photo(tmp_path / "dtd" / "images" / name, 80, 60, seed=seed)
    (tmp_path / "dtd" / "labels").mkdir()
    for part, listed in (("train", names[::2]), ("test", names[1::2])):
        (tmp_path / "dtd" / "labels" / f"{part}1.txt").write_text("\n".join(listed) + "\n")
    words = ["--config=configs/compression.yaml", "--data=datamodules.DescribableTextures", "--data.image_size=64"]
    words += [f"--data.root={tmp_path / 'dtd'}", "--data.batch_size=3", "--data.num_workers=0"]
    words += [
        "--trainer.callbacks+=callbacks.Smoothness",
        "--trainer.accelerator=cpu",
        f"--runs_dir={tmp_path / 'runs'}",
    ]
    words += ["--trainer.enable_progress_bar=false", "--trainer.log_every_n_steps=1"]
    checkpoint = f"--ckpt_path={tmp_path / 'runs/compression/first/checkpoints/last.ckpt'}"

    run(house, sys.executable, "cli.py", "fit", *words, "--name=first", "--trainer.max_epochs=20")
    folder = tmp_path / "runs" / "compression" / "first"
    assert json.loads((folder / "manifest.json").read_text())["status"] == "finished"
    with (folder / "metrics.csv").open(newline="") as file:
        losses = [float(row["train/loss"]) for row in csv.DictReader(file) if row.get("train/loss")]
    assert losses[-1] < 0.7 * losses[0], losses

    printed = run(house, sys.executable, "cli.py", "test", *words, "--name=tested", checkpoint)
    assert "Smoothness" in printed
    with (folder.with_name("tested") / "results" / "smoothness.csv").open(newline="") as file:
        rows = {row["method"]: row for row in csv.DictReader(file)}
    assert rows.keys() == {"ViT", "compressed"}
    assert all(row["count"] == "6" and -1 <= float(row["value"]) <= 1 for row in rows.values())
    assert (folder / "results" / "smoothness.csv").read_text() == (
        folder.with_name("tested") / "results" / "smoothness.csv"
    ).read_text(), "the test after fit and the test of its checkpoint"

    run(house, sys.executable, "cli.py", "predict", *words, "--name=predicted", checkpoint)
    written = sorted((folder.with_name("predicted") / "features").rglob("*.safetensors"))
    assert len(written) == 6
    with safe_open(written[0], "pt") as file:
        assert file.get_tensor("features").shape[0] == 16


@pytest.mark.slow
def test_the_tests_of_the_copy_pass(house):
    new = [path for path in whole_files(TEXT) if Path(path).name.startswith("test_")]
    folders = "tests/lightning_modules/test_method_folders.py"
    chosen = "compression or Compression or DescribableTextures or Smoothness or test_smoothness or test_describable"
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", chosen, *new, folders, "tests/test_exports.py"]
    run(house, sys.executable, *words, "tests/configs/test_configs.py")
