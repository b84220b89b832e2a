"""What the options of Lightning's Trainer may be: it checks few of them, and some only after an epoch."""

import re
from collections.abc import Mapping
from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pytorch_lightning.accelerators import AcceleratorRegistry
from pytorch_lightning.profilers import Profiler
from pytorch_lightning.strategies import StrategyRegistry

from visionscapes.checks import (
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    NumpySeed,
    PositiveInt,
    PositiveShare,
    Share,
    check_value,
)
from visionscapes.errors import UserError

MOST_DEVICES = 1024  # of one machine: each has a process
MOST_NODES = 65536
# Batches by number, or the share of all.
Limit = NonNegativeInt | Share | None
UnlimitedInt = Annotated[int, Bounds(least=-1)]  # -1: no limit
TRAINER_OPTIONS: dict[str, Any] = {
    "num_nodes": Annotated[int, Bounds(least=1, most=MOST_NODES)],
    "fast_dev_run": bool | NonNegativeInt,
    "max_epochs": UnlimitedInt | None,
    "min_epochs": NonNegativeInt | None,
    "max_steps": UnlimitedInt,
    "min_steps": NonNegativeInt | None,
    "limit_train_batches": Limit,
    "limit_val_batches": Limit,
    "limit_test_batches": Limit,
    "limit_predict_batches": Limit,
    "overfit_batches": Limit,
    "check_val_every_n_epoch": PositiveInt | None,
    "num_sanity_val_steps": UnlimitedInt | None,
    "log_every_n_steps": NonNegativeInt | None,
    "accumulate_grad_batches": PositiveInt,
    "gradient_clip_val": NonNegativeFloat | None,
    "gradient_clip_algorithm": Literal["norm", "value"] | None,
    "reload_dataloaders_every_n_epochs": NonNegativeInt,
}
PROFILERS = ("simple", "advanced", "pytorch", "xla")  # the names that Trainer knows
DEVICES = re.compile(r"auto|-1|[1-9]\d*|\d+(\s*,\s*\d+)*\s*,?")
TIME = re.compile(r"\d+:\d\d:\d\d:\d\d")


def check_trainer(options: Mapping[str, Any]) -> None:
    """Check the options of a Trainer before anything is built with them.

    Args:
        options: by name, as parsed; objects in them are not looked at.

    Raises:
        UserError: one of them makes no sense; it is called ``--trainer.<name>``.
    """
    for name, annotation in TRAINER_OPTIONS.items():
        if name in options and not isinstance(options[name], bool if name == "fast_dev_run" else ()):
            check_value(f"--trainer.{name}", options[name], annotation)
    _check_val_check_interval(options.get("val_check_interval"))
    _check_time("max_time", options.get("max_time"))
    _check_devices(options.get("devices", "auto"))
    _check_name("accelerator", options.get("accelerator"), ["auto", "gpu", *AcceleratorRegistry])
    _check_name("strategy", options.get("strategy"), ["auto", *StrategyRegistry])
    _check_name("profiler", options.get("profiler"), PROFILERS, of=Profiler)
    for limit in ("epochs", "steps"):
        least, most = options.get(f"min_{limit}"), options.get(f"max_{limit}")
        if least is not None and most is not None and 0 <= most < least:
            raise UserError(
                f"--trainer.min_{limit} is {least} and --trainer.max_{limit} is {most}: the smaller has to come first"
            )


def check_seed(seed: Any) -> None:
    """Check the seed of a run.

    Raises:
        UserError: it is no seed of numpy's.
    """
    if not isinstance(seed, bool):
        check_value("--seed_everything", seed, NumpySeed)


def _check_val_check_interval(value: Any) -> None:
    if isinstance(value, str | timedelta | Mapping):
        _check_time("val_check_interval", value)
    elif value is not None:
        check_value("--trainer.val_check_interval", value, PositiveInt | PositiveShare)


def _check_time(option: str, value: Any) -> None:
    units = ("days", "hours", "minutes", "seconds", "weeks")
    if isinstance(value, str) and not TIME.fullmatch(value):
        raise UserError(
            f"--trainer.{option} is {value!r}; it has to be a time as days:hours:minutes:seconds, 00:12:00:00"
        )
    if isinstance(value, Mapping):
        for unit, count in value.items():
            if unit not in units:
                raise UserError(f"--trainer.{option} has no unit {unit!r}; it may have {', '.join(units)}")
            check_value(f"--trainer.{option}.{unit}", count, Annotated[float, Bounds(least=0, most=1e6)])


def _check_devices(value: Any) -> None:
    def refuse() -> None:
        raise UserError(
            f"--trainer.devices is {value!r}; it has to be a number of devices from 1 to {MOST_DEVICES}, a list of "
            "their indices, -1 for all, or auto"
        )

    if isinstance(value, str):
        if not DEVICES.fullmatch(value.strip()):
            refuse()
        value = int(value) if value.strip().lstrip("-").isdigit() else "auto"
    if isinstance(value, list | tuple):
        indices = [each for each in value if isinstance(each, int) and not isinstance(each, bool) and each >= 0]
        if not value or len(indices) < len(value) or len(set(indices)) < len(indices):
            refuse()
    elif value != "auto" and (isinstance(value, bool) or not (value == -1 or 1 <= value <= MOST_DEVICES)):
        refuse()


def _check_name(option: str, value: Any, known: list[str] | tuple[str, ...], of: type | None = None) -> None:
    """Refuse a word that is no name; objects, and words with a dot, are classes that the parser has looked at."""
    if isinstance(value, str) and (value.lower() in known or ("." in value and of is None)):
        return
    if not isinstance(value, str | list | int | float):
        return
    close = get_close_matches(str(value).lower(), known, n=1)
    more = [] if len(known) <= 8 else [f"{len(known) - 7} more"]
    names = ", ".join([*(known if not more else known[:7]), *more])
    meant = f": did you mean {close[0]}?" if close else f"; it has to be one of {names}"
    raise UserError(f"--trainer.{option} is {value!r}{meant}")
