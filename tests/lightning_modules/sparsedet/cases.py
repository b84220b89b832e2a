"""Detectors with few weights, and batches of small pictures that they take."""

import copy
import functools
from ast import literal_eval
from typing import Any

import torch
from pytorch_lightning import Callback, LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules import CoMining, Detector, PseudoLabels, SparseDet, TwoViewDetector
from lightning_modules.sparsedet import module as stages
from tests.helpers.drawn_detection import drawn_batch
from tests.helpers.small_detectors import FPN, ONE, SMALL, TWO

KINDS = {each.__name__: each for each in (CoMining, Detector, PseudoLabels, SparseDet, TwoViewDetector)}


def module(kind: str = "SparseDet", config: str = FPN, more: dict[str, Any] | None = None, **options: Any) -> Any:
    """Return a fresh copy of a small module.

    Args:
        kind: its class, see ``KINDS``.
        config: one of ``SMALL``.
        more: overrides beside those that make the detector small.
        options: of the class.
    """
    found = copy.deepcopy(_module(kind, config, repr(more), repr(sorted(options.items()))))
    torch.manual_seed(0)
    return found.train()


@functools.cache
def _module(kind: str, config: str, more: str, options: str) -> Any:
    torch.manual_seed(0)
    overrides = SMALL[config] | (literal_eval(more) or {})
    return KINDS[kind](config=config, overrides=overrides, **dict(literal_eval(options)))


def miner(config: str = FPN, **options: Any) -> Any:
    """Return a SparseDet that mines from its first step on; an untrained RPN gives every box about 0.5."""
    found = module(config=config, **{"tau_ppm": 0.3, **options})
    found.mining_start = -1
    return found


def at_step(monkeypatch: Any, step: int) -> None:
    """Let modules believe that ``step`` steps of a training are done."""
    monkeypatch.setattr(LightningModule, "global_step", step)


def batch(*pictures: list[tuple[int, ...]], size: tuple[int, int] = (64, 64), masks: bool = False) -> dict[str, Any]:
    """Return a batch of pictures with a second view, darker and noisy, and nothing removed."""
    found = drawn_batch(list(pictures), size)
    if not masks:
        del found["masks"]
    noise = torch.Generator().manual_seed(1)
    found |= {
        "task": "detection",
        "second_view": [
            (0.6 * each + 60 * torch.rand(each.shape, generator=noise)).to(torch.uint8) for each in found["image"]
        ],
        "removed_boxes": [torch.zeros(0, 4) for _ in pictures],
        "removed_labels": [torch.zeros(0, dtype=torch.int64) for _ in pictures],
    }
    return found


def loss_of(losses: dict[str, Tensor]) -> Tensor:
    """Return the sum of what is called a loss."""
    return torch.stack([value for name, value in losses.items() if "loss" in name]).sum()


def gradients(found: Any, losses: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the gradients of all trainable parameters; fails where one has none or is not finite."""
    found.zero_grad()
    loss_of(losses).backward()
    result = {name: each.grad for name, each in found.named_parameters() if each.requires_grad}
    assert [name for name, grad in result.items() if grad is None] == []
    assert all(grad.isfinite().all() for grad in result.values())
    return result


def sure_of(found: Any, label: int) -> None:
    """Let the box head call everything an object of a class, with a score of nearly 1, and leave its box as it is."""
    head = found.detector.roi_head.bbox_head
    with torch.no_grad():
        for layer in (head.fc_cls, head.fc_reg):
            layer.weight.zero_()
            layer.bias.zero_()
        head.fc_cls.bias[label] = 20.0


class Spy:
    """Records arguments and results of a function that ``lightning_modules.sparsedet.module`` calls."""

    def __init__(self, monkeypatch, name: str):
        self.calls: list[tuple] = []
        self.results: list = []
        original = getattr(stages, name)

        def called(*arguments):
            self.calls.append(arguments)
            self.results.append(original(*arguments))
            return self.results[-1]

        monkeypatch.setattr(stages, name, called)


def trainer(folder: Any, *callbacks: Callback, **options: Any) -> Trainer:
    """Return a quiet trainer on the CPU."""
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(
        default_root_dir=folder, accelerator="cpu", callbacks=list(callbacks), **{"devices": 1} | quiet | options
    )


class Batches(LightningDataModule):
    """The same batches in every epoch, to train and to test on.

    Args:
        batches: see ``batch``.
        classes: their names.
    """

    test_size = 64

    def __init__(self, batches: list[dict[str, Any]], classes: int = 12):
        super().__init__()
        self.batches, self.classes = batches, tuple(f"class {k}" for k in range(classes))

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.batches, batch_size=None, shuffle=False)  # type: ignore[arg-type]

    test_dataloader = val_dataloader = predict_dataloader = train_dataloader


class HalfEmpty(Batches):
    """Annotated pictures on rank 0, pictures without any annotation on all other ranks.

    Args:
        steps: batches an epoch.
    """

    def __init__(self, steps: int = 4):
        super().__init__([])
        self.steps = steps

    def setup(self, stage: str) -> None:
        assert self.trainer is not None
        pictures = (ONE, TWO) if self.trainer.global_rank == 0 else ([], [])
        self.batches = [batch(*pictures)] * self.steps


class StateWriter(Callback):
    """Writes parameters and losses of every rank into the run folder."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.losses.append(float(outputs["loss"]))

    def on_train_end(self, trainer: Trainer, pl_module: Any) -> None:
        state = {name: each.detach() for name, each in pl_module.named_parameters()}
        content = {"losses": self.losses, "parameters": state, "mined": trainer.callback_metrics.get("train/mined")}
        torch.save(content, f"{trainer.default_root_dir}/rank-{trainer.global_rank}.pt")
