"""The embedded world of identities: drawn people, each in several poses, expressions and places."""

from typing import Annotated, Any

import numpy as np
import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from typing_extensions import override

from datamodules.common.evaluation import Stacked
from datamodules.common.loading import check_global_batch, eval_loader, train_loader
from datamodules.procedural.faces.faces import face_identity, render_face
from datamodules.procedural.scenes.samples import HELD_OUT_WORLD
from visionscapes.checks import LARGEST_IMAGE, Bounds, NonNegativeInt, PositiveInt, Workers, check_options

SHOWN = 1_000_000  # from here on are the numbers of the faces whose pose, expression and place pictures have
BLURS = 3  # pixels that a picture may be averaged over, one in three of each


class PeopleWorld(LightningDataModule):
    """Drawn people to train on, and people of another world to tell apart in validation and test.

    All pictures of a person have the same face, hair and clothes, and another pose, expression, light, background,
    place and texture: nothing but the person is alike. Training batches are "image" (B, 2, 3, S, S) float32 RGB in
    [0, 1], two pictures each of B people, of which one may be less sharp than the other, so that sharpness does not
    count as a trait. Batches of validation and test have task "people", "image" (B, 3, S, S) and "label" (B,) int64.

    Args:
        people: to train on, numbers 0 to ``people`` - 1 of ``datamodules.procedural.faces.faces.face_identity``.
        pictures: of each.
        test_people: of validation, and as many others of the test.
        image_size: S, side of the pictures in pixels.
        batch_size: people a training batch of one process.
        num_workers: processes that load batches.
        seed: of the world and of the order of training.

    Raises:
        UserError: an option is out of its bounds, or the people do not fill a batch.
    """

    def __init__(
        self,
        people: Annotated[int, Bounds(least=2)] = 600,
        pictures: Annotated[int, Bounds(least=2)] = 6,
        test_people: Annotated[int, Bounds(least=2)] = 64,
        image_size: Annotated[int, Bounds(least=32, most=LARGEST_IMAGE)] = 64,
        batch_size: PositiveInt = 48,
        num_workers: Workers = 0,
        seed: NonNegativeInt = 0,
    ):
        check_options(PeopleWorld, locals())
        super().__init__()
        self.people, self.pictures, self.test_people, self.image_size = people, pictures, test_people, image_size
        self.batch_size, self.num_workers, self.seed = batch_size, num_workers, seed
        self._parts: dict[str, Dataset] = {}

    @override
    def setup(self, stage: str) -> None:
        if stage == "fit" and "fit" not in self._parts:
            check_global_batch(self.people, self.batch_size)
            self._parts["fit"] = PairsOfPeople(self._pictures(0, self.people))
        for place, part in enumerate(("validate", "test"), 1):
            if (stage == part or (stage, part) == ("fit", "validate")) and part not in self._parts:
                self._parts[part] = SinglePictures(self._pictures(place * HELD_OUT_WORLD, self.test_people))

    def _pictures(self, world: int, people: int) -> Tensor:
        return render_people(self.seed + world, people, self.pictures, size=self.image_size)

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
        return self._evaluated("validate")

    @override
    def test_dataloader(self) -> DataLoader:
        return self._evaluated("test")

    def _evaluated(self, part: str) -> DataLoader:
        return eval_loader(
            self._parts[part],
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=Stacked("people"),
            trainer=self.trainer,
        )


def render_people(seed: int, people: int, pictures: int, size: int = 64) -> Tensor:
    """Return pictures (P, M, 3, S, S) uint8 of P people in M poses, expressions, lights and places each.

    Args:
        seed: of the world.
        people: P.
        pictures: M.
        size: S, side in pixels.
    """
    rendered = np.empty((people, pictures, size, size, 3), np.uint8)
    for person in range(people):
        identity = face_identity(seed, person)
        for picture in range(pictures):
            face = SHOWN + person * pictures + picture
            rendered[person, picture] = render_face(seed, face, size, identity=identity).image
    return torch.from_numpy(rendered).permute(0, 1, 4, 2, 3).contiguous()


class PairsOfPeople(Dataset):
    """Two pictures of a person, drawn from torch's generator, each with a sharpness of its own.

    Args:
        images: (P, M, 3, S, S) uint8.
    """

    def __init__(self, images: Tensor):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        chosen = torch.randperm(self.images.shape[1])[:2]
        pictures = self.images[index, chosen].float() / 255
        return {"image": torch.stack([blurred(each, int(torch.randint(1, BLURS + 1, ()))) for each in pictures])}


def blurred(image: Tensor, pixels: int) -> Tensor:
    """Return an image (3, S, S) as if it had been shown ``pixels`` times smaller and enlarged again."""
    if pixels == 1:
        return image
    small = F.avg_pool2d(image[None], pixels)
    return F.interpolate(small, image.shape[-2:], mode="bilinear", align_corners=False)[0]


class SinglePictures(Dataset):
    """Pictures one by one, with the number of whom they show.

    Args:
        images: (P, M, 3, S, S) uint8.
    """

    def __init__(self, images: Tensor):
        self.images, self.pictures = images.flatten(0, 1), images.shape[1]

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"image": self.images[index].float() / 255, "label": index // self.pictures}
