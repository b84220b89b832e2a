"""What the data sets of paired image translation share: samples and loaders."""

from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.evaluation import Stacked
from datamodules.common.inputs import Inputs
from datamodules.common.inspection.contents import Opened, PartContents, opened
from datamodules.common.label_maps import MOST_CLASSES, flip_labels
from datamodules.common.parts import DataInParts
from datamodules.common.prediction import PredictsFiles, UsableBatches
from datamodules.translation.given import GivenPairs, check_ignored
from datamodules.translation.pairs_to_predict import AllPairs, PairsToPredict, Seeded
from visionscapes.checks import AnyInt, Bounds, ImageSize, NonNegativeInt, PositiveInt, Workers, check_options
from visionscapes.errors import UserError

Split = Literal["train", "val", "test"]
Draws = Annotated[int, Bounds(least=2)]


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


class TranslationData(DataInParts, PredictsFiles):
    """Base of the data sets of pairs, each an image and the label map or condition picture that it was made from.

    Batches of training, validation and test: {"task": "translation", "image" (B, 3, S, S) float32 RGB in [0, 1],
    "name" list of B str} and either "labels" (B, S, S) uint8 in 0 to classes - 1, or "condition" (B, C, S, S) float32
    in [0, 1]. To predict: {"task": "predict", "style" (B, 3, S, S) float32 RGB in [0, 1], "name"} and "labels" or
    "condition"; "size" (B, 2) and "window" (B, 4) int64 where images are to have the size of the label map, see
    ``datamodules.translation.pictures.placed``; with ``draws`` also "seeds" (B, N) int64.

    With ``ignore_label``, pixels of this label are ``networks.gan.conditions.UNLABELLED``, 255: zero in every channel
    that a network sees, counted by no figure that compares labels, a checkerboard in pictures.

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
        skip_unreadable: whether ``predict`` passes over files that cannot be used, and says which.
        ignore_label: the label that label maps have where the label of a pixel is not known, such as 255, which may be
            one of the classes; None if they have none.
        draws: N, how many images ``predict`` makes of a pair, each with noise of its own, which depends on ``seed``,
            the name of the pair and the number of the image alone; None for one of any noise.
        keep_aspect: whether ``predict`` scales a label map that is not square to fit the square that the network sees,
            and repeats its edges around it; else it is squashed, as those of training are. The image of a file has its
            size in any case.

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
        skip_unreadable: bool = False,
        ignore_label: AnyInt | None = None,
        draws: Draws | None = None,
        keep_aspect: bool = False,
    ):
        check_options(TranslationData, locals())
        check_ignored(ignore_label, self.classes)
        super().__init__(batch_size, num_workers, seed)
        self.skip_unreadable = skip_unreadable
        self.ignore_label, self.draws, self.keep_aspect = ignore_label, draws, keep_aspect
        self.image_size, self.flip, self.channels = image_size, flip, channels

    @abstractmethod
    def pairs(self, part: Split) -> Dataset:
        """Return the samples of a part, in order: "image", "name" and "labels" or "condition".

        Raises:
            UserError: files are missing or do not fit each other.
        """

    def contents(self) -> dict[str, PartContents]:
        """Return the pairs of files, as `datamodules.common.inspection` asks for them; none of drawn ones."""
        parts = {}
        for name, pairs in (("train", self.pairs("train")), ("val", self.pairs("val"))):
            if isinstance(pairs, StoredPairs):
                parts[name] = PartContents(
                    names=[pairs.named(position) for position in range(len(pairs))],
                    open=partial(opened_pair, pairs),
                    classes=self.label_names or [f"label {label}" for label in range(self.classes or 0)],
                    maps=self.classes is not None,
                )
        return parts

    @abstractmethod
    def samples_to_predict(self) -> Dataset:
        """Return what ``predict`` goes through."""

    @property
    def inputs(self) -> GivenPairs:
        """How pictures are prepared that a user gives in Python, as `predict` does it."""
        return GivenPairs(
            self.image_size,
            self.classes,
            self.channels,
            ignore_label=self.ignore_label,
            keep_aspect=self.keep_aspect,
        )

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
            self.predict_root = getattr(self.predict_set, "root", None)

    @override
    def predict_dataloader(self) -> UsableBatches:
        return self.usable_batches(
            self.predict_set,
            batch_size=self.batch_size if self.draws is None else 1,
            num_workers=self.num_workers,
            collate_fn=Stacked("predict") if self.draws is None else Seeded(self.draws, self.seed),
        )

    def combined(self, sources: Inputs | None, styles: Inputs | None) -> Dataset:
        """Return all pairs of two sets of files; of the first ten test pairs if both are None (thesis section 5.5.4).

        Args:
            sources: label maps or condition pictures: a folder, a file, a pattern, or a list of these.
            styles: style images likewise.

        Raises:
            UserError: only one is given, or see `PairsToPredict`.
        """
        if sources is None and styles is None:
            return AllPairs(self.pairs("test"))
        if sources is None or styles is None:
            option = "conditions" if self.classes is None else "labels"
            raise UserError(
                f"predict combines two sets of files, and only one is given: give both --data.init_args.{option} and"
                " --data.init_args.styles, or none to combine the first test pairs"
            )
        return PairsToPredict(
            sources,
            styles,
            self.image_size,
            classes=self.classes,
            channels=self.channels,
            ignore_label=self.ignore_label,
            keep_aspect=self.keep_aspect,
        )


@runtime_checkable
class StoredPairs(Protocol):
    """Pairs that lie in files, which can be looked over."""

    def __len__(self) -> int: ...

    def named(self, position: int) -> str:
        """Return the file of the image of a pair."""

    def stored(self, position: int) -> tuple[Image.Image, Image.Image | NDArray[np.uint8]]:
        """Return the image of a pair, and its condition or label map, as stored.

        Raises:
            UserError: a file cannot be used, or they do not fit each other.
        """


def opened_pair(pairs: StoredPairs, position: int) -> Opened:
    """Return what there is to say of a pair.

    Args:
        pairs: in files.
        position: of the pair.
    """
    image, other = pairs.stored(position)
    return opened(image, None if isinstance(other, Image.Image) else np.bincount(other.ravel(), minlength=MOST_CLASSES))
