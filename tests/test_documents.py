"""Documents speak of what is there: every file, module, class and target of make that they name exists."""

import re
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.helpers.runs import ROOT

DOCUMENTS = ["README.md", "CONTRIBUTING.md", "weights/README.md"]
DOCUMENTS += sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("lightning_modules/*/README.md"))
SOURCES = (".py", ".yaml", ".md", ".toml", ".sbatch", ".png", ".safetensors", ".json")
FOLDERS = tuple(path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
WRITTEN = {"runs", "wandb", "data", "photos", "labels"}  # folders that runs make or users have
# What runs write or users bring.
NOT_OURS = {"cli_config.yaml", "manifest.json", "backbone.safetensors", "my.safetensors", "weights/external/"}


def readable(document: str) -> str:
    """Return the document without the example files of CONTRIBUTING.md, which are not there yet."""
    text = (ROOT / document).read_text()
    if document == "CONTRIBUTING.md":
        new = re.findall(r"\*\*`([^`]+)`\*\*", text)
        text = re.sub(r"^(`{3,4})(?!diff)\w+\n.*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
        for path in new:
            text = text.replace(path, "")
        text = re.sub(r"\S*([Cc]ompression|DescribableTextures|describable_textures|[Ss]moothness)\S*", "", text)
    return text


def named_paths(text: str) -> set[str]:
    """Return what looks like a path of the repository in code, commands and links."""
    code = re.findall(r"```.*?```|`[^`\n]+`", text, re.DOTALL)
    links = re.findall(r"\]\(\s*([^)\s]+)\s*\)", text)
    code = [re.sub(r"mmdet::\S+", "", part) for part in code]  # a file of that package
    words = {word for part in code for word in re.split(r"[\s`=,;:'\"]+", part)} | set(links)
    words = {word.partition("#")[0].rstrip(".") for word in words if "://" not in word}
    plain = {word for word in words if re.fullmatch(r"(\.\./)*\w[\w./-]*", word)}
    return {
        word
        for word in plain
        if word.endswith(SOURCES) or ("/" in word and word.split("/")[0] in FOLDERS) or word.startswith("../")
    }


def exists(word: str, home: Path) -> bool:
    return any((folder / word).exists() for folder in (home, ROOT))


@pytest.mark.parametrize("document", DOCUMENTS)
class TestDocument:
    def test_paths_exist(self, document):
        home = (ROOT / document).parent
        words = {word for word in named_paths(readable(document)) if word.split("/")[0] not in WRITTEN} - NOT_OURS
        if "lightning_modules" not in document:  # a name alone is one of the folder that the README lies in
            words = {word for word in words if "/" in word}
        assert words
        assert [word for word in sorted(words) if not exists(word, home)] == []

    def test_modules_that_are_run_exist(self, document):
        for module in re.findall(r"python -m ([\w.]+)", readable(document)):
            assert find_spec(module) is not None, module

    def test_classes_are_exported(self, document):
        packages = "lightning_modules|networks|datamodules|callbacks"
        for package, name in re.findall(rf"\b({packages})\.([A-Z]\w+)", readable(document)):
            assert name in import_module(package).EXPORTS, f"{package}.{name}"

    def test_targets_of_make_exist(self, document):
        makefile = (ROOT / "Makefile").read_text()
        for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", readable(document), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_the_readme_speaks_of_every_room():
    """The table of folders in README.md, room for room."""
    text = (ROOT / "README.md").read_text()
    table = text[text.index("| folder | holds |") :]
    rooms = [path.parent for package in ("datamodules", "callbacks") for path in ROOT.glob(f"{package}/*/__init__.py")]
    assert rooms
    for room in rooms:
        assert f"`{room.name}`" in table, room.relative_to(ROOT)
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert [name for name in sorted(packages) if f"`{name}/" not in table] == []
