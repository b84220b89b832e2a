"""A tiny analysis: ViTs of random weights, batches made by hand, one run of the Trainer."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import LightningDataModule, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader

from callbacks.vit_analysis.layer_evaluation import LayerEvaluation
from networks.vit_layers import BlockView, Layered, LayeredViT, RandomFeatures

SIZE, DIM, DEPTH = 16, 16, 2
Batches = dict[str, list[dict[str, Any]]]


def tiny_vit() -> LayeredViT:
    torch.manual_seed(0)
    model_args = {"img_size": SIZE, "patch_size": 4, "embed_dim": DIM, "depth": DEPTH, "num_heads": 2}
    return LayeredViT("vit_tiny_patch16_224", None, model_args, [0.5] * 3, [0.5] * 3)


def noise() -> RandomFeatures:
    return RandomFeatures(DIM, 4, SIZE)


class Written(Layered):
    """Features that a test writes itself: one class token a layer, spatial tokens that are its negative.

    An image shows only which row it stands for, see ``numbered``; layer l takes row i of ``features[l]``.
    """

    prefix = 1

    def __init__(self, features: list[Tensor]):
        super().__init__(len(features), 1, features[0].shape[1], 4, SIZE, None)
        self.features = features

    def _pass(self, images: Tensor, observers: Any, attention: bool = False) -> None:
        rows = (images[:, 0, 0, 0] * 2**16).round().long()
        for layer, features in enumerate(self.features):
            own = features[rows][:, None]
            tokens = torch.cat([own, -own.expand(-1, 16, -1)], dim=1)
            for observe in observers:
                observe(BlockView(layer, tokens, None, {}, 1, self.grid))


def numbered(index: Tensor) -> Tensor:
    """Return images that ``Written`` recognises."""
    return (index / 2**16).view(-1, 1, 1, 1).expand(-1, 3, SIZE, SIZE)


def pictures(count: int, seed: int = 0) -> Tensor:
    return torch.rand(count, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def batches(task: str, size: int, **columns: Any) -> list[dict[str, Any]]:
    """Cut columns of equal length into batches of a task."""
    cut = {
        name: values.split(size)
        if isinstance(values, Tensor)
        else [values[start : start + size] for start in range(0, len(values), size)]
        for name, values in columns.items()
    }
    return [{"task": task} | dict(zip(cut, row, strict=True)) for row in zip(*cut.values(), strict=True)]


def only(batch: list[dict[str, Any]]) -> dict[str, Any]:
    return batch[0]


class Module(LightningModule):
    def __init__(self, vits: dict[str, Layered]):
        super().__init__()
        self.vits = torch.nn.ModuleDict(vits)

    def layered(self) -> dict[str, Layered]:
        return dict(self.vits.items())  # type: ignore[arg-type]

    def test_step(self, batch: dict[str, Any], batch_idx: int, dataloader_idx: int = 0) -> None: ...


class Data(LightningDataModule):
    def __init__(self, tasks: Batches):
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True
        self.tasks = tasks

    def test_dataloader(self) -> dict[str, DataLoader]:
        return {f"{task}@{SIZE}": DataLoader(own, collate_fn=only) for task, own in self.tasks.items()}


def analyse(
    root: Path, callbacks: list[LayerEvaluation], tasks: Batches, vits: dict[str, Layered], **options: Any
) -> None:
    """Run the callbacks on these batches of every task."""
    trainer = Trainer(
        default_root_dir=root,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_checkpointing=False,
        use_distributed_sampler=False,
        **options,
    )
    trainer.test(Module(vits), datamodule=Data(tasks), verbose=False)


def show(callback: LayerEvaluation, vit: Layered, tasks: Batches) -> Any:
    """Return the state of a callback after one ViT has seen these batches, without a Trainer."""
    state = callback.new_state(vit)
    for own in tasks.values():
        for batch in own:
            callback.observe(vit, batch, [(callback, state)])
    return state


def tokens_of(vit: Layered, images: Tensor, pick: Callable[[BlockView], Tensor]) -> list[Tensor]:
    """Return what ``pick`` takes of every block."""
    seen: list[Tensor] = []
    vit.visit(images, [lambda view: seen.append(pick(view).clone())])
    return seen
