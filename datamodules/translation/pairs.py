"""What the data sets of paired image translation share: samples, pairs to predict, and loaders."""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.evaluation import Stacked
from datamodules.common.image_files import COPY_SOME, find_images, read_image
from datamodules.common.label_maps import flip_labels, read_labels, resize_labels
from datamodules.common.parts import DataInParts
from datamodules.common.resizing import squash, to_tensor
from visionscapes.checks import ImageSize, NonNegativeInt, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

Split = Literal["train", "val", "test"]
SUBJECTS = 10  # whose label maps and images are combined in thesis section 5.5.4
SOURCES_AND_STYLES = """
<{option}>/a.png      ({things})
<{option}>/b.png
<styles>/c.jpg      (a single picture will do)
"""


def image_tensor(image: Image.Image, size: int) -> Tensor:
    """Return an RGB image, squashed to a square, as (3, size, size) float32 in [0, 1]; bicubic and antialiased."""
    return to_tensor(squash(image, size, Image.Resampling.BICUBIC))


def condition_tensor(image: Image.Image, size: int, channels: int) -> Tensor:
    """Return an RGB image, squashed to a square, as (channels, size, size) float32 in [0, 1]; 1 channel is its luma."""
    if channels == 3:
        return image_tensor(image, size)
    grey = squash(image.convert("L"), size, Image.Resampling.BICUBIC)
    return torch.from_numpy(np.array(grey))[None].float() / 255


def labels_tensor(labels: np.ndarray, size: int) -> Tensor:
    """Return a label map (H, W), squashed to a square, as (size, size) uint8; nearest neighbours."""
    return torch.from_numpy(resize_labels(labels, size))


def by_stem(paths: Sequence[Path], folder: Path) -> dict[str, Path]:
    """Return files by their names without suffix, sorted by these.

    Raises:
        UserError: two files have one name.
    """
    found: dict[str, Path] = {}
    for path in paths:
        if path.stem in found:
            raise UserError(
                f"{found[path.stem]} and {path} have the same name up to folder and suffix, by which pairs are matched:"
                f" rename or remove one of them in {folder}"
            )
        found[path.stem] = path
    return dict(sorted(found.items()))


class Mirrored(Dataset):
    """Pairs of which every second one, at random, is mirrored from left to right; both sides of a pair alike.

    Args:
        pairs: samples with "image" and "labels" or "condition".
        swapped: labels that change places in a mirrored label map.
    """

    def __init__(self, pairs: Dataset, swapped: Sequence[tuple[int, int]] = ()):
        self.pairs, self.swapped = pairs, swapped

    def __len__(self) -> int:
        return len(self.pairs)  # type: ignore[arg-type]

    def __getitem__(self, index: int) -> dict[str, Any]:
        sample = self.pairs[index]
        if torch.rand(()) < 0.5:
            return sample
        pictures = {key: sample[key].flip(-1) for key in ("image", "condition") if key in sample}
        labels = {"labels": flip_labels(sample["labels"], self.swapped)} if "labels" in sample else {}
        return sample | pictures | labels


class PairsToPredict(Dataset):
    """Every label map, or condition picture, with every style image (thesis section 5.5.4): samples to predict.

    Samples hold "labels" (S, S) uint8 or "condition" (C, S, S) float32 in [0, 1], "style" (3, S, S) float32 RGB in
    [0, 1], and "name", "<name of the label map>__<name of the style>". All pairs of a label map follow each other.

    Args:
        labels: folder of the label maps, or of the condition pictures if ``classes`` is None.
        styles: folder of the style images; one is enough.
        image_size: S in pixels; all pictures are squashed to squares.
        classes: number of labels; None for condition pictures.
        channels: C, 1 or 3; of condition pictures.

    Raises:
        DatasetNotFoundError: a folder is missing or holds no image.
        UserError: two files of a folder have one name; when a sample is read, a file that cannot be used.
    """

    def __init__(self, labels: Path, styles: Path, image_size: int, classes: int | None, channels: int = 3):
        self.image_size, self.classes, self.channels = image_size, classes, channels
        option, things = ("conditions", "condition pictures") if classes is None else ("labels", "label maps")
        expected = SOURCES_AND_STYLES.format(option=option, things=things)

        def files(folder: Path, option: str, things: str) -> list[tuple[str, Path]]:
            point = f"Give the folder of the {things} as --data.init_args.{option}"
            paths = find_images(
                folder, name=f"The folder of the {things}", expected=expected, remedies=(point, COPY_SOME)
            )
            return list(by_stem(paths, folder).items())

        self.sources = files(labels, option, things)
        self.styles = files(styles, "styles", "style images")

    def __len__(self) -> int:
        return len(self.sources) * len(self.styles)

    def __getitem__(self, index: int) -> dict[str, Any]:
        source, style = divmod(index, len(self.styles))
        (source_name, source_path), (style_name, style_path) = self.sources[source], self.styles[style]
        return {
            **self._source(source_path),
            "style": image_tensor(read_image(style_path, upright=True), self.image_size),
            "name": f"{source_name}__{style_name}",
        }

    def _source(self, path: Path) -> dict[str, Tensor]:
        if self.classes is None:
            return {"condition": condition_tensor(read_image(path), self.image_size, self.channels)}
        return {"labels": labels_tensor(read_labels(path, self.classes), self.image_size)}

    collate = staticmethod(Stacked("predict"))


