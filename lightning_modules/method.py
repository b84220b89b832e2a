"""The base of all methods: what their checkpoints hold, how they come back alone, and how Python users ask them."""

import inspect
import io
import os
import warnings
from argparse import ArgumentError
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import is_dataclass
from difflib import get_close_matches
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Self

import pytorch_lightning
import torch
from pytorch_lightning import LightningModule
from torch import nn
from typing_extensions import override

from visionscapes.bundled import with_bundled_paths
from visionscapes.errors import UserError
from visionscapes.given_paths import checked_path
from visionscapes.options import filled
from visionscapes.renamed_options import with_new_names
from visionscapes.saved_runs import built, described, named_class, run_folder_of, saved_part
from visionscapes.stored import read_open, read_stored

MADE_OF = "made_of"  # the key of a checkpoint with what is needed to make module and inputs again
SHOWN = 300  # letters of what torch says of weights that do not fit
START_FILES = ("weights", "backbone_weights")  # options that name files to start from: a checkpoint has all weights


class Method(LightningModule):
    """A LightningModule that ``visionscapes.load`` knows how to use, and that ``load_from_checkpoint`` makes alone.

    Attributes:
        takes: class of the inputs that a user gives, see ``datamodules.common.given.Given``.
        gives: what is answered to one input, for people.
        fixed_inputs: options of the inputs that the training has decided.
        given_networks: arguments of the constructor that are networks; each has ``options``, with which it was made.
        only_to_train: options of networks that only losses ask -> values with which they cost nothing.
        loaded: whether the weights come from a checkpoint.
    """

    takes: ClassVar[str] = "datamodules.images.given.GivenPhotographs"
    gives: ClassVar[str] = "what predict_step says of a picture"
    fixed_inputs: ClassVar[tuple[str, ...]] = ()
    given_networks: ClassVar[tuple[str, ...]] = ()
    only_to_train: ClassVar[dict[str, Any]] = {}
    loaded = False

    def answers(self, batch: Any) -> list[Any]:
        """Return what the method is for, one item for each input of a batch such as ``predict_step`` takes.

        By default what ``predict_step`` returns, a tensor (B, ...), row for row.
        """
        return list(self.predict_step(batch, 0).float())

    def default_inputs(self) -> dict[str, Any]:
        """Return options of `takes` that follow from the module, for data that do not say how inputs are prepared."""
        return {}

    @override
    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add how the module, the networks that it was given and the inputs of its data are made."""
        inputs = getattr(getattr(self._trainer, "datamodule", None), "inputs", None)
        given = {name: getattr(self, name) for name in self.given_networks}
        networks = {name: network for name, network in given.items() if hasattr(network, "options")}  # one of ours
        checkpoint[MADE_OF] = {
            "class_path": described(self, {})["class_path"],
            "networks": {name: described(made_as(network), network.options) for name, network in networks.items()},
            "inputs": None if inputs is None else described(inputs, inputs.options()),
        }

    @classmethod
    def restored(cls, options: dict[str, Any], made_of: Mapping[str, Any], folder: Path) -> dict[str, Any]:
        """Return the options of a checkpoint such that they do without files that may be gone.

        Args:
            options: as they were given to the training.
            made_of: what `on_save_checkpoint` has kept besides; empty in checkpoints of earlier versions.
            folder: for files that are needed while the module is made.
        """
        return options

    @classmethod
    @override
    def load_from_checkpoint(cls, checkpoint_path: Any, *args: Any, **kwargs: Any) -> Self:
        """Return the module of a checkpoint, as Lightning does, from this file alone.

        Checkpoints of earlier versions are read too: options that were not in groups yet, and networks whose options
        stand in the run folder that the checkpoint lies in. Files that the training started from need not be there.

        Args:
            checkpoint_path: path of the checkpoint, or an open file.
            args: see ``LightningModule.load_from_checkpoint``.
            kwargs: likewise; among them options that win over those of the checkpoint, of a group perhaps only some.

        Raises:
            UserError: there is no such checkpoint, it is damaged, or of another module; an option does not exist, or
                does not fit the weights; it does not say how one of its networks is made, or a file of it is missing.
        """
        given = with_new_names(cls.__name__, kwargs)
        _check_known(cls, given)
        checkpoint = _content_of(checkpoint_path)
        _check_class(cls, checkpoint, checkpoint_path)
        options = checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_KEY) or {}
        known = with_new_names(cls.__name__, options)
        if given.get("hparams_file") is None:
            _check_complete(cls, known | given, checkpoint_path)
        checkpoint.setdefault("pytorch-lightning_version", pytorch_lightning.__version__)  # of what others have made
        known |= {name: None for name in START_FILES if name in known}
        before = dict(known)
        with TemporaryDirectory() as folder:
            known = cls.restored(with_bundled_paths(known), checkpoint.get(MADE_OF) or {}, Path(folder))
            for name, group in given.items():
                if isinstance(group, Mapping) and isinstance(known.get(name), Mapping):
                    given[name] = {**known[name], **group}  # what is not given is as it was, not as by default
            if cls.given_networks:
                known = without_instantiator(known)
                missing = [name for name in cls.given_networks if name not in given]
                given |= {name: _network(cls, name, checkpoint, checkpoint_path) for name in missing}
            checkpoint[cls.CHECKPOINT_HYPER_PARAMS_KEY] = known
            checkpoint["optimizer_states"] = []  # larger than the weights, and not asked for
            file = io.BytesIO()
            torch.save(checkpoint, file)
            file.seek(0)
            with warnings.catch_warnings():
                # The checkpoint has the weights that a constructor misses.
                warnings.filterwarnings("ignore", "the backbone has no weights")
                with _misfits(cls, checkpoint_path):
                    module = super().load_from_checkpoint(file, *args, **given)
        module.loaded = True
        for name in module.hparams.keys() & before.keys() - given.keys():
            if known[name] != before[name]:  # they were restored, and stay what they were
                group = isinstance(before[name], Mapping)
                module.hparams[name] = {**module.hparams[name], **before[name]} if group else before[name]
        return module


def _content_of(place: Any) -> dict[str, Any]:
    """Return a checkpoint as it was saved."""
    if isinstance(place, str | os.PathLike):
        path = checked_path(place, "the checkpoint")
        if not path.is_file():
            raise UserError(f"there is no checkpoint '{path}': give {_last_of(path)}")
        content = read_stored(path, lambda _: ": give another one of its run", lambda _: "")
    else:
        content = read_open(place)
    if not isinstance(content, Mapping) or not isinstance(content.get("state_dict"), Mapping):
        raise UserError(
            f"{place} is no checkpoint of a module: it has no state_dict. Plain weights belong into the module's "
            "'weights' argument"
        )
    return dict(content)


def _last_of(folder: Path) -> str:
    """Return the last checkpoint of a run folder, or what it would be called."""
    found = [path for path in (folder / "last.ckpt", folder / "checkpoints" / "last.ckpt") if path.is_file()]
    return str(found[0]) if found else "<run folder>/checkpoints/last.ckpt"


def options_of(cls: type) -> dict[str, inspect.Parameter]:
    """Return the options of a class by name, with those that it passes on to its bases."""
    found: dict[str, inspect.Parameter] = {}
    for each in inspect.getmro(cls):
        if "__init__" not in vars(each):
            continue
        parameters = list(inspect.signature(vars(each)["__init__"]).parameters.values())[1:]
        named = [one for one in parameters if one.kind in (one.POSITIONAL_OR_KEYWORD, one.KEYWORD_ONLY)]
        found |= {one.name: one for one in named if one.name not in found}
        if not any(one.kind == one.VAR_KEYWORD for one in parameters):
            break
    return found


def _check_known(cls: type, given: Mapping[str, Any]) -> None:
    """Refuse options that there are not, which Lightning leaves out without a word."""
    known, of_lightning = options_of(cls), inspect.signature(LightningModule.load_from_checkpoint).parameters
    for name, value in given.items():
        if name in known and is_dataclass(group := known[name].default) and not isinstance(group, type):
            filled(f"{cls.__name__}.{name}", group, value)
        if name not in known and name not in of_lightning:
            near = get_close_matches(name, known, n=2)
            told = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(known)}"
            raise UserError(f"{cls.__name__} has no option {name}: {told}")


def _check_class(cls: type, checkpoint: Mapping[str, Any], place: Any) -> None:
    """Refuse the checkpoint of another method; those of a class that one inherits of the other go together."""
    told = class_path_of(checkpoint, Path(place) if isinstance(place, str | os.PathLike) else None)
    try:
        found = cls if told is None else named_class(told, object)
    except UserError:
        return  # of a program that is not here: the weights say whether it fits
    if not (issubclass(cls, found) or issubclass(found, cls)):
        raise UserError(
            f"{place} is a checkpoint of {found.__name__}, not of {cls.__name__}: call "
            f"{found.__name__}.load_from_checkpoint, or visionscapes.load, which sees itself what it is of"
        )


def _check_complete(cls: type[Method], options: Mapping[str, Any], place: Any) -> None:
    """Refuse a checkpoint that lacks options without which the module cannot be made."""
    if "_class_path" in options:
        return  # the parser of the command line, which makes the module, has seen them all
    known = options.keys() | cls.given_networks  # of these the checkpoint says more, see `_network`
    missing = [name for name, each in options_of(cls).items() if each.default is each.empty and name not in known]
    if missing:
        ways = ", ".join(f"{name}=..." for name in missing)
        raise UserError(
            f"the checkpoint {place} does not say {', '.join(missing)}, without which there is no {cls.__name__}: give "
            f"them, as in {cls.__name__}.load_from_checkpoint(path, {ways})"
        )


@contextmanager
def _misfits(cls: type, place: Any) -> Iterator[None]:
    """Say in one line that weights do not fit a module, or what is wrong with the value of an option."""
    try:
        yield
    except ArgumentError as error:  # of the parser, which makes the modules of runs
        raise UserError(f"{cls.__name__}: {' '.join(error.message.split())[:SHOWN]}") from error
    except RuntimeError as error:
        text = " ".join(str(error).split())
        if "loading state_dict" not in text:
            raise
        raise UserError(
            f"the weights of the checkpoint {place} do not fit {cls.__name__} as its options make it: "
            f"{text.split(':', 1)[1].strip()[:SHOWN]}. Give no other options than those that it was trained with"
        ) from error


def without_instantiator(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options without those of the command line's parser, which takes descriptions of objects alone."""
    return {name: value for name, value in options.items() if name not in ("_instantiator", "_class_path")}


