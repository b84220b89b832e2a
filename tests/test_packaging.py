"""What surrounds the code: citation, container, hooks, marks for type checkers, and what is said without packages."""

import shutil
import subprocess
import tomllib
import venv

import pytest
import yaml

from tests.helpers.runs import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
METHODS = ("Supervision", "SparseDet", "Open-World GAN", "GRIT", "Talking-Head", "Diff2Lip", "Gen2Det", "LiFT")


def test_what_to_cite():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["project"]["version"], "the version has one place, pyproject.toml"
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["preferred-citation"]["type"] == "thesis"
    titles = [each["title"] for each in citation["references"]]
    assert [name for name in METHODS if not any(name in title for title in titles)] == []
    for each in citation["references"]:
        assert {"type", "title", "year", "authors"} <= each.keys()
        assert all({"family-names", "given-names"} <= author.keys() for author in each["authors"])


def test_hooks_ask_what_make_check_asks():
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    makefile = (ROOT / "Makefile").read_text()
    recipe = makefile[makefile.index("\ncheck:") :].split("\n\n")[0]
    asked = {line.split("/bin/")[1].split()[0] for line in recipe.splitlines() if "/bin/" in line}
    assert {hook["entry"].removeprefix(".venv/bin/").split()[0] for hook in hooks} == asked


def test_every_package_is_marked_as_typed():
    packages = [path.parent for path in ROOT.glob("*/__init__.py") if path.parent.name not in ("tests", "benchmarks")]
    assert packages
    assert [path.name for path in packages if not (path / "py.typed").is_file()] == []
    assert "py.typed" in PROJECT["tool"]["setuptools"]["package-data"]["*"]


def test_the_container_runs_the_first_command():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert lines[-1] == 'CMD ["make", "fit"]'
    assert "RUN make setup" in "\n".join(lines)
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert {".venv", "runs", "data"} <= set(ignored)


@pytest.fixture(scope="module")
def bare_python(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bare")
    venv.create(folder, with_pip=False)
    return folder / "bin" / "python"


@pytest.mark.parametrize("words", [["cli.py", "--help"], ["cli.py", "fit", "--config=lift"], ["-m", "experiments"]])
def test_without_packages_a_command_says_how_to_get_them(words, bare_python):
    done = subprocess.run([bare_python, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: the package ")
    assert len(done.stderr.splitlines()) == 1
    assert "make setup" in done.stderr


def test_make_shell_has_the_right_python(tmp_path):
    shutil.copy(ROOT / "Makefile", tmp_path)
    own = tmp_path / ".venv" / "bin" / "python"
    own.parent.mkdir(parents=True)
    own.write_text("#!/bin/sh\necho that of .venv\n")
    own.chmod(0o755)
    (tmp_path / ".venv" / ".ready").touch()
    done = subprocess.run(
        ["make", "-s", "--old-file=.venv/.ready", "shell"],
        cwd=tmp_path,
        input="python\necho $VIRTUAL_ENV\n",
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"},
    )
    assert done.stdout.splitlines() == ["that of .venv", str(tmp_path / ".venv")], done.stderr
