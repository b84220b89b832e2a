"""Configuration files as text: what is wrong with one is told in a line, before anything reads it in earnest."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from visionscapes.errors import UserError

LARGEST_FILE = 2**22  # bytes
MOST_VALUES = 100_000  # with every alias written out
LONGEST_TEXT = 100_000  # with everything that ${...} names written out
KEYS = "it should hold keys such as model, data and trainer"


def check_text(text: str) -> yaml.Node | None:
    """Return the nodes of a YAML text, which can be built in finite time and memory.

    Args:
        text: one document.

    Returns:
        Its nodes, None if it is empty.

    Raises:
        yaml.YAMLError: it is no YAML, names a key twice, contains itself, or grows beyond all measure.
    """
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        if node is not None:
            _check_size(node, {}, set())
            _check_references(dict(_texts(node, "")))
    except RecursionError:
        raise yaml.YAMLError("its values are nested too deeply") from None
    return node


def check_file(path: Path, name: str = "") -> None:
    """Find the mistakes in a configuration file that can be found without its classes.

    Args:
        path: where it lies.
        name: what messages call it; its path if "".

    Raises:
        UserError: it cannot be read, or is no YAML mapping with words for keys.
    """
    name = name or str(path)
    if path.is_dir():
        raise UserError(f"{name} is a folder: --config takes a file, as in --config {name}/NAME.yaml")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise UserError(f"{name} is no configuration: it has more than {LARGEST_FILE // 2**20} MiB, and {KEYS}")
        node = check_text(path.read_text("utf-8"))
        yaml.safe_load(path.read_text("utf-8"))  # tags and times that no node tells of
    except OSError as error:
        raise UserError(f"{name} cannot be read ({error.strerror}): make it readable, or name another file") from None
    except UnicodeDecodeError:
        raise UserError(f"{name} is no valid YAML: it is no text in UTF-8; save it as such") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{name} is no valid YAML: {_short(error)}") from None
    if not isinstance(node, yaml.MappingNode):
        raise UserError(f"{name} is no configuration: {KEYS}")
    for key, _ in node.value:
        if key.tag != "tag:yaml.org,2002:str":
            line = key.start_mark.line + 1
            raise UserError(f"{name}, line {line}: {getattr(key, 'value', '?')!r} is no name of an option; {KEYS}")


def _check_size(node: yaml.Node, sizes: dict[int, int], above: set[int]) -> int:
    """Return the number of values in a node, aliases written out."""
    if id(node) in sizes:
        return sizes[id(node)]
    if id(node) in above:
        raise yaml.YAMLError(
            f"line {node.start_mark.line + 1}: the value of an anchor (&) contains itself by its alias (*)"
        )
    if isinstance(node, yaml.MappingNode):
        _check_keys(node)
    above.add(id(node))
    size = 1
    if isinstance(node, yaml.CollectionNode):
        for each in node.value:
            size += sum(_check_size(one, sizes, above) for one in (each if isinstance(each, tuple) else (each,)))
    above.remove(id(node))
    if size > MOST_VALUES:
        line = node.start_mark.line + 1
        raise yaml.YAMLError(f"line {line}: with its aliases (*) written out it has more than {MOST_VALUES} values")
    sizes[id(node)] = size
    return size


def _texts(node: yaml.Node, path: str) -> Iterator[tuple[str, str]]:
    """Yield the words in a node with their places, as ${...} names them."""
    if isinstance(node, yaml.ScalarNode):
        yield path, node.value
        return
    for place, each in enumerate(node.value):
        key, value = each if isinstance(each, tuple) else (None, each)
        name = str(place) if key is None else str(key.value)
        yield from _texts(value, f"{path}.{name}" if path else name)


def _check_references(texts: dict[str, str]) -> None:
    """Refuse words that grow beyond all measure when what ${...} names is written out."""
    lengths: dict[str, int] = {}

    def length(path: str, above: tuple[str, ...]) -> int:
        if path in above:  # which the parser tells
            return 0
        if path not in lengths:
            inside = [each for each in texts if each.startswith(f"{path}.")] if path not in texts else []
            text = texts.get(path, "")
            named = [*inside, *re.findall(r"\$\{([\w.-]+)\}", text)]
            lengths[path] = len(text) + sum(length(each, (*above, path)) for each in named)
        if lengths[path] > LONGEST_TEXT:
            raise yaml.YAMLError(f"{path} has more than {LONGEST_TEXT} letters when its ${{...}} are written out")
        return lengths[path]

    for path, text in texts.items():
        if "${" in text:
            length(path, ())


def _check_keys(node: yaml.MappingNode) -> None:
    lines: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and key.value != "<<":
            line = key.start_mark.line + 1
            if key.value in lines:
                raise yaml.YAMLError(f"{key.value} is given twice, in lines {lines[key.value]} and {line}: leave one")
            lines[key.value] = line


def _short(error: Exception) -> str:
    """Return what is wrong and where, without the excerpt and the name that stands for a text."""
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return " ".join(str(error).split())
    what = " ".join(part for part in (getattr(error, "context", None), getattr(error, "problem", None)) if part)
    hint = ": indent with spaces" if "'\\t'" in what else ""
    return f"line {mark.line + 1}, column {mark.column + 1}: {what}{hint}"
