"""What is wrong with the values of a command line, once it is parsed and before anything is built."""

import re
from collections.abc import Mapping
from typing import Any, get_origin

from jsonargparse import Namespace

from command_line.errors.explanations import EXAMPLES, annotation_of
from command_line.errors.messages import groups_of
from command_line.reading.old_names import class_path_of
from command_line.reading.trainer_options import check_seed, check_trainer
from visionscapes.errors import UserError

# Options whose next word is never a value of theirs, or that print something.
LONE = ("--help", "-h", "--print_config")
VALUE = re.compile(r"-(\d|\.\d|\.inf|\.nan|$)")  # a word that begins like an option and is none: -1, -.5, -.inf
BASES = ("Callback", "Logger", "LightningModule", "LightningDataModule")


def with_values(args: list[str]) -> tuple[list[str], list[str]]:
    """Return the words of a command line with "=true" behind options that stand without a value, and these options.

    Args:
        args: words such as --resume, --model.use_image or --trainer.max_epochs 3.
    """
    words, bare = list(args), []
    for place, (word, following) in enumerate(zip(args, [*args[1:], "--"], strict=True)):
        name = word.lstrip("-")
        lone = word.startswith(LONE) or name.endswith("help") or re.match(r"print_config|c$|config$", name)
        alone = following.startswith("-") and not VALUE.match(following)
        if word.startswith("--") and name and "=" not in word and alone and not lone:
            words[place] = f"{word}=true"
            bare.append(name.removesuffix("+"))
    return words, bare


def with_classes_of_help(args: list[str]) -> list[str]:
    """Return a command line in which a lone --model.help or --data.help asks for the class that is chosen.

    Raises:
        UserError: none is chosen.
    """
    words = list(args)
    for place, (word, following) in enumerate(zip(args, [*args[1:], "--"], strict=True)):
        if word not in ("--model.help", "--data.help") or not following.startswith("-"):
            continue
        key = word[2:].partition(".")[0]
        chosen = class_path_of(args, key)
        if not chosen:
            raise UserError(f"{word} needs a class, as in {word} {EXAMPLES[key]}, or a configuration that chooses one")
        words[place] = f"{word}={chosen}"
    return words


def without_value(message: str, bare: list[str]) -> str:
    """Return the message of the parser, unless it is about the value that an option without one was given.

    Args:
        message: of the parser.
        bare: what `with_values` found.

    Raises:
        UserError: it is.
    """
    for option in bare:
        last = option.rpartition(".")[2]
        about = re.search(rf'Parser key "([\w.]*\.)?{re.escape(last)}":', message)
        if about and re.search(r"(Given value: |Got value: |val=')(true|True)\b", message):
            kinds = re.findall(r"Expected an? <class '(?:[\w.]+\.)?(\w+)'>", message)
            kinds = ["null" if kind == "NoneType" else kind for kind in dict.fromkeys(kinds)]
            raise UserError(f"--{option} needs a value{f': {chr(32).join(kinds[:1])}' if kinds else ''}")
    return message


def check_values(config: Namespace, bare: list[str]) -> None:
    """Check the options that are the same for all methods.

    Args:
        config: of the subcommand, parsed.
        bare: options that were given without a value, which only those that are true or false may be.

    Raises:
        UserError: a value makes no sense.
    """
    for group, example in (("trainer", "max_epochs: 3"), ("checkpoint", "save_top_k: 3")):
        if not isinstance(config.get(group), Namespace):
            raise UserError(f"{group} is {config.get(group)!r}; it has to hold options by name, as in {{{example}}}")
    for option in bare:
        if _text_at(config, option) == "true":
            raise UserError(f"--{option} needs a value")
    for option in ("name", "runs_dir", "ckpt_path"):
        if config.get(option) is not None and not str(config.get(option)).strip():
            raise UserError(f"--{option} is empty: give it a value, or leave it out")
    for option, value in (("model", config.get("model")), ("data", config.get("data"))):
        _check_nulls(value, option)
    for option in ("callbacks", "logger"):
        _check_nulls(config.trainer.get(option), f"trainer.{option}")
    check_seed(config.get("seed_everything"))
    check_trainer(config.trainer.as_dict())
    for option in ("callbacks", "logger"):
        given = config.trainer.get(option)
        for each in given if isinstance(given, list) else [given]:
            path = str(each.get("class_path")) if isinstance(each, Namespace | Mapping) else ""
            if path.startswith("pytorch_lightning.") and path.rpartition(".")[2] in BASES:
                raise UserError(f"trainer.{option} has an entry that names no class: give it a class_path")


def check_chosen(config: Namespace) -> None:
    """Check what the classes are given whose options stand in groups, and where the trainer is to write.

    Args:
        config: of the subcommand, parsed.

    Raises:
        UserError: a whole group is null, or the trainer is given a folder.
    """
    if config.trainer.default_root_dir is not None:
        raise UserError("trainer.default_root_dir is this run's own folder: choose it with --runs_dir and --name")
    for part in ("model", "data"):
        chosen = config.get(part)
        for group in groups_of(chosen.class_path) if chosen else ():
            if (chosen.as_dict().get("init_args") or {}).get(group, {}) is None:
                raise UserError(f"--{part}.{group} is null: give some of its options, or leave it out for its defaults")


def _check_nulls(value: Any, option: str) -> None:
    """Refuse null where a class asks for a number, a word or a list: the parser lets it through."""
    if isinstance(value, list):
        for each in value:
            _check_nulls(each, option)
    if not isinstance(value, Namespace) or not isinstance(value.get("class_path"), str):
        return
    arguments = value.get("init_args")
    for name, given in vars(arguments).items() if isinstance(arguments, Namespace) else ():
        hint = annotation_of(value["class_path"], name) if given is None else None
        if hint in (int, float, bool, str) or get_origin(hint) in (list, tuple, dict):
            kind = getattr(get_origin(hint) or hint, "__name__", "a value")
            raise UserError(f"--{option}.{name} is null; it has to be {kind}")
        _check_nulls(given, f"{option}.{name}")


def _text_at(config: Namespace, option: str) -> Any:
    """Return the value of an option, looked for in the arguments of classes and in the last of a list."""
    value: Any = config
    for part in option.split("."):
        value = value[-1] if isinstance(value, list) and value else value
        if isinstance(value, Namespace | Mapping) and part not in value and "init_args" in value:
            value = value["init_args"]
        if not isinstance(value, Namespace | Mapping) or part not in value:
            return None
        value = value[part]
    if isinstance(value, Namespace) and "class_path" in value:
        return value["class_path"]
    return value
