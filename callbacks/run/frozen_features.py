"""Frozen networks see an image once, where every epoch shows the same images."""

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sized
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Protocol, cast, runtime_checkable

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from callbacks.run.feature_file import SUFFIX, Layout, make_room, read_rows, sweep, write_rows
from networks.frozen import Frozen, HasFrozenFeatures
from visionscapes.checks import Bounds, check_options
from visionscapes.errors import UserError
from visionscapes.processes import from_first, gather_objects


@runtime_checkable
class RepeatsImages(Protocol):
    """A datamodule of which some parts look alike in every epoch: nothing is drawn, cropped or jittered at random."""

    def repeated_images(self) -> dict[str, Dataset]:
        """Return these parts, of "train" and "validate"; a sample's "image" is that of its "index" in batches."""
        ...


class Kept(NamedTuple):
    """The frozen features of a part of the data."""

    rows: Tensor  # (N, bytes), mapped into memory
    layout: Layout
    images: list[int]  # checksum of each

    def of(self, batch: Mapping[str, Any]) -> tuple[Tensor, ...]:
        """Return the features of a batch, on its device."""
        device = batch["image"].device
        return tuple(each.to(device) for each in self.layout.unpack(self.rows[batch["index"].cpu()]))


class FrozenFeatures(Callback):
    """Computes what a module asks of frozen networks once an image, and gives it to its steps as ``batch["frozen"]``.

    It does so where the module has frozen features (``networks.frozen``), the datamodule repeats its images
    (`RepeatsImages`) and the run sees them at least twice. The features lie in one file for each part of the data, in
    ``.features`` beside the runs, which share them. Its name is a digest of the networks, their settings, the precision
    and the content of all images, so that it cannot be out of date. The file is complete before the first step and
    never changes, and a few features are computed anew at every start: unless they are equal to the last bit to those
    of the file, in batches that are put together otherwise, none of it is used. A run that is killed at any moment and
    resumed, or goes on without this callback, therefore sees the same numbers.

    Args:
        when: "auto" says nothing where it cannot be done, "always" refuses to start, "never" computes them at every
            step.
        limit: of all files of the folder together, in GiB; those that were used longest ago make room.

    Raises:
        UserError: with "always", where it cannot be done; the datamodule shows other images than it has said.
    """

    def __init__(
        self,
        when: Literal["auto", "always", "never"] = "auto",
        limit: Annotated[float, Bounds(above=0, most=2**20)] = 4.0,
    ):
        check_options(FrozenFeatures, locals())
        self.when, self.limit = when, int(limit * 2**30)
        self._kept: dict[str, Kept] = {}

    @override
    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._kept = {}
        if self.when == "never":
            return
        if not isinstance(pl_module, HasFrozenFeatures):
            if self.when == "always":
                self._go_without(f"{type(pl_module).__name__} has no frozen features")
            return
        data = getattr(trainer, "datamodule", None)
        parts = data.repeated_images() if isinstance(data, RepeatsImages) else {}
        if "train" not in parts:
            self._go_without("frozen features of images that are others in every epoch cannot be kept")
        elif self.when == "always" or _repeats(trainer):
            for part, images in parts.items():
                self._keep(part, images, trainer, pl_module.frozen())

    @override
    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        self._give("train", batch, check=batch_idx == 0)

    @override
    def on_validation_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        self._give("validate", batch, check=batch_idx == 0)

    def _give(self, part: str, batch: Any, check: bool) -> None:
        kept = self._kept.get(part)
        if kept is None or not isinstance(batch, dict) or batch.get("task") != "images":
            return
        said = [kept.images[index] for index in batch["index"].tolist()] if check else []
        if check and [_checksum(image) for image in batch["image"]] != said:
            raise UserError(
                "the datamodule's repeated_images() are not those of its batches: leave out what it draws at random, "
                "or turn this off with FrozenFeatures.when=never"
            )
        batch["frozen"] = kept.of(batch)

    def _keep(self, part: str, images: Dataset, trainer: Trainer, frozen: Frozen) -> None:
        """Open the file of a part of the data, or write it first. Collective."""
        device = trainer.strategy.root_device
        loader = trainer.train_dataloader
        size = getattr(loader, "batch_size", None) or 32  # as in training: the same sizes take the same kernels

        def image(index: int) -> Tensor:
            return trainer.precision_plugin.convert_input(cast(Any, images)[index]["image"])

        def compute(indices: range | list[int]) -> tuple[Tensor, ...]:
            batch = torch.stack([image(index) for index in indices]).to(device)
            with torch.no_grad(), trainer.precision_plugin.forward_context():
                return frozen.compute(batch)

        count = len(cast(Sized, images))
        spread = [index * count // size for index in range(size)]  # images that no batch of the file puts together
        example = compute(spread)
        layout = Layout(example)
        needed = count * layout.row
        what = f"frozen features of {count} images ({needed / 2**20:,.0f} MiB)"
        if needed > self.limit:
            self._go_without(f"{what} do not fit into FrozenFeatures.limit={self.limit / 2**30:g} GiB")
            return
        checksums = [_checksum(image(index)) for index in range(count)]
        key = [frozen.digest(), str(trainer.precision), device.type, torch.__version__, layout.shapes, checksums]
        folder = Path(trainer.default_root_dir).parent / ".features"
        path = folder / f"{hashlib.sha256(repr(key).encode()).hexdigest()[:24]}{SUFFIX}"

        def batches() -> Iterator[Tensor]:
            for first in range(0, count, size):
                # The last one is filled up, so that it is of the size of the others.
                indices = [min(index, count - 1) for index in range(first, first + size)]
                yield layout.pack(compute(indices))[: count - first]

        def read() -> Tensor | None:
            rows = read_rows(path, count, layout.row)
            same = rows is not None and torch.equal(rows[torch.tensor(spread)], layout.pack(example))
            return rows if same else None

        rows, problem = None, None
        if trainer.local_rank == 0:
            try:
                sweep(folder)
                if read() is None:
                    rank_zero_info(f"{what} are computed once and kept in {folder}")
                    make_room(folder, needed, self.limit)
                    write_rows(path, batches())
            except OSError as error:
                problem = f"{what} cannot be kept in {folder} ({error.strerror})"
        trainer.strategy.barrier("frozen features")
        rows = read()
        # All processes have them, or none.
        if not all(gather_objects(rows is not None)):
            self._go_without(from_first(problem) or f"{what} depend on the batch that an image is in")
        elif rows is not None:
            self._kept[part] = Kept(rows, layout, checksums)

    def _go_without(self, problem: str) -> None:
        if self.when == "always":
            raise UserError(f"{problem}, which FrozenFeatures.when=always asks for")
        rank_zero_info(f"{problem}: they are computed at every step")


def _repeats(trainer: Trainer) -> bool:
    """Return whether the run sees at least two epochs' worth of batches."""
    planned = trainer.num_training_batches * (trainer.max_epochs if trainer.max_epochs not in (None, -1) else 2)
    steps = planned if trainer.max_steps == -1 else min(planned, trainer.max_steps * trainer.accumulate_grad_batches)
    return steps >= 2 * len(cast(Sized, trainer.train_dataloader))


def _checksum(image: Tensor) -> int:
    return zlib.crc32(image.detach().cpu().contiguous().view(torch.uint8).numpy().data)
