"""Method folders look alike: a newcomer finds idea, equations, files, results and differences at the same place."""

import ast
import re
import tomllib
from pathlib import Path

import pytest

from tests.helpers.runs import ROOT

METHODS = ROOT / "lightning_modules"
FOLDERS = sorted(path.parent.name for path in METHODS.glob("*/__init__.py"))
SECTIONS = ("Equations", "Files", "Results", "Where thesis and official code differ")
# The numbered equations of the thesis, by the folder whose README says where each is.
EQUATIONS = {
    "vit_analysis": ["2.1"],
    "sparsedet": ["3.1", "3.2", "3.3", "3.4", "3.5"],
    "gan_discovery": ["4.1", "4.2"],
    "grit": ["5.1", "5.2"],
    "diff2lip": ["6.5", "6.6", "6.7", "6.8", "6.9", "6.10", "6.11", "6.12", "6.13"],
    "lsr": ["6.1", "6.2", "6.3", "6.4"],
    "lift": ["8.1"],
}
MANY_MODULES = {"supervision"}  # six methods in one folder, one file each
NOTHING_TRAINED = {"vit_analysis"}  # which has no loss


def readme(folder: str) -> str:
    return (METHODS / folder / "README.md").read_text()


def section(folder: str, title: str) -> str:
    """Return what stands below a title, up to the next one."""
    found = re.search(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", readme(folder), re.MULTILINE | re.DOTALL)
    return found[1] if found else ""


def rows(text: str) -> list[str]:
    """Return the rows of the tables in a text, without their heads."""
    return re.findall(r"^\|(?!\s*(?:-|equation|method|file|question)).*\|$", text, re.MULTILINE)


def definitions(path: Path, name: str) -> list[str]:
    """Return the source of each function, method or class of that name in a file."""
    source = path.read_text()
    nodes = (ast.FunctionDef, ast.ClassDef)
    found = [node for node in ast.walk(ast.parse(source)) if isinstance(node, nodes) and node.name == name]
    return [ast.get_source_segment(source, node) or "" for node in found]


def references(text: str) -> list[tuple[str, str]]:
    """Return the pairs `file`: `name` in a text."""
    return re.findall(r"`([\w./]+\.py)`: `(\w+)`", text)


def files_named(folder: str) -> set[Path]:
    """Return the files and folders that the section Files names, as far as they exist."""
    home = METHODS / folder
    words = re.findall(r"`([\w./]+)`", section(folder, "Files"))
    return {path for word in words if (path := (home / word).resolve()).exists()}


@pytest.mark.parametrize("folder", FOLDERS)
class TestFolder:
    def test_the_readme_has_the_idea_the_commands_and_the_sections_in_their_order(self, folder):
        text = readme(folder)
        places = [
            text.find(part) for part in ("**Idea.**", "python cli.py", *(f"\n## {title}\n" for title in SECTIONS))
        ]
        assert -1 not in places, dict(zip(("idea", "commands", *SECTIONS), places, strict=True))
        assert places == sorted(places)
        assert all(len(section(folder, title).split()) > 10 for title in SECTIONS)

    def test_every_row_of_the_equations_leads_to_a_definition(self, folder):
        assert rows(section(folder, "Equations"))
        for row in rows(section(folder, "Equations")):
            assert references(row), row
            for file, name in references(row):
                assert definitions(METHODS / folder / file, name), (file, name)

    def test_every_equation_is_named_beside_its_code(self, folder):
        named = {}
        for row in rows(section(folder, "Equations")):
            for number in re.findall(r"Eq\. (\d\.\d+)", row.split("|")[1]):
                named[number] = references(row)
        assert sorted(named) == sorted(EQUATIONS.get(folder, []))
        for number, places in named.items():
            sources = [text for file, name in places for text in definitions(METHODS / folder / file, name)]
            assert any(f"Eq. {number}" in text for text in sources), (number, places)

    def test_every_file_is_in_the_table(self, folder):
        home = METHODS / folder
        own = {path for path in home.rglob("*.py") if path.name != "__init__.py"}
        assert own <= files_named(folder), "a file that the README does not speak of"

    def test_module_network_loss_and_baselines_are_where_they_are_looked_for(self, folder):
        home, named = METHODS / folder, files_named(folder)
        shared = [path for path in named if path.is_relative_to(ROOT / "networks")]
        assert (home / "module.py").is_file() or folder in MANY_MODULES
        assert (home / "network.py").is_file() or shared, "network.py, or the name of the shared one"
        if folder not in MANY_MODULES:
            assert (home / "loss.py").is_file() or folder in NOTHING_TRAINED
            assert "baseline" in section(folder, "Files"), "where what the method is compared with stands"

    def test_one_name_in_every_layer(self, folder):
        layers = ["configs", "tests/lightning_modules"] + ["experiments"] * (
            folder in EQUATIONS
        )  # chapters have tables
        for layer in layers:
            assert list((ROOT / layer).glob(f"{folder}*")), layer

    def test_the_contracts_of_imports_know_it(self, folder):
        contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        (methods,) = [each for each in contracts if each["name"] == "No method knows another method"]
        assert folder in methods["layers"][0].split(" | ")
        (tensors,) = [each for each in contracts if each["name"].startswith("Networks, losses and metrics")]
        for path in (METHODS / folder).rglob("*.py"):
            if path.stem.endswith(("network", "loss")):
                module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
                general = re.sub(rf"\.{folder}\.", ".*.", module)
                assert {module, general} & set(tensors["source_modules"]), module
