"""Old names of options, on the command line and in YAML files: they are read as what they are called now, and told."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import get_loader, set_loader
from typing_extensions import override

from command_line.literals import PARSER_MODE, NoneIsNull
from visionscapes.renamed_options import MODEL, new_name, with_new_names

PREFIXES = ("--model.init_args.", "--model.")


class OldNames(NoneIsNull):
    """A loader of values that finds old names of options in configurations of the module.

    Args:
        load: the loader of everything else.
        model: class of the module, without its package, for files that say nothing of it.
        told: old name -> new name of what has been found so far; added to.
    """

    def __init__(self, load: Any, model: str, told: dict[str, str]):
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
        self.told |= _changed({option: new_name(name, option, value) for option, value in options.items()})
        return {**model, "init_args": with_new_names(name, options)}


def read_old_names(args: list[str]) -> tuple[list[str], dict[str, str]]:
    """Return the words of a command line with new names of options, and have its configuration files read likewise.

    Args:
        args: words of the command line.

    Returns:
        The words, and old name -> new name of what was found in them, to which reading the files will add.
    """
    model, told = model_of(args), dict[str, str]()
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


def notice(told: Mapping[str, str]) -> str:
    """Return the line that tells of old names."""
    return f"note: options have moved into groups: {', '.join(f'{old} is {new} now' for old, new in told.items())}"


def model_of(args: list[str]) -> str:
    """Return the class of the module that a command line names last, itself or in a file, without its package."""
    found = ""
    for word, following in zip(args, [*args[1:], ""], strict=True):
        option, equals, value = word.partition("=")
        value = value if equals else following
        if option in ("--config", "-c"):
            found = _class_in(_mapping(Path(value).read_text(errors="replace")).get("model")) or found
        elif option in ("--model", "--model.class_path"):
            found = (_class_in(_mapping(value)) if value.startswith("{") else value) or found
    return found.rpartition(".")[2]


def _class_in(model: Any) -> str:
    return str(model.get("class_path") or "") if isinstance(model, Mapping) else str(model or "")


def _mapping(text: str) -> Mapping[str, Any]:
    content = yaml.safe_load(text)
    return content if isinstance(content, Mapping) else {}


def _changed(names: Mapping[str, str]) -> dict[str, str]:
    return {old: new for old, new in names.items() if old != new}