def made_as(network: nn.Module) -> type:
    """Return the class that makes a network again of its ``options``: its own, unless it says another."""
    return getattr(network, "made_as", type(network))


def class_path_of(checkpoint: Mapping[str, Any], path: Path | None) -> str | None:
    """Return the class path of a checkpoint's module, from the file or the run folder that it lies in; None if unknown.

    Args:
        checkpoint: as read.
        path: of the file; None if it is none.
    """
    told = (checkpoint.get(MADE_OF) or {}).get("class_path")
    told = told or (checkpoint.get(LightningModule.CHECKPOINT_HYPER_PARAMS_KEY) or {}).get("_class_path")
    if isinstance(told, str) or path is None:
        return told
    return saved_part(run_folder_of(path), "model")[0]


def _network(cls: type, name: str, checkpoint: Mapping[str, Any], place: Any) -> nn.Module:
    described_here = ((checkpoint.get(MADE_OF) or {}).get("networks") or {}).get(name)
    if described_here is None and isinstance(place, str | Path):
        class_path, options = saved_part(run_folder_of(Path(place)), "model")
        if class_path is not None and named_class(class_path, object) is cls:
            described_here = options.get(name)
    if described_here is None:
        raise UserError(
            f"the checkpoint {place} was saved by an earlier version, which did not keep how its {name} is made: leave "
            f"it in its run folder, or give the {name}, as in {cls.__name__}.load_from_checkpoint(path, {name}=...)"
        )
    try:
        return built(described_here, nn.Module)
    except UserError as error:
        raise UserError(
            f"the {name} of the checkpoint {place} cannot be made again: {error}. Put the file where it was, or give "
            f"the {name}, as in {cls.__name__}.load_from_checkpoint(path, {name}=...)"
        ) from error
