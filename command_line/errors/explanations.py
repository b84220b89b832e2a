"""The parser's complaints in one readable line: the option by its full name, what is wrong, and what would be right."""

import inspect
import os
import re
from collections.abc import Iterable
from difflib import get_close_matches
from importlib import import_module
from typing import Any, get_type_hints

from command_line.errors.complaints import Complaint, read
from command_line.errors.messages import arguments_of, class_paths, did_you_mean, exported, group_options
from visionscapes.bundled import configurations
from visionscapes.search_path import out_of_reach

# Words of options that do here what --optimizer and --lr_scheduler do in other programs of Lightning.
OF_OPTIMIZERS = re.compile(r"(^|[._])(optimizer|lr|weight_decay|momentum|milestones|(beta|schedule|warmup|decay)\w*)")
# What people call the files that ``predict`` takes, and what data call them.
OF_PICTURES = ("picture", "pictures", "photo", "photos", "root", "folder", "files", "path")
FILES_TO_PREDICT = ("pictures", "root")
PLACES = {"FOLDER": r"(root|dir|folder)$", "FILE": r"(file|path|weights|checkpoint)$"}
EXAMPLES = {
    "model": "lightning_modules.LiFT",
    "data": "datamodules.ImageFolder",
    "trainer.callbacks": "callbacks.ResultTable",
    "trainer.logger": "pytorch_lightning.loggers.WandbLogger",
}


def explain(message: str, options: Iterable[str], model: str = "") -> str:
    """Return the parser's message as one readable line.

    Args:
        message: what jsonargparse says.
        options: the keys that the subcommand accepts, such as "trainer.max_epochs".
        model: class of the module, without its package.
    """
    options = list(options)
    if found := re.search(r"unrecognized arguments: (.*)", message, re.DOTALL):
        return unknown_option(found[1].split(), options, model)
    if found := re.search(r"Group '(\w+)' does not accept option '([^']+)'", message):
        complaint = read(message)
        inside = [option.rpartition(".")[2] for option in group_options(model) if f".{found[1]}." in option]
        of = f"--{complaint.option}.{found[1]}"
        takes = did_you_mean(found[2], inside) or f"; it takes {', '.join(inside)}"
        return f"{of} has no option '{found[2]}'{takes}"
    if found := re.search(r"does not accept option '([^']+)'", message):
        return unknown_key(found[1], options, model)
    if found := re.search(r"File does not exist: '([^']+)'", message):
        return f"there is no file {found[1]}{did_you_mean(found[1], configurations())}"
    complaint = read(message)
    for reason in complaint.reasons:
        line = _explain_reason(reason, complaint)
        if line:
            return line
    if complaint.option and any(reason.startswith("Expected a") for reason in complaint.reasons):
        return _wrong_value(complaint)
    return one_line(message)


def _explain_reason(reason: str, complaint: Complaint) -> str:
    """Return what one reason means, nothing if the others have to be asked as well."""
    option, class_path = complaint.option, complaint.class_path
    if found := re.search(r"Option '([^']+)' is not accepted", reason):
        return _unknown_argument(option, class_path, found[1])
    if re.search(r"module '\S+' has no attribute|No module named|cannot import name", reason):
        return _unknown_class(option, class_path, reason)
    if found := re.search(r"following arguments are required: (.*)", reason):
        return _required(option, class_path, found[1])
    if missing := missing_package(reason):
        name = class_path.rpartition(".")[2] or f"--{option}"
        return f"{name} needs the package {missing}, which is not installed: pip install '{missing}'"
    if found := re.search(r"(?:Import path (\S* ?)does not correspond to a|Not a valid) subclass of (\w+)", reason):
        return _no_class(complaint, (found[1] or "").strip() or complaint.value, found[2])
    if found := re.search(r"(\S+) is abstract", reason):
        return f"{option}: {found[1]} is a base class: give one of the classes that are made of it"
    if found := re.search(r"Expected a dot import path string: (\S*)", reason):
        return _unknown_class(option, found[1]) if re.match("[A-Za-z_]", found[1]) else _no_class(complaint, found[1])
    if found := re.search(r"Unable to load config ['\"]?(.*?)['\"]?(\s|$)", reason):
        return f"--{option} is {found[1]}; it takes options by name, as in --{option}.NAME VALUE or a mapping in a file"
    return ""


