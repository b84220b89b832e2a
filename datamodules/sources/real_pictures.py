"""Pictures of the real sources of the embedded world, for generators that learn to make more of them."""

from typing import Annotated, Any, Literal

import torch
from pytorch_lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from datamodules.common.evaluation import Stacked
from datamodules.common.loading import check_global_batch, eval_loader, train_loader
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from datamodules.procedural.sources.diffusion import whole_picture
from datamodules.procedural.sources.sources import render_source
from datamodules.sources.images import LEAST_SIZE
from datamodules.sources.pictures import as_tensor
from visionscapes.checks import LARGEST_IMAGE, Among, Bounds, NonNegativeInt, PositiveInt, Workers, check_options

Content = Literal["faces", "portraits", "objects", "rooms", "textures", "photographs", "crowds", "nights"]


class RealPictures(LightningDataModule):
    """Rendered pictures of real sources of the embedded world, such as "faces_real", one class for each content.

    Batches are "image" (B, 3, S, S) float32 RGB in [0, 1] and "planes" (B, 3 + K, S, S) float32, which ask for a whole
    picture of its class, see ``networks.box_diffusion.painted_boxes``; those of validation have task "boxes", and are
    of another world.

    Args:
        contents: what the K sources show.
        pictures: to train on, of each source.
        test_pictures: of validation, of each source.
        image_size: S, side in pixels.
        batch_size: pictures a training batch of one process.
        num_workers: processes that load batches.
        seed: of the world and of the order of training.

    Raises:
        UserError: an option is out of its bounds, or the pictures do not fill a batch.
    """

    def __init__(
        self,
        contents: list[Annotated[Content, Among(1, different=True)]] = ["faces", "rooms"],  # noqa: B006 (read only, and the help shows it)
        pictures: PositiveInt = 1000,
        test_pictures: PositiveInt = 16,
        image_size: Annotated[int, Bounds(least=LEAST_SIZE, most=LARGEST_IMAGE)] = 40,
        batch_size: PositiveInt = 16,
        num_workers: Workers = 0,
        seed: NonNegativeInt = 0,
    ):
        check_options(RealPictures, locals())
        super().__init__()
        self.classes = tuple(contents)
        self.counts, self.image_size = (pictures, test_pictures), image_size
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self._parts: dict[str, RealPictureSamples] = {}

    @override
    def setup(self, stage: str) -> None:
        if stage == "fit" and "fit" not in self._parts:
            check_global_batch(len(self.classes) * self.counts[0], self.batch_size)
            self._parts["fit"] = self._pictures(self.seed, self.counts[0])
        if stage in ("fit", "validate") and "validate" not in self._parts:
            self._parts["validate"] = self._pictures(self.seed + HELD_OUT_WORLD, self.counts[1])

    def _pictures(self, world: int, count: int) -> "RealPictureSamples":
        return RealPictureSamples(world, self.classes, count=count, size=self.image_size)

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
            self._parts["validate"],
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=Stacked("boxes"),
            trainer=self.trainer,
        )


class RealPictureSamples(Dataset):
    """Pictures of real sources, those of one content after the other.

    Args:
        world: seed of the pictures.
        contents: what the sources show.
        count: of the pictures of each.
        size: side in pixels.
    """

    def __init__(self, world: int, contents: tuple[str, ...], *, count: int, size: int):
        self.images = [render_source(world, f"{content}_real", 0, count, size) for content in contents]
        self.planes = torch.stack([whole_picture(number, len(contents), size) for number in range(len(contents))])
        self.count = count

    def __len__(self) -> int:
        return len(self.images) * self.count

    def __getitem__(self, index: int) -> dict[str, Any]:
        content, number = divmod(index, self.count)
        return {"image": as_tensor(self.images[content][number]), "planes": self.planes[content]}
