"""How the words of a command line become values."""

from enum import Enum
from typing import Any

import yaml
from jsonargparse import ArgumentParser, get_loader, set_loader
from yaml import YAMLError

PARSER_MODE = "omegaconf"


class NoneIsNull:
    """A loader of values that reads None as null, standing alone or inside [...] and {...}.

    jsonargparse 4.53 reads --model.backbone.weights=null and hands the value to the parser of the nested class as
    Python prints it, "None", which would then be the name of a file. It is also what users of Python write.

    Args:
        load: the loader of everything else.
    """

    def __init__(self, load: Any):
        self.load = load

    def __call__(self, text: str) -> Any:
        """Return the value of ``text``."""
        value = self.load(text)
        # A configuration file in block style keeps YAML's meaning.
        return _with_nulls(value) if text.strip() == "None" or text.lstrip()[:1] in ("[", "{") else value


def read_none_as_null() -> None:
    """Install the loader in the parser."""
    ArgumentParser(parser_mode=PARSER_MODE).parse_string("{}")  # jsonargparse makes its own loader on first use
    # Lightning's Timer has an enumeration for the default of a word, which jsonargparse cannot write into the YAML.
    yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, value: dumper.represent_data(value.value))
    load = get_loader(PARSER_MODE)
    if not isinstance(load, NoneIsNull):
        set_loader(PARSER_MODE, NoneIsNull(load), (YAMLError,))


def _with_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _with_nulls(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_nulls(each) for each in value]
    return None if value == "None" else value
