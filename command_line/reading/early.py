"""Mistakes of a command line that are found before torch is imported, by what the source says of its options.

What is refused here is refused by the parser in the same words; all else is left to it.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

from command_line.errors.explanations import unknown_key, unknown_option
from command_line.reading.configurations import config_files, located
from command_line.reading.old_names import model_of
from command_line.subcommands.table import OWN as OWN_SUBCOMMANDS
from visionscapes.bundled import ROOT
from visionscapes.errors import UserError
from visionscapes.renamed_options import groups_of

OWN = (
    "help",
    "config",
    "print_config",
    "seed_everything",
    "trainer",
    "model",
    "data",
    "model.help",
    "data.help",
    "checkpoint",
    "name",
    "runs_dir",
    "resume",
    "test_after_fit",
)
NOT_OFFERED = {"self", "model", "datamodule", "dataloaders", "train_dataloaders", "val_dataloaders", "weights_only"}
GROUPS = ("trainer", "checkpoint")
SKIPPED = ("--", "--help_full")


def refuse_early(args: Sequence[str]) -> None:
    """Find options and keys of configurations that do not exist.

    Args:
        args: a subcommand and its words; its configurations exist.

    Raises:
        UserError: the first that does not exist.
    """
    words, _ = located(args)
    trainer = _trainer()
    # What else a module with groups of options accepts, and what is suggested instead, says the module.
    model = model_of(words)
    if trainer is None or groups_of(model):
        return
    options = list(known_options(words[0], trainer))
    for file in config_files(words):
        for key in _unknown_keys(yaml.safe_load(Path(file).read_text()), options):
            raise UserError(unknown_key(key, options, model))
    for word in words[1:]:
        key = word.removeprefix("--").partition("=")[0]
        if word.startswith("--") and word not in SKIPPED and not _is_known(key, options):
            raise UserError(unknown_option([word], options, model))


def known_options(subcommand: str, trainer: ast.ClassDef | None = None) -> Iterator[str]:
    """Yield the options of a subcommand as the parser calls them, those of single classes left out.

    Args:
        subcommand: fit, validate, test, predict, or one of our own.
        trainer: the class Trainer of Lightning; it is looked for if None.
    """
    yield from OWN
    trainer = trainer or _trainer()
    if subcommand in OWN_SUBCOMMANDS:
        yield from (option.removeprefix("--") for option, _, _ in OWN_SUBCOMMANDS[subcommand].options)
        yield from ["ckpt_path"] * ("model" in OWN_SUBCOMMANDS[subcommand].builds)
    if trainer is not None:
        yield from (name for name in _arguments(trainer, subcommand) if name not in NOT_OFFERED)
        yield from (f"trainer.{name}" for name in _arguments(trainer, "__init__") if name != "self")
    checkpointing = _class(ROOT / "callbacks" / "run" / "checkpointing.py", "Checkpointing")
    yield from (f"checkpoint.{name}" for name in _arguments(checkpointing, "__init__") if name != "self")


def _is_known(key: str, options: Sequence[str]) -> bool:
    first, dot, rest = key.removesuffix("+").partition(".")
    if first not in options:
        return False
    return not (dot and first in GROUPS) or rest.startswith("help") or f"{first}.{rest.partition('.')[0]}" in options


def _unknown_keys(content: Mapping[str, Any], options: Sequence[str]) -> Iterator[str]:
    for key, value in content.items():
        if isinstance(key, str) and key and "." not in key and key not in options:
            # The parser names the first value within; it lets nothing pass, and looks into classes.
            while isinstance(value, Mapping) and value and "class_path" not in value:
                first, value = next(iter(value.items()))
                key = f"{key}.{first}"
            if value is not None and not isinstance(value, Mapping):
                yield key


def _trainer() -> ast.ClassDef | None:
    spec = find_spec("pytorch_lightning")
    return _class(Path(spec.origin).parent / "trainer" / "trainer.py", "Trainer") if spec and spec.origin else None


@cache
def _class(file: Path, name: str) -> ast.ClassDef | None:
    nodes = ast.parse(file.read_text()).body if file.is_file() else []
    return next((node for node in nodes if isinstance(node, ast.ClassDef) and node.name == name), None)


def _arguments(cls: ast.ClassDef | None, function: str) -> list[str]:
    nodes = cls.body if cls is not None else []
    found = next((node for node in nodes if isinstance(node, ast.FunctionDef) and node.name == function), None)
    return [each.arg for each in [*found.args.args, *found.args.kwonlyargs]] if found else []
