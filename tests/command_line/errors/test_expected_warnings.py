import logging
import warnings

from command_line.errors.expected_warnings import silence_expected


def test_expected_warnings_are_left_out_and_others_are_not():
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        silence_expected()
        warnings.warn("Checkpoint directory runs/a exists and is not empty.", stacklevel=1)
        warnings.warn("The loss is a list.", stacklevel=1)
    assert [str(each.message) for each in heard] == ["The loss is a list."]


def test_the_advertisement_is_left_out(caplog):
    silence_expected()
    logger = logging.getLogger("pytorch_lightning.utilities.rank_zero")
    logger.addHandler(caplog.handler)
    logger.warning("For seamless cloud logging, try installing litlogger")
    logger.warning("GPU available: False")
    logger.removeHandler(caplog.handler)
    assert {record.getMessage() for record in caplog.records} == {"GPU available: False"}
