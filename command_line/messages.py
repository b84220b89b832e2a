"""Says in one line what is wrong with a command line or configuration, and what was probably meant."""

import inspect
import re
from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher, get_close_matches
from importlib import import_module

from visionscapes.bundled import configurations
from visionscapes.search_path import out_of_reach

# Where classes may be given by their name alone.
PACKAGES = ("lightning_modules", "datamodules", "callbacks", "pytorch_lightning.callbacks", "pytorch_lightning.loggers")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ": did you mean ...?" for the closest of ``known``, or nothing if none is close."""
    likeness = {name: SequenceMatcher(None, word.lower(), name.lower()).ratio() for name in sorted(set(known))}
    best = max(likeness.values(), default=0)
    if best < 0.6:
        return ""
    close = sorted((name for name in likeness if likeness[name] > best - 0.03), key=lambda name: -likeness[name])
    return f": did you mean {' or '.join(close[:3])}?"


def exported(package: str) -> list[str]:
    """Return the public names of a package; none if it cannot be imported."""
    try:
        module = import_module(package)
    except ImportError:
        return []
    return [name for name in getattr(module, "__all__", dir(module)) if not name.startswith("_")]


def class_paths() -> list[str]:
    """Return the class paths that are offered for ``class_path``."""
    return [f"{package}.{name}" for package in PACKAGES for name in exported(package) if name[:1].isupper()]


def arguments_of(class_path: str) -> list[str]:
    """Return the names of a class's arguments, with those that it passes on to its bases."""
    module, _, name = class_path.rpartition(".")
    found: list[str] = []
    for cls in inspect.getmro(getattr(import_module(module), name)):
        if "__init__" not in vars(cls):
            continue
        parameters = inspect.signature(vars(cls)["__init__"]).parameters.values()
        found += [each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)]
        if not any(each.kind == each.VAR_KEYWORD for each in parameters):
            break
    return [name for name in dict.fromkeys(found) if name != "self"]


def group_options(name: str) -> list[str]:
    """Return the options in groups of a module of this repository, as "model.stages.k"; none if it has no groups."""
    if name not in exported(PACKAGES[0]):
        return []
    groups = groups_of(f"{PACKAGES[0]}.{name}")
    return [f"model.{group}.{field.name}" for group, kind in groups.items() for field in fields(kind)]


def groups_of(class_path: str) -> dict[str, type]:
    """Return the dataclasses of the groups of options that a class takes, by the name of the group."""
    module, _, name = class_path.rpartition(".")
    parameters = inspect.signature(getattr(import_module(module), name)).parameters.values()
    return {each.name: type(each.default) for each in parameters if is_dataclass(each.default)}


def with_full_name(message: str, class_path: str) -> str:
    """Return a message about an option in a group, which begins with its dataclass, with the option's full name.

    Args:
        message: such as "Stages.k is 0; it has to be at least 2".
        class_path: of the class that takes the group.
    """
    for group, kind in groups_of(class_path).items():
        if message.startswith(f"{kind.__name__}."):
            return f"{class_path.rpartition('.')[2]}.{group}{message.removeprefix(kind.__name__)}"
    return message


def explain(message: str, options: Iterable[str]) -> str:
    """Return the parser's message as one readable line.

    Args:
        message: what jsonargparse says.
        options: the keys that the subcommand accepts, such as "trainer.max_epochs".
    """
    key = next(iter(re.findall(r'Parser key "([^"]+)"', message)), "")
    options = list(options)
    if found := re.search(r"unrecognized arguments: (.*)", message, re.DOTALL):
        return unknown_option(found[1].split(), options)
    if found := re.search(r"does not accept option '([^']+)'", message):
        return unknown_key(found[1], options)
    if found := re.search(r"class_path '([^']+)':\s+Option '([^']+)' is not accepted", message):
        return _unknown_argument(key, found[1], found[2])
    if found := re.search(
        r"class_path '([^']+)':\s+(?:module '\S+' has no attribute|No module named|cannot import name)[^\n]*", message
    ):
        return _unknown_class(key, found[1], found[0])
    if found := re.search(r"Import path (\S* ?)does not correspond to a subclass of (\w+)", message):
        given = found[1].strip() or message.rsplit("Given value: ", 1)[-1]
        return f"{key}: {given} is no {found[2]}"
    if found := re.search(r"Expected a dot import path string: (\S+)", message):
        return _unknown_class(key, found[1])
    if found := re.search(r"following arguments are required: (.*)", message):
        return _required(found[1])
    if found := re.search(r"File does not exist: '([^']+)'", message):
        return f"there is no file {found[1]}{did_you_mean(found[1], configurations())}"
    if found := re.search(r'Parser key "([\w.]+)":\s+Expected an? ([^\n]+)\. Got value: ([^\n]+)', message):
        return _wrong_value(key if key == found[1] else f"{key}.{found[1]}", [found[2]], found[3])
    expected, given = re.findall(r"Expected an? (?!path but)([^\n]+)", message), re.search("Given value: (.*)", message)
    if expected and given:
        return _wrong_value(key, expected, given[1])
    return _one_line(message)


