"""Old names of options, on the command line and in YAML files: they are read as what they are called now, and told."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader
from typing_extensions import override

from command_line.errors.messages import group_options
from command_line.reading.literals import PARSER_MODE, NoneIsNull
from visionscapes.renamed_options import MODEL, new_name, with_new_names

PREFIXES = ("--model.init_args.", "--model.")


class Told(dict[str, str]):
    """Old name -> new name of what was found, and what else has to be told of it.

    Attributes:
        twice: old names whose new one is given too, in the same file, and counts.
        left_out: options in groups that were given for another class, and that this one does not have.
    """

    def __init__(self) -> None:
        super().__init__()
        self.twice: set[str] = set()
        self.left_out: list[str] = []


class OldNames(NoneIsNull):
    """A loader of values that finds old names of options in configurations of the module.

    Args:
        load: the loader of everything else.
        model: class of the module, without its package, for files that say nothing of it.
        told: what has been found so far; added to.
    """

    def __init__(self, load: Any, model: str, told: Told):
        super().__init__(load)
        self.model, self.told = model, told

    @override
    def __call__(self, text: str) -> Any:
        """Return the value of ``text``."""
        value = super().__call__(text)
        if isinstance(value, dict):
            value = {self._renewed_key(key, each): each for key, each in value.items()}
        if isinstance(value, dict) and isinstance(value.get("model"), dict):
            return {**value, "model": self._renewed(value["model"])}
        return self._renewed(value) if isinstance(value, dict) and "class_path" in value else value

    def _renewed_key(self, key: Any, value: Any) -> Any:
        """Return a key with dots, such as "model.init_args.lr", with the new name of the option."""
        if not isinstance(key, str) or not key.startswith(MODEL):
            return key
        option = key.removeprefix(MODEL)
        new = new_name(self.model, option, value)
        self.told |= _changed({option: new})
        return MODEL + new

    def _renewed(self, model: dict[str, Any]) -> dict[str, Any]:
        options = model.get("init_args")
        if not isinstance(options, Mapping):
            return model
        name = str(model.get("class_path") or self.model).rpartition(".")[2]
        changed = _changed({option: new_name(name, option, value) for option, value in options.items()})
        self.told |= changed
        self.told.twice |= {old for old, new in changed.items() if _has(options, new)}
        options = with_new_names(name, options)
        return {**model, "init_args": options if name == self.model else self._known(options)}

    def _known(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options of another class without those in groups that this one does not have.

        Outside of groups the parser does it.
        """
        known, taken = set(group_options(self.model)), {}
        for group, value in options.items():
            if isinstance(value, Mapping) and any(option.startswith(f"model.{group}.") for option in known):
                unknown = [name for name in value if f"model.{group}.{name}" not in known]
                self.told.left_out += [f"{group}.{name}" for name in unknown]
                taken[group] = {name: each for name, each in value.items() if name not in unknown}
            else:
                taken[group] = value
        return taken


def read_old_names(args: list[str]) -> tuple[list[str], Told]:
    """Return the words of a command line with new names of options, and have its configuration files read likewise.

    Args:
        args: words of the command line.

    Returns:
        The words, and old name -> new name of what was found in them, to which reading the files will add.
    """
    model, told = model_of(args), Told()
    loader = get_loader(PARSER_MODE)
    assert isinstance(loader, NoneIsNull), "read_none_as_null comes first"
    set_loader(PARSER_MODE, OldNames(loader.load, model, told), (yaml.YAMLError,))
    words = list(args)
    for place, word in enumerate(args):
        prefix = next((each for each in PREFIXES if word.startswith(each)), None)
        if prefix is None:
            continue
        option, equals, value = word.removeprefix(prefix).partition("=")
        following = args[place + 1] if place + 1 < len(args) else ""
        if option == "init_args" and equals and (given := _mapping(value)):
            told |= _changed({old: new_name(model, old, each) for old, each in given.items()})
            words[place] = f"{prefix}init_args={json.dumps(with_new_names(model, given))}"
            continue
        new = new_name(model, option.removesuffix("+"), value if equals else following)
        words[place] = f"{prefix}{new}{'+' * option.endswith('+')}{equals}{value}"
        told |= _changed({option.removesuffix("+"): new})
    return words, told


def notices(told: Told, model: str) -> list[str]:
    """Return the lines that tell of old names, and of options that the class does not have.

    Args:
        told: what was found.
        model: class of the module, without its package.
    """
    lines = []
    if told:
        too = dict.fromkeys(told.twice, ", which is given too and counts")
        moved = ", ".join(f"{old} is {new} now{too.get(old, '')}" for old, new in told.items())
        lines.append(f"note: options have moved into groups: {moved}")
    if told.left_out:
        names = ", ".join(dict.fromkeys(told.left_out))
        lines.append(f"note: {model} has no {names}, which are left out; what else the configuration says is kept")
    return lines


def model_of(args: list[str]) -> str:
    """Return the class of the module that a command line names last, itself or in a file, without its package."""
    return class_path_of(args, "model").rpartition(".")[2]


def class_path_of(args: list[str], key: str) -> str:
    """Return the class that a command line names last, itself or in a file, as it is written there; "" without.

    Args:
        args: words of the command line, whose configurations exist.
        key: model or data.
    """
    found = ""
    for word, following in zip(args, [*args[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        value = value if equals else following
        if option in ("--config", "-c"):
            found = _class_in(_mapping(Path(value).read_text(errors="replace")).get(key)) or found
        elif option in (f"--{key}", f"--{key}.class_path"):
            found = (_class_in(_mapping(value)) if value.startswith("{") else value) or found
    return found


def _class_in(value: Any) -> str:
    return str(value.get("class_path") or "") if isinstance(value, Mapping) else str(value or "")


def _mapping(text: str) -> Mapping[str, Any]:
    content = yaml.safe_load(text)
    return content if isinstance(content, Mapping) else {}


def _has(options: Mapping[str, Any], name: str) -> bool:
    group, _, option = name.partition(".")
    return isinstance(options.get(group), Mapping) and option in options[group]


def _changed(names: Mapping[str, str]) -> dict[str, str]:
    return {old: new for old, new in names.items() if old != new}
