"""Any folder of photographs: for training, for the held-out loss, and to be predicted."""

import hashlib
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from PIL import Image
from pytorch_lightning.utilities import rank_zero_info
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, default_collate
from typing_extensions import override

from datamodules.common.image_files import COPY_SOME, NAME_ANOTHER, read_image, unreadable_images
from datamodules.common.inputs import Inputs, find_inputs, relative_name
from datamodules.common.inspection.contents import PartContents, picture_files
from datamodules.common.loading import eval_loader, step_generator, train_loader
from datamodules.common.prediction import PredictsFiles, UsableBatches
from datamodules.common.resizing import at_longer_side, squash, to_tensor
from datamodules.images.given import GivenPhotographs
from datamodules.images.views import RandomViews
from visionscapes.checks import (
    AnyInt,
    ImageSize,
    PositiveInt,
    PositiveShare,
    ShareBelowOne,
    Workers,
    check_options,
    check_rising,
)
from visionscapes.errors import UserError

Crop = Literal["squash", "center", "random"]


@dataclass(frozen=True)
class LabelledFiles:
    """The files of one part of a data set in their order, with one integer label each where there are labels."""

    paths: list[Path]
    labels: list[int] | None = None


class Square:
    """Makes a square float image (3,S,S) in [0,1] of an RGB image.

    Args:
        size: S in pixels.
        crop: "squash" | "center" | "random", see `ImageFolder`.
        jitter: strength of ``torchvision.transforms.ColorJitter`` in all its four arguments.
        crop_area: range of the random crop's share of the image.
        flip: mirror every second image, at random.
        rand_augment: see `ImageFolder`.

    Raises:
        UserError: timm does not know the ``rand_augment``.
    """

    def __init__(
        self,
        size: int,
        crop: Crop = "squash",
        jitter: float = 0.0,
        crop_area: tuple[float, float] = (0.08, 1.0),
        flip: bool = False,
        rand_augment: str | None = None,
    ):
        from torchvision.transforms import ColorJitter, InterpolationMode, RandomHorizontalFlip, RandomResizedCrop

        self.size, self.crop = size, crop
        self.random_crop = RandomResizedCrop(size, crop_area, interpolation=InterpolationMode.BICUBIC)
        changes: list[Callable[[Image.Image], Image.Image]] = [RandomHorizontalFlip()] if flip else []
        changes += [] if rand_augment is None else [timm_rand_augment(rand_augment, size)]
        self.changes = [*changes, ColorJitter(jitter, jitter, jitter, hue=jitter)] if jitter else changes

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the square image (3, S, S) in [0, 1] of an RGB image."""
        if self.crop == "random":
            image = self.random_crop(image)
        elif self.crop == "center":  # before resizing: a 1 x 10,000 image must not become S x 10,000 S first
            side = min(image.size)
            left, top = (image.width - side) // 2, (image.height - side) // 2
            image = image.crop((left, top, left + side, top + side))
        image = image if self.crop == "random" else squash(image, self.size)
        for change in self.changes:
            image = change(image)
        return to_tensor(image)


def timm_rand_augment(policy: str, size: int) -> Callable[[Image.Image], Image.Image]:
    """Return timm's RandAugment.

    Args:
        policy: timm's notation without "rand-", such as "m9-n2": two operations of magnitude 9 of 10.
        size: of the images in pixels; they are shifted by up to 0.45 of it, as timm's own loader does.

    Raises:
        UserError: timm does not know the policy.
    """
    from timm.data.auto_augment import rand_augment_transform

    section = r"(m|n|p|mstd|mmax|inc)\d+(\.\d+)?|t(weights|3aw|3a)"
    try:
        if not all(re.fullmatch(section, each) for each in policy.split("-")):  # timm passes over some misspellings
            raise ValueError(policy)
        return rand_augment_transform(
            f"rand-{policy}", {"translate_const": int(size * 0.45), "img_mean": (124, 116, 104)}
        )
    except (AssertionError, ValueError, KeyError) as error:
        raise UserError(f"rand_augment is {policy!r}; it has to be in timm's notation, such as m9-n2") from error


class ImageFiles(Dataset):
    """Image files as samples of the task "images".

    Args:
        part: the files; the position of a file is the ``index`` of its sample, and its label, if any, the ``label``.
        transform: makes the ``image`` (3,H,W) float32 in [0,1] of an RGB image.
        upright: see `datamodules.common.image_files.read_image`.
    """

    def __init__(self, part: LabelledFiles, transform: Callable[[Image.Image], Tensor], upright: bool = False):
        self.paths, self.labels, self.transform, self.upright = part.paths, part.labels, transform, upright

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = self.transform(read_image(self.paths[index], upright=self.upright))
        sample: dict[str, Any] = {"image": image, "index": index}
        return sample if self.labels is None else sample | {"label": self.labels[index]}

    @staticmethod
    def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch of the task "images"."""
        return {"task": "images", **default_collate(samples)}


