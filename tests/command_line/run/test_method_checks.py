from types import SimpleNamespace

import pytest
from pytorch_lightning import LightningModule

from command_line.run.method_checks import check_replaced_options, check_trains
from visionscapes.errors import UserError


class ByItself(LightningModule):
    replaces_trainer_options = {"gradient_clip_val": "--model.clip"}  # noqa: RUF012

    def __init__(self, automatic: bool):
        super().__init__()
        self.automatic_optimization = automatic


def trainer(**options):
    return SimpleNamespace(**{"gradient_clip_val": None, "accumulate_grad_batches": 1} | options)


def test_an_option_that_the_module_has_itself_is_refused():
    for automatic in (True, False):
        with pytest.raises(UserError, match=r"--trainer.gradient_clip_val .* ByItself.*give --model.clip"):
            check_replaced_options(ByItself(automatic), trainer(gradient_clip_val=1.0))


def test_what_a_module_that_steps_by_itself_cannot_do_is_refused():
    check_replaced_options(ByItself(True), trainer(accumulate_grad_batches=2))
    with pytest.raises(UserError, match=r"--trainer\.accumulate_grad_batches is not for ByItself"):
        check_replaced_options(ByItself(False), trainer(accumulate_grad_batches=2))


def test_what_cannot_be_trained_says_so():
    check_trains(ByItself(True))
    module = ByItself(True)
    module.cannot_fit = "look elsewhere"
    with pytest.raises(UserError, match="look elsewhere"):
        check_trains(module)


def test_defaults_pass():
    check_replaced_options(ByItself(False), trainer())
