"""What a library has against a value is told in a line; a bug keeps its traceback."""

import re
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.callbacks import EarlyStopping, Timer
from pytorch_lightning.demos.boring_classes import BoringModel, RandomDataset
from pytorch_lightning.loggers import CSVLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader
from wandb.errors import UsageError

from command_line.errors.construction import (
    Construction,
    of_batch,
    of_file,
    of_image_size,
    of_library,
    of_lightning,
    of_memory,
    of_service,
)
from visionscapes.errors import UserError


def failure(function, *args, **kwargs) -> Exception:
    """What a call raises, with the frames of what is called alone: this file is no library."""
    try:
        function(*args, **kwargs)
    except Exception as error:
        return error.with_traceback(error.__traceback__.tb_next)
    raise AssertionError


def test_what_a_library_says_of_a_value():
    error = of_library(failure(EarlyStopping, monitor="x", mode="y"), "EarlyStopping")
    assert str(error) == "EarlyStopping: `mode` can be min, max, got y"


class Ours:
    def __init__(self, value: int):
        int(value)
        raise ValueError("a bug")


def test_a_bug_is_none_of_the_users():
    error = failure(Ours, 5)
    assert of_library(error, "Ours") is None
    assert of_lightning(error) is None


def test_a_missing_package_is_named():
    error = of_library(ModuleNotFoundError("No module named 'nowhere_to_be'", name="nowhere_to_be.inner"), "Mine")
    assert str(error) == "Mine needs the package nowhere_to_be, which is not installed: pip install 'nowhere_to_be'"
    hint = ModuleNotFoundError(
        "Requirement 'mlflow>=1.0.0' not met. HINT: Try running `pip install -U 'mlflow>=1.0.0'`"
    )
    assert "MLFlow needs the package mlflow>=1.0.0, which is not installed" in str(of_library(hint, "MLFlow"))


def test_a_module_that_our_own_package_lacks_is_a_bug():
    assert of_library(ModuleNotFoundError("No module named 'networks.nowhere'", name="networks.nowhere"), "X") is None


def test_lightning_complains_of_options_and_torch_of_bugs():
    raised = failure(Trainer, accelerator="abacus", logger=False, enable_checkpointing=False)
    assert isinstance(raised, MisconfigurationException | ValueError)
    assert "abacus" in str(of_lightning(raised))


class WithUnnamedBatchSize(BoringModel):
    def predict_dataloader(self):
        return DataLoader(RandomDataset(32, 4), 2)


def test_a_loader_that_lightning_cannot_build_anew_is_told_how_it_can():
    trainer = Trainer(accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False)
    raised = failure(trainer.predict, WithUnnamedBatchSize())
    assert "DataLoader(dataset, batch_size=...)" in str(of_lightning(raised))


def test_the_first_failure_counts_and_the_parsers_answer_does_not():
    construction = Construction()
    with pytest.raises(UserError):
        construction(refusing, "first")
    with pytest.raises(MisconfigurationException, match="duration"):
        construction(Timer, duration="abc")
    assert str(construction.explained(ValueError("the parser's"))) == "first"


def refusing(text: str) -> None:
    raise UserError(text)


def test_the_cause_counts_where_the_parser_built_itself():
    error = ValueError("the parser's")
    error.__cause__ = UserError("the cause")
    assert str(Construction().explained(error)) == "the cause"
    bug = ValueError("the parser's")
    bug.__cause__ = ZeroDivisionError("the bug")
    assert isinstance(Construction().explained(bug), ZeroDivisionError)


@pytest.mark.parametrize(
    "error",
    [failure(torch.empty, 10**15), failure(np.zeros, 10**15), torch.OutOfMemoryError("CUDA: Tried to allocate 3 GiB.")],
    ids=["torch", "numpy", "GPU"],
)
def test_more_memory_than_there_is(error):
    told = str(of_memory(error, "Mine"))
    assert re.fullmatch(r"Mine needs more memory than there is( for [\d.]+ \w+ at once)?: choose smaller sizes.*", told)
    assert str(of_memory(error, "")).startswith("the configuration needs more memory")
    assert of_memory(RuntimeError("shapes do not fit"), "Mine") is None


def test_a_batch_without_what_the_module_needs():
    def training_step(batch):
        return batch["label"], {}["inner"]

    told = str(of_batch(failure(training_step, {"task": "images", "image": 0}), "Mine"))
    assert told.startswith("Mine needs 'label' in a batch, and those of the data hold task, image: ")
    assert of_batch(ValueError("other"), "Mine") is None


@pytest.mark.parametrize("side", [63, 32])
def test_images_that_a_vit_does_not_take(side):
    vit = timm.create_model("vit_tiny_patch16_224", depth=1, img_size=64, dynamic_img_size=side == 63)
    with pytest.raises(AssertionError) as caught:
        vit(torch.zeros(1, 3, side, side))
    assert f"DINO: Input height ({side}) " in str(of_image_size(caught.value, "DINO"))
    assert of_image_size(AssertionError("Input height (63) of our own"), "DINO") is None, "no complaint of timm's"


def test_a_place_that_a_library_cannot_use_is_named():
    logger = CSVLogger("/proc/nowhere")
    reason = of_file(failure(getattr, logger, "experiment"))
    assert str(reason).startswith("/proc/nowhere cannot be read or written")
    with pytest.raises(FileNotFoundError) as ours:
        Path("/proc/nowhere").read_text()
    assert of_file(ours.value) is None, "opened by no library"


def test_a_service_without_a_key_is_told():
    assert "WANDB_MODE=offline" in str(of_service(UsageError("No API key configured.")))
    assert of_service(ValueError("No API key configured.")) is None