class AllPairs(Dataset):
    """The label map or condition of each of the first pairs with the image of each as style: samples to predict.

    Args:
        pairs: samples with "image", "name" and "labels" or "condition".
        count: how many of them, at most.
    """

    def __init__(self, pairs: Dataset, count: int = SUBJECTS):
        self.pairs, self.count = pairs, min(count, len(pairs))  # type: ignore[arg-type]

    def __len__(self) -> int:
        return self.count**2

    def __getitem__(self, index: int) -> dict[str, Any]:
        source, style = (self.pairs[each] for each in divmod(index, self.count))
        kept = {key: source[key] for key in ("labels", "condition") if key in source}
        return {**kept, "style": style["image"], "name": f"{source['name']}__{style['name']}"}


class TranslationData(DataInParts):
    """Base of the data sets of pairs, each an image and the label map or condition picture that it was made from.

    Batches of training, validation and test: {"task": "translation", "image" (B, 3, S, S) float32 RGB in [0, 1],
    "name" list of B str} and either "labels" (B, S, S) uint8 in 0 to classes - 1, or "condition" (B, C, S, S) float32
    in [0, 1]. To predict: {"task": "predict", "style" (B, 3, S, S) float32 RGB in [0, 1], "name"} and "labels" or
    "condition".

    Subclasses give the pairs of a part.

    Attributes:
        classes: number of labels; None if pairs have a "condition".
        label_names: of the labels, where they are known.
        swapped: labels that change places in a mirrored label map.

    Args:
        image_size: S in pixels.
        batch_size: pairs a batch and process.
        num_workers: processes that load.
        flip: mirror every second training pair, at random.
        seed: of order and flips.
        channels: C, 1 or 3.

    Raises:
        UserError: an option out of its range.
    """

    train_task = eval_task = "translation"
    classes: int | None = None
    label_names: tuple[str, ...] | None = None
    swapped: Sequence[tuple[int, int]] = ()

    def __init__(
        self,
        image_size: ImageSize,
        batch_size: PositiveInt,
        num_workers: Workers,
        flip: bool,
        seed: NonNegativeInt,
        channels: Literal[1, 3] = 3,
    ):
        check_options(TranslationData, locals())
        super().__init__(batch_size, num_workers, seed)
        self.image_size, self.flip, self.channels = image_size, flip, channels

    @abstractmethod
    def pairs(self, part: Split) -> Dataset:
        """Return the samples of a part, in order: "image", "name" and "labels" or "condition".

        Raises:
            UserError: files are missing or do not fit each other.
        """

    @abstractmethod
    def samples_to_predict(self) -> Dataset:
        """Return what ``predict`` goes through."""

    @override
    def setup(self, stage: str) -> None:
        if stage == "fit":
            pairs = self.pairs("train")
            self.train_set = Mirrored(pairs, self.swapped) if self.flip else pairs
        if stage in ("fit", "validate"):
            self.val_set = self.pairs("val")
        if stage == "test":
            self.test_set = self.pairs("test")
        if stage == "predict":
            self.predict_set = self.samples_to_predict()

    def combined(self, sources: Path | None, styles: Path | None) -> Dataset:
        """Return all pairs of two folders; of the first ten test pairs if both are None (thesis section 5.5.4).

        Args:
            sources: folder of label maps or condition pictures.
            styles: folder of style images.

        Raises:
            UserError: only one is given, or see `PairsToPredict`.
        """
        if sources is None and styles is None:
            return AllPairs(self.pairs("test"))
        if sources is None or styles is None:
            option = "conditions" if self.classes is None else "labels"
            raise UserError(
                f"predict combines two folders, and only one is given: give both --data.init_args.{option} and"
                " --data.init_args.styles, or none to combine the first test pairs"
            )
        return PairsToPredict(sources, styles, self.image_size, classes=self.classes, channels=self.channels)


def folder_or_none(folder: str | None) -> Path | None:
    """Return an optional folder as a path; it may start with ``~``."""
    return None if folder is None else Path(folder).expanduser()