class FilesToPredict(Dataset):
    """Image files as samples of the task "predict", each at its own size.

    Args:
        paths: of the files.
        longer_side: in pixels, to which every image is resized with its aspect ratio kept; None for no resizing.
        upright: see `datamodules.common.image_files.read_image`.
    """

    def __init__(self, paths: Sequence[Path], longer_side: int | None = None, upright: bool = True):
        self.paths, self.longer_side, self.upright = paths, longer_side, upright

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image = at_longer_side(read_image(self.paths[index], upright=self.upright), self.longer_side)
        return {"image": to_tensor(image), "path": str(self.paths[index])}

    @staticmethod
    def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
        """Make a batch of the task "predict"."""
        return {"task": "predict", **default_collate(samples)}


class ImageFolder(PredictsFiles):
    """Every image below a folder, nested or not; sub-folders carry no meaning.

    Batches are {"task": "images", "image" (B,3,S,S) float32 in [0,1], "index" (B,) int64, the position in the sorted
    list of the part's files}; to predict, {"task": "predict", "image" (1,3,H,W), "path" of one file}.

    The images are prepared as the official code of LiFT does it (thesis sec. 8.2.4 names the data and no transform):
    squashed to a square with bilinear interpolation, aspect ratio ignored, no flip, then colour jitter. The ways to
    train a ViT (thesis sec. 2.7.1) crop at random instead, flip, and use RandAugment or ``views``; they then validate
    on centre crops.

    Args:
        root: the folder; or one file, a pattern such as "photos/**/*.jpg", or a list of these.
        image_size: side S of the square images of training and validation, in pixels.
        batch_size: images per process.
        num_workers: loading processes per training process; 0 loads in the training process.
        color_jitter: jitter brightness, contrast, saturation and hue of the training images by 0.2.
        crop: "squash" the whole image into the square, or cut out its "center" square, or train on a "random"
            rectangle of it with an aspect ratio from 3/4 to 4/3, resized to the square (bicubic).
        crop_area: range of the random rectangle's share of the image.
        flip: mirror every second training image, at random.
        rand_augment: augment the training images by timm's RandAugment of this policy, such as "m9-n2"; not if null.
        views: for self-supervised training that compares views of an image: training batches also hold "views"
            (`datamodules.images.views.Views`).
        val_fraction: in [0,1), the part that is held out for validation. A hash of seed and relative path decides, so
            a file stays in its part when others come or go. At least one file is held out unless 0.
        seed: of the order of training and of the held-out part.
        predict_size: length of the longer side in pixels when predicting; null keeps every image's own size, which
            for photographs of a camera means tens of thousands of tokens.
        skip_unreadable: decode every file once at the start, leave out those that cannot be read and say which. To
            predict, nothing is decoded beforehand, and what the network cannot take is left out as well. If false, the
            first one ends the run.

    Raises:
        UserError: an argument out of its range.
        DatasetNotFoundError: in ``setup``, if the folder is missing or holds no image.
    """

    upright = True  # photographs as people look at them; there are no annotations that would have to follow

    def __init__(
        self,
        root: Inputs,
        image_size: ImageSize = 448,
        batch_size: PositiveInt = 64,
        num_workers: Workers = 2,
        color_jitter: bool = True,
        crop: Crop = "squash",
        val_fraction: ShareBelowOne = 0.05,
        seed: AnyInt = 0,
        predict_size: ImageSize | None = 448,
        skip_unreadable: bool = False,
        crop_area: tuple[PositiveShare, PositiveShare] = (0.08, 1.0),
        flip: bool = False,
        rand_augment: str | None = None,
        views: RandomViews | None = None,
    ):
        check_options(ImageFolder, locals())
        super().__init__()
        check_rising(type(self), crop_area=crop_area)
        if rand_augment is not None:
            timm_rand_augment(rand_augment, image_size)  # a typing error shows now, not after the files are listed
        self.given = root
        self.root = Path(root).expanduser() if isinstance(root, str) else Path()
        self.named_below = self.root  # where the names of files begin
        self.image_size, self.batch_size, self.num_workers = image_size, batch_size, num_workers
        self.color_jitter, self.crop, self.val_fraction, self.seed = color_jitter, crop, val_fraction, seed
        self.predict_size, self.skip_unreadable = predict_size, skip_unreadable
        self.crop_area, self.flip, self.rand_augment, self.views = crop_area, flip, rand_augment, views
        self.skipped: list[Path] = []
        self.class_names: list[str] = []

    def parts(self, training: bool = True) -> tuple[LabelledFiles, LabelledFiles]:
        """Return the parts of training and of validation; the former may be empty if ``training`` is false."""
        paths = self.readable(self.all_files()).paths
        held_out = self._held_out(paths)
        training_paths, held_out_paths = [p for p in paths if p not in held_out], [p for p in paths if p in held_out]
        return LabelledFiles(training_paths), LabelledFiles(held_out_paths)

    def all_files(self) -> LabelledFiles:
        """Return the files of both parts, whether they can be read or not."""
        found = find_inputs(self.given, name="The image folder", remedies=(NAME_ANOTHER, COPY_SOME))
        self.named_below = found.root or Path(os.sep)
        return LabelledFiles(found.paths)

    def part_to_predict(self) -> LabelledFiles:
        """Return the files that ``predict`` goes through, whether they can be read or not."""
        return self.all_files()

    @override
    def setup(self, stage: str) -> None:
        self.skipped = []
        if stage == "predict":
            self.predict_set = FilesToPredict(self.part_to_predict().paths, self.predict_size, self.upright)
            self.predict_root = self.named_below
            return
        train, val = self.parts(training=stage == "fit")
        if stage == "fit":
            jitter = 0.2 if self.color_jitter else 0.0
            augmented = Square(
                self.image_size,
                self.crop,
                jitter,
                crop_area=self.crop_area,
                flip=self.flip,
                rand_augment=self.rand_augment,
            )
            self.train_set = ImageFiles(train, augmented, self.upright)
        crop: Crop = "center" if self.crop == "random" else self.crop
        self.val_set = ImageFiles(val, Square(self.image_size, crop), self.upright)

    def contents(self) -> dict[str, PartContents]:
        """Return the files of both parts, as `datamodules.common.inspection` asks for them."""
        return {
            name: picture_files(part.paths, upright=self.upright, classes=self.class_names, labels=part.labels)
            for name, part in (("train", self.train_set), ("val", self.val_set))
            if len(part)
        }

    @override
    def train_dataloader(self) -> DataLoader:
        return train_loader(
            self.train_set,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            seed=self.seed,
            collate_fn=ImageFiles.collate,
            trainer=self.trainer,
        )

    @override
    def val_dataloader(self) -> dict[str, DataLoader]:
        """Return the loader of the held-out images by "images@<size>"; none if nothing is held out."""
        if not len(self.val_set):
            return {}
        loader = eval_loader(
            self.val_set,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=ImageFiles.collate,
            trainer=self.trainer,
        )
        return {f"images@{self.image_size}": loader}

    test_dataloader = val_dataloader

    @property
    def inputs(self) -> GivenPhotographs:
        """How pictures are prepared that a user gives in Python, as `predict` does it."""
        return GivenPhotographs(self.predict_size, self.upright)

    def repeated_images(self) -> dict[str, Dataset]:
        """Return the parts whose images are the same in every epoch: "train" only without augmentation."""
        drawn = self.color_jitter or self.flip or self.crop == "random" or self.rand_augment is not None
        parts: dict[str, Dataset] = {} if drawn else {"train": self.train_set}
        return parts | ({"validate": self.val_set} if len(self.val_set) else {})

    @override
    def predict_dataloader(self) -> UsableBatches:
        return self.usable_batches(self.predict_set, collate_fn=FilesToPredict.collate, num_workers=self.num_workers)

    @override
    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        """Draw the views of a training batch, as a function of (seed, step, rank)."""
        if self.views is not None and self.trainer is not None and self.trainer.training:
            batch["views"] = self.views(batch["image"], step_generator(self.seed, self.trainer.global_step))
        return batch

    def _held_out(self, paths: Sequence[Path]) -> set[Path]:
        if self.val_fraction == 0 or len(paths) < 2:
            return set()
        places = {path: self._place(path) for path in paths}
        ranked = sorted(paths, key=places.__getitem__)
        count = sum(place < self.val_fraction for place in places.values())
        return set(ranked[: min(max(count, 1), len(paths) - 1)])

    def _place(self, path: Path) -> float:
        """Return a number in [0, 1) that seed and name of a file decide."""
        key = f"{self.seed}/{relative_name(path, self.named_below)}".encode(errors="surrogateescape")
        return int.from_bytes(hashlib.sha256(key).digest()[:8]) / 2**64

    def readable(self, part: LabelledFiles) -> LabelledFiles:
        """Return the part without the files that cannot be read, if these are to be skipped, and report them.

        Raises:
            UserError: no file is left.
        """
        if not self.skip_unreadable:
            return part
        bad = set(unreadable_images(part.paths))
        if not bad:
            return part
        self.skipped += sorted(bad)
        shown = [relative_name(path, self.named_below) for path in sorted(bad)[:10]] + ["..."] * (len(bad) > 10)
        below = self.named_below
        rank_zero_info(
            f"Left out {len(bad)} of {len(part.paths)} images below {below} that cannot be read: {', '.join(shown)}"
        )
        kept = [position for position, path in enumerate(part.paths) if path not in bad]
        if not kept:
            raise UserError(
                f"None of the {len(bad)} images below {below} can be read; the first is {shown[0]}. "
                "Give another folder as --data.init_args.root"
            )
        labels = None if part.labels is None else [part.labels[position] for position in kept]
        return LabelledFiles([part.paths[position] for position in kept], labels)