def unknown_key(key: str, options: Iterable[str]) -> str:
    """Return what is said of a key of a configuration file that is none of the options."""
    return f"unknown key {key} in a configuration file{did_you_mean(key, options)}"


def unknown_option(words: list[str], options: list[str]) -> str:
    """Return what is said of words of a command line of which the parser makes nothing."""
    word = next((word for word in words if word.startswith("-")), None)
    if word is None:
        return f"{words[0]!r} is no option: values follow their option, as in --trainer.max_epochs 3"
    key = word.lstrip("-").split("=")[0]
    first, dot, rest = key.partition(".")
    # The parser of a class' own arguments leaves out whose they are.
    if any(option.startswith(f"model.{first}.") for option in options):
        first, dot, rest = "model", ".", key
        key = f"model.{key}"
    # The arguments of a class are no options of the parser, only their first part is.
    of_classes = [f"{name}.{rest}" for name in ("model", "data")] if dot and first not in ("model", "data") else []
    suggestion = did_you_mean(key, [*options, *of_classes]).replace("mean ", "mean --").replace(" or ", " or --")
    return f"unknown option {word[: len(word) - len(word.lstrip('-'))]}{key}{suggestion}"


def _unknown_argument(key: str, class_path: str, option: str) -> str:
    first = option.split(".")[0]
    keys = ["class_path", "init_args", "dict_kwargs"]
    # The parser falls back to the base class when the key beside class_path is misspelt.
    if class_path.startswith("pytorch_lightning.Lightning") and get_close_matches(first, keys):
        return f"{key} has no key '{first}'{did_you_mean(first, keys)}"
    known = arguments_of(class_path)
    takes = f" ({class_path.rsplit('.', 1)[1]} takes {', '.join(known) or 'no arguments'})"
    return f"{key}: {class_path} has no argument '{option}'{did_you_mean(first, known) or takes}"


def _unknown_class(key: str, class_path: str, reason: str = "") -> str:
    module = class_path.rpartition(".")[0]
    missing = re.search(r"No module named '([^']+)'", reason)
    inside = re.search(r"cannot import name '\w+' from '([\w.]+)'", reason)
    if hidden := out_of_reach(next((found[1] for found in (missing, inside) if found), class_path)):
        return f"{key}: there is no class {class_path}: {hidden}"
    if inside:
        return f"{key}: {class_path} cannot be imported: {inside[0]}"
    if missing and not (class_path + ".").startswith(missing[1] + "."):
        return f"{key}: {class_path} needs the module {missing[1]}, which is not installed: make setup"
    beside = [f"{module}.{name}" for name in exported(module)] if module else []
    everything = {path.rsplit(".", 1)[1]: path for path in [*class_paths(), *beside]}
    # Somebody who errs in the package still knows the name of the class.
    suggestion = did_you_mean(class_path, everything.values()) if module else ""
    if not suggestion:
        close = get_close_matches(class_path.rsplit(".", 1)[-1].lower(), [name.lower() for name in everything], n=1)
        suggestion = "".join(f": did you mean {path}?" for name, path in everything.items() if [name.lower()] == close)
    return f"{key}: there is no class {class_path}{suggestion}"


def _required(names: str) -> str:
    missing = sorted((name.split(".", 1)[-1] for name in names.replace(",", " ").split()), reverse=True)
    wanted = rf"^{missing[0]}:"
    complete = [name for name, file in configurations().items() if re.search(wanted, file.read_text(), re.MULTILINE)]
    example = f", as in --config {min(complete, key=len)}" if complete else ""
    classes = " and ".join(f"--{name}" for name in missing)
    return f"no {' and no '.join(missing)} was chosen: name a configuration{example}, or classes with {classes}"


def _wrong_value(key: str, expected: list[str], value: str) -> str:
    kinds = [re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", kind).removeprefix("typing.") for kind in expected]
    literals = [word for kind in kinds for word in re.findall(r"'([^']+)'", kind)]
    names = ["null" if kind == "NoneType" else kind for kind in dict.fromkeys(kinds) if not kind.startswith("Literal[")]
    given = value.split("val=")[-1].strip("')")
    return f"{key}: {given!r} is not {' or '.join([*literals, *names])}{did_you_mean(given, literals)}"


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 400 else f"{line[:400]} ..."
