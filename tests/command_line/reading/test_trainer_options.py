"""The table of the Trainer's options against the Trainer itself."""

import inspect
import re
from datetime import timedelta

import pytest
from pytorch_lightning import Trainer

from command_line.reading.trainer_options import TRAINER_OPTIONS, check_seed, check_trainer
from tests.helpers.option_values import outside, without_bounds
from visionscapes.errors import UserError

DEFAULTS = {name: each.default for name, each in inspect.signature(Trainer.__init__).parameters.items()}


def test_the_options_exist_and_their_defaults_pass():
    assert set(TRAINER_OPTIONS) <= set(DEFAULTS)
    check_trainer(DEFAULTS)


def test_every_number_of_the_trainer_is_looked_at():
    checked = {*TRAINER_OPTIONS, "devices", "val_check_interval", "max_time", "precision"}  # the parser knows the last
    parameters = inspect.signature(Trainer.__init__).parameters
    numbers = {name for name, each in parameters.items() if re.search(r"\b(int|float)\b", str(each.annotation))}
    assert numbers <= checked
    assert not [name for name, annotation in TRAINER_OPTIONS.items() if without_bounds(annotation)]


@pytest.mark.parametrize("option", TRAINER_OPTIONS)
def test_values_outside_are_refused_by_name(option):
    values = [each for each in outside(TRAINER_OPTIONS[option]) if allowed_by_none(option, each)]
    assert values
    for value in values:
        with pytest.raises(UserError) as caught:
            check_trainer({option: value})
        assert str(caught.value).startswith(f"--trainer.{option} is {value!r}; "), caught.value


def allowed_by_none(option: str, value: object) -> bool:
    """Whether no type of a union allows a value: a share outside [0, 1] may be a number of batches."""
    limit = option.startswith("limit_") or option == "overfit_batches"
    return not (limit and (value in (0, 0.5, 1.0) or (type(value) is int and 0 <= value < 2**63)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"devices": 0}, "--trainer.devices is 0; it has to be a number of devices from 1"),
        ({"devices": "-3"}, "--trainer.devices"),
        ({"devices": "abc"}, "--trainer.devices"),
        ({"devices": "1000000"}, "--trainer.devices"),
        ({"devices": []}, "--trainer.devices"),
        ({"devices": [0, 0]}, "--trainer.devices"),
        ({"devices": [-1]}, "--trainer.devices"),
        ({"devices": True}, "--trainer.devices"),
        ({"accelerator": "abacus"}, "--trainer.accelerator is 'abacus'; it has to be one of auto, gpu, cpu"),
        ({"accelerator": []}, "--trainer.accelerator is []; it has to be one of auto, gpu, cpu"),
        ({"strategy": "dpp"}, "did you mean ddp?"),
        ({"profiler": "simpel"}, "did you mean simple?"),
        ({"val_check_interval": 0}, "--trainer.val_check_interval is 0"),
        ({"val_check_interval": 1.5}, "--trainer.val_check_interval is 1.5"),
        ({"val_check_interval": "soon"}, "days:hours:minutes:seconds"),
        ({"max_time": "abc"}, "days:hours:minutes:seconds"),
        ({"max_time": {"a": 1}}, "--trainer.max_time has no unit 'a'; it may have days, hours"),
        ({"max_time": {"days": -1}}, "--trainer.max_time.days is -1"),
        ({"min_epochs": 5, "max_epochs": 3}, "--trainer.min_epochs is 5 and --trainer.max_epochs is 3"),
    ],
)
def test_what_no_table_says(options, words):
    with pytest.raises(UserError) as caught:
        check_trainer(options)
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "options",
    [{"devices": each} for each in ("auto", -1, "-1", 2, "2", [0, 3], "0,3", "1,")]
    + [{"max_time": each} for each in ("00:12:00:00", {"hours": 3}, timedelta(hours=1), None)]
    + [{"accelerator": "gpu"}, {"accelerator": "CPU"}, {"strategy": "ddp_find_unused_parameters_true"}]
    + [{"limit_val_batches": each} for each in (0, 0.5, 1.0, 7, None)]
    + [{"val_check_interval": each} for each in (1, 0.25, 1.0, 100, "00:00:10:00")]
    + [{"fast_dev_run": each} for each in (True, False, 0, 3)]
    + [{"max_epochs": -1, "min_epochs": 3}],
)
def test_what_is_right_passes(options):
    check_trainer(options)


def test_seeds():
    for seed in (True, False, 0, 2**32 - 1):
        check_seed(seed)
    for seed in (-1, 2**32, 0.5):
        with pytest.raises(UserError, match="--seed_everything is"):
            check_seed(seed)
