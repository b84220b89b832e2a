"""Errors that a user can mend are named where somebody looks for them: in the section Raises."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.helpers.runs import ROOT
from visionscapes import checks

PACKAGES = ("visionscapes", "command_line", "lightning_modules", "networks", "metrics", "datamodules", "callbacks")
FILES = [ROOT / "cli.py", *(path for name in (*PACKAGES, "experiments") for path in (ROOT / name).rglob("*.py"))]
CHECKS = {name for name in vars(checks) if name.startswith("check_")}  # they raise UserError
CONSTRUCTORS = ("__init__", "__post_init__")


class Raising(NamedTuple):
    """A public function, with the errors that its own lines raise."""

    place: str
    errors: set[str]
    documented: str  # where these errors have to be named


def name_of(node: ast.AST) -> str:
    return getattr(node, "id", None) or getattr(node, "attr", None) or ""


def user_errors(trees: list[ast.Module]) -> set[str]:
    """Return the names of UserError and of the classes derived from it."""
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found, before = {"UserError"}, 0
    while len(found) > before:
        before = len(found)
        found |= {each.name for each in classes if found & {name_of(base) for base in each.bases}}
    return found


def raised(node: ast.AST, errors: set[str]) -> set[str]:
    """Return which of the errors the lines below a node raise, without those that they catch themselves."""
    found = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Try):
            caught = {name_of(one) for each in child.handlers if each.type for one in ast.walk(each.type)}
            within = set().union(*(raised_by(one, errors) for one in child.body))
            found |= set() if "UserError" in caught else within - caught
            for one in (*child.handlers, *child.orelse, *child.finalbody):
                found |= raised_by(one, errors)
        else:
            found |= raised_by(child, errors)
    return found


def raised_by(node: ast.AST, errors: set[str]) -> set[str]:
    found = set()
    if isinstance(node, ast.Raise) and node.exc is not None:
        found |= errors & {name_of(node.exc.func if isinstance(node.exc, ast.Call) else node.exc)}
    if isinstance(node, ast.Call) and name_of(node.func) in CHECKS:
        found.add("UserError")
    if isinstance(node, ast.Try):
        return found | raised(ast.Module([node], []), errors)
    return found | raised(node, errors)


def functions(body: list[ast.stmt], errors: set[str], owner: ast.ClassDef | None = None) -> Iterator[Raising]:
    """Yield the public functions and methods that raise an error of the user's."""
    for node in body:
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from functions(node.body, errors, node)
        elif isinstance(node, ast.FunctionDef):
            constructor = owner is not None and node.name in CONSTRUCTORS
            if node.name.startswith("_") and not constructor:
                continue
            own = None if constructor else ast.get_docstring(node)
            # A method without a docstring overrides one of a base; what it adds stands on the class.
            text = own or (ast.get_docstring(owner) if owner else "") or ""
            place = f"{owner.name}.{node.name}" if owner else node.name
            if found := raised(node, errors):
                yield Raising(place, found, text.partition("Raises:")[2])


def unnamed(files: list[Path]) -> list[str]:
    """Return the functions whose errors are not named."""
    trees = {path: ast.parse(path.read_text()) for path in files}
    errors = user_errors(list(trees.values()))
    return [
        f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path.name}: {each.place} {sorted(each.errors)}"
        for path, tree in trees.items()
        for each in functions(tree.body, errors)
        if not any(f"{error}:" in each.documented for error in {*each.errors, "UserError"})
    ]


def test_every_error_of_the_users_is_named():
    assert unnamed(FILES) == []


def test_what_is_raised_and_not_named_is_found(tmp_path):
    path = tmp_path / "example.py"
    path.write_text(
        '''
class MissingError(UserError):
    """Missing."""

def named():
    """Do it.

    Raises:
        MissingError: it is.
    """
    raise MissingError("it is")

def unnamed():
    """Do it."""
    if True:
        raise MissingError("it is")

def caught():
    """Do it."""
    try:
        raise MissingError("it is")
    except UserError:
        return 2

def caught_in_part():
    """Do it."""
    try:
        raise UserError("it is")
    except MissingError:
        raise UserError("again") from None

def _private():
    raise UserError("it is")

class Options:
    """Options."""

    def __init__(self, k):
        check_options(Options, locals())

class Named:
    """Options.

    Raises:
        UserError: one is out of its bounds.
    """

    def __init__(self, k):
        check_options(Named, locals())

    def setup(self):
        raise UserError("it is")
'''
    )
    found = [line.split(" ")[1] for line in unnamed([path])]
    assert found == ["unnamed", "caught_in_part", "Options.__init__"]
