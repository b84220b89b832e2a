import pytest

from lightning_modules.diff2lip.loss_options import LossOptions
from visionscapes.errors import UserError


def test_the_weights_are_the_authors():
    options = LossOptions()
    assert {name: options.most(name) for name in ("l2", "sync", "perceptual", "gan")} == {
        "l2": 1.0,
        "sync": 0.1,
        "perceptual": 0.25,
        "gan": 0.5,
    }


def test_a_loss_counts_from_its_start():
    options = LossOptions(lambda_sync=0.3, sync_start=10)
    assert [options.weight("sync", step) for step in (0, 9, 10, 11)] == [0, 0, 0.3, 0.3]
    assert options.most("sync") == 0.3


def test_values_that_make_no_sense_are_refused():
    with pytest.raises(UserError, match="lambda_gan is -1"):
        LossOptions(lambda_gan=-1)
