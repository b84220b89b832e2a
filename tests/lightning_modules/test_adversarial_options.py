"""The groups of options that games of two networks share."""

import re

import pytest
import torch

from lightning_modules.adversarial_options import AdversarialOptions, HardwareOptions, OptimizerOptions
from tests.lightning_modules.grit.cases import grit
from visionscapes.errors import UserError


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"lr": 0.0}, "OptimizerOptions.lr is 0.0; it has to be above 0"),
        ({"lr": float("nan")}, "OptimizerOptions.lr is nan; it has to be a finite number, above 0"),
        ({"ema": 1.5}, "OptimizerOptions.ema is 1.5; it has to be at least 0 and below 1"),
        ({"beta2": 1.0}, "OptimizerOptions.beta2 is 1.0; it has to be at least 0 and below 1"),
        ({"accumulate": 0}, "OptimizerOptions.accumulate is 0; it has to be at least 1"),
        ({"penalty_every": 0}, "AdversarialOptions.penalty_every is 0; it has to be at least 1"),
        ({"r1": -1.0}, "AdversarialOptions.r1 is -1.0; it has to be at least 0"),
        (
            {"gan_loss": "wasserstein"},
            "AdversarialOptions.gan_loss is 'wasserstein'; it has to be one of logistic, hinge, least_squares",
        ),
        ({"lambda_rec": -1.0}, "GRIT.lambda_rec is -1.0; it has to be at least 0"),
    ],
)
def test_options_that_cannot_be(option, message):
    with pytest.raises(UserError, match=re.escape(message)):
        grit(**option)


def test_groups_may_come_as_dictionaries_as_checkpoints_hold_them():
    module = grit(adversarial={"r1": 3.0}, optimizer={"lr": 0.5, "ema": 0.9}, hardware={"channels_last": True})
    assert module.adversarial == AdversarialOptions(r1=3.0)
    assert grit(adversarial={"r2": 1.0}).adversarial == AdversarialOptions(
        r1=10.0, r2=1.0
    )  # what it leaves out is GRIT's
    assert module.optimizer == OptimizerOptions(lr=0.5, ema=0.9)
    assert module.memory_format == torch.channels_last
    assert grit(hardware=HardwareOptions()).memory_format == torch.contiguous_format
