"""Crops of crowded procedural scenes, and where in them which objects are, for inpainters that learn to draw them."""

from typing import Annotated, Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from datamodules.common.evaluation import Stacked
from datamodules.common.loading import SeededDataset, check_global_batch, eval_loader, train_loader
from datamodules.detection.scenes import NAMES, scene_record
from datamodules.procedural.scenes.crowds import Crowd
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from networks.box_diffusion import painted_boxes
from visionscapes.checks import (
    LARGEST_IMAGE,
    Among,
    Bounds,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ShareBelowOne,
    Workers,
    check_options,
    check_rising,
)
from visionscapes.errors import UserError


class SceneCrops(LightningDataModule):
    """Crowded scenes to learn from, a crop around one of the objects of a scene at a time, another one in every epoch.

    Batches are "image" (B, 3, S, S) float32 RGB in [0, 1] and "planes" (B, 3 + K, S, S) float32, which say where
    objects are to be drawn, see ``networks.box_diffusion.painted_boxes``; those of validation have task "boxes", and
    are of scenes of another world.

    Args:
        scenes: to train on.
        test_scenes: of validation.
        image_size: side of the scenes in pixels.
        crop_size: S, side of the crops in pixels.
        objects: fewest and most objects of a scene.
        tail: exponent of the class frequencies, 0 for uniform classes.
        left: share of the objects that stay in the picture, though others are drawn anew.
        batch_size: crops a training batch of one process.
        num_workers: processes that load batches.
        seed: of the world, of the order of training and of the crops.

    Raises:
        UserError: an option is out of its bounds, crops are larger than the scenes, or the scenes do not fill a batch.
    """

    classes = NAMES

    def __init__(
        self,
        scenes: PositiveInt = 1500,
        test_scenes: PositiveInt = 64,
        image_size: Annotated[int, Bounds(least=32, most=LARGEST_IMAGE)] = 128,
        crop_size: Annotated[int, Bounds(least=16, most=LARGEST_IMAGE)] = 64,
        objects: list[Annotated[int, Bounds(least=1, most=200), Among(2, 2)]] = [5, 14],  # noqa: B006 (read only, and the help shows it)
        tail: NonNegativeFloat = 0.0,
        left: ShareBelowOne = 0.1,
        batch_size: PositiveInt = 16,
        num_workers: Workers = 0,
        seed: NonNegativeInt = 0,
    ):
        check_options(SceneCrops, locals())
        super().__init__()
        check_rising(SceneCrops, objects=objects)
        if crop_size > image_size:
            raise UserError(f"SceneCrops.crop_size is {crop_size}, more than the {image_size} pixels of the scenes")
        self.counts, self.sizes, self.left = (scenes, test_scenes), (image_size, crop_size), left
        self.crowd = Crowd((objects[0], objects[1]), tail=tail)
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self._parts: dict[str, Crops] = {}

    @override
    def setup(self, stage: str) -> None:
        if stage == "fit" and "fit" not in self._parts:
            check_global_batch(self.counts[0], self.batch_size)
            self._parts["fit"] = self._crops(self.seed, self.counts[0])
        if stage in ("fit", "validate") and "validate" not in self._parts:
            self._parts["validate"] = self._crops(self.seed + HELD_OUT_WORLD, self.counts[1])

    def _crops(self, world: int, count: int) -> "Crops":
        return Crops(world, count, self.crowd, sizes=self.sizes, left=self.left)

    @override
    def train_dataloader(self) -> DataLoader:
        return train_loader(
            self._parts["fit"],
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
            trainer=self.trainer,
        )

    @override
    def val_dataloader(self) -> DataLoader:
        return eval_loader(
            SeededDataset(self._parts["validate"], self.seed),
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=Stacked("boxes"),
            trainer=self.trainer,
        )


class Crops(Dataset):
    """A crop of every scene, around one of its objects; which, and where, is drawn from torch's generator.

    Args:
        world: seed of the scenes.
        count: of scenes.
        crowd: how many objects they have, and which.
        sizes: sides of the scenes and of the crops, in pixels.
        left: see `SceneCrops`.
    """

    def __init__(self, world: int, count: int, crowd: Crowd, *, sizes: tuple[int, int], left: float):
        self.size, self.left = sizes[1], left
        records = [scene_record(world, index, sizes[0], crowd, with_masks=False) for index in range(count)]
        self.images = torch.from_numpy(np.stack([each.read() for each in records])).permute(0, 3, 1, 2).contiguous()
        self.boxes = [torch.from_numpy(each.boxes) for each in records]
        self.labels = [torch.from_numpy(each.labels) for each in records]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, boxes = self.images[index], self.boxes[index]
        top, left = 0, 0
        drawn = torch.rand(len(boxes)) >= self.left
        if len(boxes):
            middle = int(torch.randint(len(boxes), ()))
            drawn[middle] = True
            left, top = self._corner(boxes[middle], image.shape[-1])
        labels = self.labels[index][drawn].tolist()
        planes = painted_boxes(boxes[drawn], labels, len(NAMES), (image.shape[1], image.shape[2]))
        part = (slice(None), slice(top, top + self.size), slice(left, left + self.size))
        return {"image": image[part].float() / 255, "planes": planes[part].clone()}

    def _corner(self, box: Tensor, side: int) -> tuple[int, int]:
        """Return x and y of the upper left corner of a crop that has a box in its middle half, where there is room."""
        centre = (box[:2] + box[2:]) / 2
        corner = centre - self.size * (0.25 + 0.5 * torch.rand(2))
        x, y = corner.round().int().clamp(0, side - self.size).tolist()
        return x, y
