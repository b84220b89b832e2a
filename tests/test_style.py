"""Rules of style that no linter has."""

import ast
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = [ROOT / "cli.py", *sorted(ROOT.glob("[a-z]*/**/*.py"))]
MOST_BY_POSITION = 3
ANY_NUMBER = {"Sequential"}  # classes that are made of as many parts as are given
LOOKED_AT = [path for path in SOURCE if path.relative_to(ROOT).parts[0] not in ("tests", "configs")]


def constructor_calls(tree: ast.AST) -> Iterator[tuple[str, ast.Call]]:
    """Yield the calls that make an object: of a name that begins with a capital, and of ``__init__``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if name == "__init__" or name.lstrip("_")[:1].isupper():
                yield name, node


def by_position(source: str) -> list[str]:
    """Return the calls of constructors with more than three arguments by position, as "line 7: Name"."""
    return [
        f"line {call.lineno}: {name}"
        for name, call in constructor_calls(ast.parse(source))
        if len(call.args) > MOST_BY_POSITION and name not in ANY_NUMBER
    ]


@pytest.mark.parametrize("path", LOOKED_AT, ids=[str(path.relative_to(ROOT)) for path in LOOKED_AT])
def test_constructors_take_three_arguments_by_position_at_most(path):
    """The fourth number of a call says nothing of what it is."""
    assert by_position(path.read_text()) == []


def test_calls_by_position_are_found():
    source = (
        "A(1, 2, 3, 4)\nB(1, 2, 3, x=4)\nsuper().__init__(1, 2, *rest, 3)\nnn.Sequential(1, 2, 3, 4)\nm.C(1, 2, 3, 4)"
    )
    assert by_position(source) == ["line 1: A", "line 3: __init__", "line 5: C"]


def options_of_the_command_line(source: str) -> list[str]:
    """Return the texts that name an option of the command line or a path of configuration files."""
    texts = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    found = [str(node.value) for node in texts if isinstance(node.value, str)]
    found = [text.replace("pip install --", "pip install ") for text in found]
    return [text for text in found if re.search(r"(^|\W)--[a-z]|init_args|cli\.py", text)]


BUILDING_BLOCKS = [path for path in SOURCE if path.relative_to(ROOT).parts[0] in ("networks", "metrics")]


@pytest.mark.parametrize("path", BUILDING_BLOCKS, ids=[str(path.relative_to(ROOT)) for path in BUILDING_BLOCKS])
def test_networks_and_metrics_know_no_command_line(path):
    """Advice about options belongs to the module that somebody has started."""
    assert options_of_the_command_line(path.read_text()) == []


def test_options_of_the_command_line_are_found():
    source = 'raise E(f"give {x} as --model.k, or" "not -- at all")\n"data.init_args.k"\n"a--b - -c, pip install --q"'
    assert sorted(options_of_the_command_line(source)) == [" as --model.k, ornot -- at all", "data.init_args.k"]


def classes_by_name(sources: Iterable[Path]) -> dict[str, list[str]]:
    """Return where the classes of each name are defined, at the top of a file, as "file:line"."""
    found: dict[str, list[str]] = {}
    for path in sources:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, []).append(f"{path}:{node.lineno}")
    return found


def test_a_class_has_a_name_of_its_own():
    """Whoever reads a name, searches for it or sees it in an error knows which class is meant."""
    sources = [path for path in LOOKED_AT if path.relative_to(ROOT).parts[0] != "benchmarks"]
    found = classes_by_name(sources)
    assert len(found) > 300
    assert {name: places for name, places in found.items() if len(places) > 1} == {}


def test_classes_of_one_name_are_found(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.py").write_text("class Same:\n    pass\n")
    assert classes_by_name(sorted(tmp_path.iterdir())) == {"Same": [f"{tmp_path}/a.py:1", f"{tmp_path}/b.py:1"]}
