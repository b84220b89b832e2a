"""Options that messages, docstrings and documents name exist."""

import ast
import inspect
import re
from dataclasses import fields, is_dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from pytorch_lightning import Trainer

from callbacks.run.checkpointing import Checkpointing
from command_line.help import OPTIONS
from command_line.subcommands.table import OWN
from tests.helpers.runs import ROOT
from visionscapes.renamed_options import RENAMED

SOURCES = ("command_line", "lightning_modules", "datamodules", "callbacks", "networks", "visionscapes", "experiments")
DOCUMENTS = [ROOT / "README.md", *ROOT.glob("lightning_modules/*/README.md"), *ROOT.glob("docs/**/*.md")]
FILES = sorted([ROOT / "cli.py", *(path for room in SOURCES for path in (ROOT / room).rglob("*.py")), *DOCUMENTS])
OPTION = re.compile(r"(?<![\w.-])--([a-zA-Z_][\w.-]*\w)")
# Of other programs: pip, git, torchrun, SLURM, and the official code of other methods.
FOREIGN = {"porcelain", "untracked-files", "nodes", "ntasks", "ntasks-per-node", "gres", "nproc_per_node", "no-deps"}
FOREIGN |= {"ipc", "shm-size", "query-gpu"}  # docker and nvidia-smi
FOREIGN |= {"contain_dontcare_label", "label_feat", "use_encoded_image", "no_instance", "num_upsampling_layers"}
# What is answered with the right option, and words that stand for any option.
EXAMPLES = {"optimizer", "lr_scheduler", "option"}


@cache
def of_classes(package: str) -> set[str]:
    """Options of all classes of a package, and of what these are made of, without the package's own name."""
    found: set[str] = set()
    for name in import_module(package).EXPORTS:
        for base in inspect.getmro(getattr(import_module(package), name)):
            if base is object or "__init__" not in vars(base):
                continue
            for each in inspect.signature(base.__init__).parameters.values():
                found.add(each.name)
                if is_dataclass(each.default):
                    found |= {f"{each.name}.{field.name}" for field in fields(each.default)}
    return found


@cache
def of_programs() -> set[str]:
    """Options that programs of this repository declare."""
    sources = [ROOT / "cli.py", *(path for room in (*SOURCES, "benchmarks") for path in (ROOT / room).rglob("*.py"))]
    return {name for path in sources for name in re.findall(r"add_argument\(\s*\"--([\w-]+)\"", path.read_text())}


def known(option: str) -> bool:
    option = option.rstrip(".+").replace("init_args.", "").removesuffix(".init_args")
    first, dot, rest = option.partition(".")
    if not dot:
        rows = [row for rows in OPTIONS.values() for row in rows] + [row for own in OWN.values() for row in own.options]
        shown = {row[0].lstrip("-").rstrip("+") for row in rows}
        groups = {"trainer", "model", "data", "checkpoint", "config", "version", "help"}
        return first in shown | groups | of_programs() | FOREIGN | EXAMPLES or not first.islower()
    parts = [part for part in rest.split(".") if part not in ("class_path", "help")]
    if not parts or parts[0].isupper():
        return True
    if first == "trainer":
        return parts[0] in inspect.signature(Trainer.__init__).parameters
    if first == "checkpoint":
        return parts[0] in inspect.signature(Checkpointing.__init__).parameters
    if first in ("model", "data"):
        options = of_classes("lightning_modules" if first == "model" else "datamodules") | of_classes("networks")
        old = {name for names in RENAMED.values() for name in names}  # which stay valid
        return parts[0] in options | old
    return first in EXAMPLES


def named(path: Path) -> set[str]:
    """The options in the strings of a source file or in a document."""
    text = path.read_text()
    if path.suffix == ".py":
        strings = [each.value for each in ast.walk(ast.parse(text)) if isinstance(each, ast.Constant)]
        text = "\n".join(each for each in strings if isinstance(each, str))
    return {option for option in OPTION.findall(text) if not option.endswith("_")}  # to which a string adds its end


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_named_options_exist(path):
    assert sorted(option for option in named(path) if not known(option)) == []


def test_this_test_finds_what_does_not_exist():
    wrong = ("root", "classes_", "trainer.max_epoch", "model.lrr", "checkpoint.save_top", "data.rooot", "modell.lr")
    assert [option for option in wrong if known(option)] == []
    assert all(known(each) for each in ("name", "trainer.max_epochs", "model.optimizer.lr", "data.init_args.root"))
    assert sum(len(named(path)) for path in FILES) > 150