def missing_package(text: str) -> str:
    """Return the requirement that a library says is not installed, such as "mlflow>=1.0.0"; nothing if it says none."""
    found = re.findall(r"pip install (?:-U )?['\"]?([\w\[\]-]+(?:[<>=!~]=?[\w.,<>=!]+)?)", text)
    return found[-1] if found and re.search("not (met|installed|available|found)|is available|No module", text) else ""


def unknown_key(key: str, options: Iterable[str], model: str = "") -> str:
    """Return what is said of a key of a configuration file that is none of the options."""
    return f"unknown key {key} in a configuration file{did_you_mean(key, options) or _of_optimizer(key, model)}"


def unknown_option(words: list[str], options: list[str], model: str = "") -> str:
    """Return what is said of words of a command line of which the parser makes nothing."""
    word = next((word for word in words if word.startswith("-")), None)
    if not words:
        return "an empty word is no option: leave it out, or give it to an option as in --name=NAME"
    if word is None:
        told = f"{words[0]!r} is no option: values follow their option, as in --trainer.max_epochs 3"
        # What a shell makes of --data.root photos/*.jpg.
        files = os.path.lexists(words[0])
        return f"{told}; a pattern of files stands in quotes, as in --data.root='photos/*.jpg'" if files else told
    key = word.lstrip("-").split("=")[0]
    first, dot, rest = key.partition(".")
    # The parser of a class' own arguments leaves out whose they are.
    if any(option.startswith(f"model.{first}.") for option in options):
        first, dot, rest = "model", ".", key
        key = f"model.{key}"
    elif instead := _of_optimizer(key, model):
        return f"unknown option --{key}{instead}"
    # The arguments of a class are no options of the parser, only their first part is.
    of_classes = [f"{name}.{rest}" for name in ("model", "data")] if dot and first not in ("model", "data") else []
    suggestion = did_you_mean(key, [*options, *of_classes]).replace("mean ", "mean --").replace(" or ", " or --")
    if not suggestion and not dot:
        suggestion = ": options of the module are --model.NAME, those of the data --data.NAME"
    return f"unknown option {word[: len(word) - len(word.lstrip('-'))]}{key}{suggestion}"


def _of_optimizer(key: str, model: str) -> str:
    """Return which options of a module say how it is optimised, where a key asks for an optimiser or a scheduler."""
    if key.partition(".")[0] not in ("optimizer", "lr_scheduler"):
        return ""
    known = options_of_optimizer(model)
    if not known:
        return ": a module says itself how it is optimised; --model.help in its place lists the module's options"
    return f": {model} says itself how it is optimised, by {', '.join(known)}"


def options_of_optimizer(model: str) -> list[str]:
    """Return the options that say how a module of this repository is optimised, as "--model.lr".

    Args:
        model: its class, without its package.
    """
    package = "lightning_modules"
    if model not in exported(package):
        return []
    plain = [f"model.{name}" for name in arguments_of(f"{package}.{model}")]
    inside = group_options(model)
    groups = {option.rpartition(".")[0] for option in inside}
    return [f"--{each}" for each in [*plain, *inside] if each not in groups and OF_OPTIMIZERS.search(each[6:])]


def _unknown_argument(key: str, class_path: str, option: str) -> str:
    first = option.split(".")[0]
    keys = ["class_path", "init_args", "dict_kwargs"]
    # The parser falls back to the base class when the key beside class_path is misspelt.
    if class_path.startswith("pytorch_lightning.Lightning") and get_close_matches(first, keys):
        return f"{key} has no key '{first}'{did_you_mean(first, keys)}"
    known = arguments_of(class_path)
    if instead := next((name for name in FILES_TO_PREDICT if first in OF_PICTURES and name in known), ""):
        return f"{key}: {class_path} has no argument '{option}': did you mean {instead}?"
    takes = f" ({class_path.rsplit('.', 1)[1]} takes {', '.join(known) or 'no arguments'})"
    return f"{key}: {class_path} has no argument '{option}'{did_you_mean(first, known) or takes}"


