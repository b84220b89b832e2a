"""What comes with the code, configurations and weights, found from whatever folder a command is started in."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# The repository, or the folder that the packages are installed to.
ROOT = Path(__file__).resolve().parents[1]
CONFIGS, WEIGHTS = "configs", "weights"
LONGEST_PATH = 250  # bytes below ROOT; longer texts are no bundled files, and file systems refuse to look for some
EXTERNAL = Path(WEIGHTS, "external")  # of others: not bundled, users put them there


def configurations() -> dict[str, Path]:
    """Return name -> file of all configurations, those of the working directory before bundled ones of equal name."""
    found: dict[str, Path] = {}
    for root in dict.fromkeys((ROOT, Path.cwd())):
        files = (root / CONFIGS).glob("**/*.yaml")
        found |= {str(file.relative_to(root)): file for file in files}
    return dict(sorted(found.items()))


def find_configuration(name: str) -> Path | None:
    """Return the file that a configuration's name stands for: the user's own before the bundled one; None without.

    Args:
        name: a path; or of a file in configs/, with or without this folder and the ending, such as "lift".
    """
    if Path(name).is_file():
        return Path(name)
    places = (Path(), Path(CONFIGS))
    readings = [place / each for place in places for each in (name, f"{name}.yaml")] if name else []
    own = next((path for path in readings if path.is_file()), None)
    return own or next((path for reading in readings if (path := bundled(reading, CONFIGS))), None)


def bundled(path: str | Path, *folders: str) -> Path | None:
    """Return the bundled file that a relative path names, None if there is none.

    Args:
        path: such as "weights/dino.safetensors".
        folders: in which it has to lie; configurations and weights without any.
    """
    file = ROOT / path
    if Path(path).is_absolute() or ".." in Path(path).parts or Path(path).parts[:1] == ():
        return None
    return file if Path(path).parts[0] in (folders or (CONFIGS, WEIGHTS)) and file.is_file() else None


def with_bundled_paths(value: Any, *, own_first: bool = False) -> Any:
    """Return the content of a bundled configuration with the bundled files that it names as absolute paths.

    Args:
        value: dictionaries, lists and plain values.
        own_first: whether files of the working directory come before bundled ones of equal name.
    """

    def found(path: str) -> str:
        file = bundled(path)
        own = file is not None and (own_first or EXTERNAL in Path(path).parents) and Path(path).is_file()
        return path if file is None or own else str(file)

    return _with_paths(value, found)


def portable(value: Any) -> Any:
    """Return plain values with bundled files named as on any machine; `with_bundled_paths` finds them again.

    A file of the working directory that has the name of a bundled one becomes an absolute path, to be told apart.

    Args:
        value: dictionaries, lists and plain values; tuples become lists.
    """

    def found(path: str) -> str:
        name = path.removeprefix(f"{ROOT}/")
        if bundled(name) is None:
            return path
        shadowed = Path(name).is_file() and Path.cwd().resolve() != ROOT
        return os.path.abspath(path) if shadowed else name

    return _with_paths(value, found)


def _with_paths(value: Any, found: Callable[[str], str]) -> Any:
    """Return plain values with another text for each that may be a path."""
    if isinstance(value, Mapping):
        return {key: _with_paths(each, found) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with_paths(each, found) for each in value]
    if not isinstance(value, str) or "/" not in value:
        return value
    name = value.removeprefix(f"{ROOT}/").encode(errors="replace")
    return found(value) if len(name) <= LONGEST_PATH else value
