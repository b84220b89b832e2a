"""What libraries say that is as it should be here."""

import logging
import warnings

EXPECTED_WARNINGS = [
    ".*LeafSpec.*is deprecated",  # Lightning's own business with torch
    ".*add_instantiator.*",  # https://github.com/Lightning-AI/pytorch-lightning/issues/21900
    "Checkpoint directory .* exists and is not empty",  # that is what --resume is for
    "The dirpath has changed from",  # that is what --ckpt_path of another run is for
    ".*smaller than the logging interval",  # small runs are meant to be small
    "Found .* module\\(s\\) in eval mode",  # a frozen backbone is meant to be
    "You passed in a `val_dataloader` but have no `validation_step`",  # modules that only train
    "Using ModelCheckpoint with manual optimization",  # the state after the step is the one that is wanted
    "Your `IterableDataset` has `__len__` defined",  # with several workers; here one process reads
    "Detected pickle protocol",  # such a file is refused with a message of its own
]


def silence_expected() -> None:
    """Leave out these warnings, and Lightning's advertisement, from now on."""
    logging.getLogger("pytorch_lightning.utilities.rank_zero").addFilter(_no_advertisement)
    for message in EXPECTED_WARNINGS:
        warnings.filterwarnings("ignore", message)


def _no_advertisement(record: logging.LogRecord) -> bool:
    return "litlogger" not in record.getMessage()