def _unknown_class(key: str, class_path: str, reason: str = "") -> str:
    module = class_path.rpartition(".")[0]
    missing = re.search(r"No module named '([^']+)'", reason)
    inside = re.search(r"cannot import name '\w+' from '([\w.]+)'", reason)
    of = f"{key}: " if key else ""
    if hidden := out_of_reach(next((found[1] for found in (missing, inside) if found), class_path)):
        return f"{of}there is no class {class_path}: {hidden}"
    if inside:
        return f"{of}{class_path} cannot be imported: {inside[0]}"
    if missing and not (class_path + ".").startswith(missing[1] + "."):
        package = missing[1].partition(".")[0]
        return f"{key}: {class_path} needs the module {missing[1]}, which is not installed: pip install {package}"
    beside = [f"{module}.{name}" for name in exported(module)] if module else []
    everything = {path.rsplit(".", 1)[1]: path for path in [*class_paths(), *beside]}
    # Somebody who errs in the package still knows the name of the class.
    suggestion = did_you_mean(class_path, everything.values()) if module else ""
    if not suggestion:
        close = get_close_matches(class_path.rsplit(".", 1)[-1].lower(), [name.lower() for name in everything], n=1)
        suggestion = "".join(f": did you mean {path}?" for name, path in everything.items() if [name.lower()] == close)
    return f"{of}there is no class {class_path}{suggestion}"


def _no_class(complaint: Complaint, given: str, kind: str = "") -> str:
    """Return that something is not the class that is asked for, and how a class is given."""
    option, known = complaint.option, EXAMPLES.get(complaint.option, "")
    hint = annotation_of(complaint.class_path, option.rpartition(".")[2]) if complaint.class_path else None
    if not known and inspect.isclass(hint):
        kind, known = kind or hint.__name__, f"{hint.__module__.partition('.')[0]}.{hint.__name__}"
    ways = f"{known or 'PACKAGE.CLASS'} or {{class_path: {known or 'PACKAGE.CLASS'}, init_args: {{...}}}}"
    return f"{option}: {_short(given)} is no {kind or 'class'}; give a class, as in {ways}"


def _required(option: str, class_path: str, names: str) -> str:
    missing = [name.strip() for name in names.split(",")]
    if class_path:
        name = class_path.rpartition(".")[2]
        ways = [f"--{option}.{each} {placeholder(class_path, each)}" for each in missing]
        return f"{name} needs {' and '.join(missing)}: {' '.join(ways)}"
    missing = sorted((name.split(".", 1)[-1] for name in missing), reverse=True)
    wanted = rf"^{missing[0]}:"
    complete = [name for name, file in configurations().items() if re.search(wanted, file.read_text(), re.MULTILINE)]
    example = f", as in --config {min(complete, key=len)}" if complete else ""
    classes = " and ".join(f"--{name}" for name in missing)
    return f"no {' and no '.join(missing)} was chosen: name a configuration{example}, or classes with {classes}"


def placeholder(class_path: str, argument: str) -> str:
    """Return what stands for the value of a class' argument in an example: FOLDER, FILE, NUMBER, CLASS or NAME."""
    for word, pattern in PLACES.items():
        if re.search(pattern, argument):
            return word
    hint = annotation_of(class_path, argument)
    if hint in (int, float):
        return "NUMBER"
    return "CLASS" if inspect.isclass(hint) and hint.__module__ != "builtins" else "NAME"


def annotation_of(class_path: str, argument: str) -> Any:
    """Return the annotation of a class' argument without its bounds, None if there is none or null is the default.

    Args:
        class_path: of the class, whose constructor is looked at and not those of its bases.
        argument: its name.
    """
    module, _, name = class_path.rpartition(".")
    try:
        constructor = getattr(import_module(module), name).__init__
        by_default = inspect.signature(constructor).parameters[argument].default
        return get_type_hints(constructor).get(argument) if by_default is not None else None
    except (ImportError, NameError, AttributeError, ValueError, KeyError):
        return None


def _wrong_value(complaint: Complaint) -> str:
    kinds = [kind for reason in complaint.reasons for kind in re.findall(r"Expected an? (?!path but)([^\n]+)", reason)]
    kinds = [re.sub(r"<class '(?:[\w.]+\.)?(\w+)'>", r"\1", kind).removeprefix("typing.") for kind in kinds]
    literals = [word for kind in kinds for word in re.findall(r"'([^']+)'", kind)]
    names = ["null" if kind == "NoneType" else kind for kind in dict.fromkeys(kinds) if not kind.startswith("Literal[")]
    given = complaint.value
    return (
        f"{complaint.option}: {_short(given)!r} is not {' or '.join(dict.fromkeys([*literals, *names]))}"
        f"{did_you_mean(given, literals)}"
    )


def one_line(text: str) -> str:
    """Return a text in one line of bearable length."""
    line = " ".join(text.split())
    return line if len(line) <= 400 else f"{line[:400]} ..."


def _short(given: str) -> str:
    return given if len(given) <= 80 else f"{given[:80]} ..."
