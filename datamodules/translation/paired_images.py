"""Any two folders of pictures that belong together: label maps or conditions, and the images made from them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pytorch_lightning.utilities import rank_zero_info
from torch.utils.data import Dataset
from typing_extensions import override

from datamodules.common.image_files import read_image, unreadable_images
from datamodules.common.inputs import Inputs
from datamodules.common.label_maps import MOST_CLASSES, check_same_shape, read_labels
from datamodules.common.reports import first_names
from datamodules.translation.pair_files import by_stem, find_pairs, folder_or_none
from datamodules.translation.pairs import Draws, Split, TranslationData
from datamodules.translation.pictures import condition_tensor, image_tensor, labels_tensor
from visionscapes.checks import (
    AnyInt,
    Bounds,
    ImageSize,
    NonNegativeInt,
    PositiveInt,
    ShareBelowOne,
    Workers,
    check_options,
)
from visionscapes.errors import UserError

TREE = """
<{option}>/a.png      ({things})
<{option}>/b.png
<images>/a.jpg      (the image that belongs to a.png: the same name up to the suffix)
<images>/b.jpg
"""
SHOWN = 3  # names in a message


@dataclass(frozen=True)
class PairedFiles:
    """Two files that belong together.

    Attributes:
        name: of both, without suffix.
        source: label map or condition picture.
        image: what it was made from.
    """

    name: str
    source: Path
    image: Path


class PairFiles(Dataset):
    """Pairs of files as samples: "image", "name" and "labels" or "condition", as `TranslationData` describes them.

    Args:
        pairs: the files.
        image_size: S in pixels; both sides of a pair are squashed to squares.
        classes: number of labels; None for condition pictures.
        channels: of condition pictures, 1 or 3.
        ignore_label: see `TranslationData`.
    """

    def __init__(
        self,
        pairs: Sequence[PairedFiles],
        image_size: int,
        classes: int | None,
        channels: int = 3,
        ignore_label: int | None = None,
    ):
        self.pairs, self.image_size, self.classes, self.channels = list(pairs), image_size, classes, channels
        self.ignore_label = ignore_label

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, other = self.stored(index)
        sample = {"image": image_tensor(image, self.image_size), "name": self.pairs[index].name}
        if isinstance(other, Image.Image):
            return sample | {"condition": condition_tensor(other, self.image_size, self.channels)}
        return sample | {"labels": labels_tensor(other, self.image_size)}

    def named(self, position: int) -> str:
        """Return the file of the image of a pair."""
        return str(self.pairs[position].image)

    def size_of(self, position: int) -> tuple[int, int]:
        """Return width and height in pixels of the label map or condition of a pair, as stored."""
        with Image.open(self.pairs[position].source) as image:
            return image.size

    def stored(self, position: int) -> tuple[Image.Image, Image.Image | NDArray[np.uint8]]:
        """Return the image of a pair, and its condition or label map, as stored.

        Raises:
            UserError: a file cannot be used, or they do not fit each other.
        """
        pair = self.pairs[position]
        image = read_image(pair.image)  # as stored: a label map refers to the stored pixels
        if self.classes is None:
            condition = read_image(pair.source)
            check_same_shape(image.size, condition.size, pair.image, pair.source)
            return image, condition
        labels = read_labels(pair.source, self.classes, self.ignore_label)
        check_same_shape(image.size, labels.shape[::-1], pair.image, pair.source)
        return image, labels


class PairedImages(TranslationData):
    """A folder of label maps, or of condition pictures such as edges, and a folder of the images that belong to them.

    Pairs have the same name up to the suffix; sub-folders carry no meaning. Both sides are squashed to squares, images
    and conditions bicubic with antialiasing, label maps by nearest neighbours. They may be of different size where
    their aspect ratios agree within a percent. A picture or label map of a single colour is as good as any other.

    Sorted by name as text (1, 10, 2), the first pairs are for training, the next for validation, the last for test:
    neighbours, such as the frames of a video, stay together. Without a test part, the test is on the validation part.
    Batches are described in `TranslationData`. ``predict`` goes through every picture of ``labels`` or
    ``conditions`` with every one of ``styles``, and needs no images; without ``styles``, through all combinations of
    the first ten test pairs (thesis section 5.5.4).

    Args:
        images: folder of the images.
        labels: folder of the label maps; either it or ``conditions``. A file, a pattern or a list will do as well.
        conditions: folder of the condition pictures, likewise.
        classes: number of labels, at most 256; with ``labels`` only.
        image_size: side of the square images in pixels.
        batch_size: pairs a batch and process.
        num_workers: processes that load.
        val_share: part of the pairs that is held out for validation, in [0, 1).
        test_share: part of the pairs that is held out for the test, in [0, 1); nothing if it has
            folders of its own.
        test_labels: folder of the label maps of the test, if they have one of their own.
        test_conditions: folder of the condition pictures of the test.
        test_images: folder of the images of the test.
        flip: mirror every second training pair, at random.
        flip_pairs: labels that change places in a mirrored label map, such as left and right eye: [[4, 5], [6, 7],
            [8, 9]] for those of CelebAMask-HQ.
        channels: of conditions: 1 (grey) or 3 (RGB).
        label_names: names of the labels, from 0 on.
        styles: style images for ``predict``: a folder, a file, a pattern, or a list of these.
        skip_unreadable: decode every file once at the start, leave out pairs of which one cannot be read and say which.
            To predict, nothing is decoded beforehand. If false, the first one ends the run.
        seed: of order and flips, and of the noise of ``draws``.
        ignore_label: the label of pixels whose label is not known, such as 255, see `TranslationData`.
        draws: images that ``predict`` makes of a pair, see `TranslationData`.
        keep_aspect: ``predict`` squashes no label map, see `TranslationData`.

    Raises:
        UserError: an option out of its range or without the one it needs; in ``setup``, a missing partner.
        DatasetNotFoundError: in ``setup``, if a folder is missing or holds no image.
    """

    def __init__(
        self,
        images: str,
        labels: Inputs | None = None,
        conditions: Inputs | None = None,
        classes: Annotated[int, Bounds(least=1, most=MOST_CLASSES)] | None = None,
        image_size: ImageSize = 256,
        batch_size: PositiveInt = 16,
        num_workers: Workers = 2,
        val_share: ShareBelowOne = 0.05,
        test_share: ShareBelowOne = 0.05,
        test_labels: str | None = None,
        test_conditions: str | None = None,
        test_images: str | None = None,
        flip: bool = False,
        flip_pairs: list[tuple[NonNegativeInt, NonNegativeInt]] | None = None,
        channels: Literal[1, 3] = 3,
        label_names: list[str] | None = None,
        styles: Inputs | None = None,
        skip_unreadable: bool = False,
        seed: NonNegativeInt = 0,
        ignore_label: AnyInt | None = None,
        draws: Draws | None = None,
        keep_aspect: bool = False,
    ):
        check_options(PairedImages, locals())
        if (labels is None) == (conditions is None):
            raise UserError(
                "PairedImages needs either labels (a folder of label maps) or conditions (a folder of pictures), not"
                f" {'both' if labels is not None else 'neither'}: set --data.init_args.labels or .conditions"
            )
        self.option, other = ("labels", "conditions") if conditions is None else ("conditions", "labels")
        if (labels is None) != (classes is None):
            need = "give classes, the number of labels, with labels" if labels else "leave out classes with conditions"
            raise UserError(f"{need}: --data.init_args.classes={'<number>' if labels else 'null'}")
        self.classes = classes
        super().__init__(
            image_size,
            batch_size,
            num_workers,
            flip=flip,
            seed=seed,
            channels=channels,
            skip_unreadable=skip_unreadable,
            ignore_label=ignore_label,
            draws=draws,
            keep_aspect=keep_aspect,
        )
        _check_names(label_names, flip_pairs, classes)
        self.label_names = None if label_names is None else tuple(label_names)
        self.swapped = [(left, right) for left, right in flip_pairs or ()]
        tests = {"labels": test_labels, "conditions": test_conditions}
        if tests[other] is not None or (tests[self.option] is None) != (test_images is None):
            raise UserError(f"a test part of its own has two folders: give both test_{self.option} and test_images")
        self.val_share, self.test_share = val_share, test_share if test_images is None else 0.0
        _check_shares(self.val_share, self.test_share)
        source = labels if conditions is None else conditions
        assert source is not None
        self.source, self.images = source, Path(images).expanduser()
        self.test_source, self.test_images = tests[self.option], folder_or_none(test_images)
        self.styles = styles
        self.skipped: list[Path] = []
        self._parts: dict[Split, list[PairedFiles]] | None = None

    @override
    def pairs(self, part: Split) -> PairFiles:
        """Return the samples of a part, in the order of their names.

        Raises:
            UserError: a missing partner, or nothing in a part that is needed.
        """
        if self._parts is None:
            self._parts = self._divided()
        found = self._parts[part]
        if part == "test" and not found:
            found = self._parts["val"]
        if part != "val" and not found:
            raise UserError(
                f"No pair is left for the {part} part, of {sum(map(len, self._parts.values()))} in {self.source}: add"
                " pairs, or change --data.init_args.val_share or test_share"
            )
        return PairFiles(found, self.image_size, self.classes, channels=self.channels, ignore_label=self.ignore_label)

    @override
    def samples_to_predict(self) -> Dataset:
        return self.combined(None if self.styles is None else self.source, self.styles)

    def _divided(self) -> dict[Split, list[PairedFiles]]:
        pairs = self._readable(self._matched(self.source, self.images))
        rest = len(pairs) - min(_count(self.test_share, len(pairs)), len(pairs))
        train = rest - min(_count(self.val_share, len(pairs)), rest)
        parts: dict[Split, list[PairedFiles]] = {"train": pairs[:train], "val": pairs[train:rest], "test": pairs[rest:]}
        if self.test_source is not None and self.test_images is not None:
            parts["test"] = self._readable(self._matched(self.test_source, self.test_images, "test_"))
        return parts

    def _matched(self, source: Inputs, images: Path, prefix: str = "") -> list[PairedFiles]:
        things = "label maps" if self.option == "labels" else "condition pictures"
        expected = TREE.format(option=f"{prefix}{self.option}", things=things).replace("<images>", f"<{prefix}images>")
        found = []
        for given, option, what in ((source, self.option, things), (str(images), "images", "images")):
            files = find_pairs(given, f"{prefix}{option}", what, expected)
            found.append(by_stem(files.paths, given))
        sources, targets = found
        problems = [
            f"{len(alone)} {what} in {here} have no partner in {there} ({', '.join(alone[:SHOWN])}"
            f"{', ...' if len(alone) > SHOWN else ''})"
            for alone, what, here, there in (
                ([name for name in sources if name not in targets], things, source, images),
                ([name for name in targets if name not in sources], "images", images, source),
            )
            if alone
        ]
        if problems:
            raise UserError(
                f"{'; '.join(problems)}. Pairs have the same name up to the suffix: rename or add the missing files, or"
                " move the others away"
            )
        return [PairedFiles(name, path, targets[name]) for name, path in sources.items()]

    def _readable(self, pairs: list[PairedFiles]) -> list[PairedFiles]:
        if not self.skip_unreadable:
            return pairs
        bad = unreadable_images([path for pair in pairs for path in (pair.source, pair.image)])
        if not bad:
            return pairs
        self.skipped += bad
        left_out = set(bad)
        kept = [pair for pair in pairs if left_out.isdisjoint((pair.source, pair.image))]
        shown = first_names(bad, self.images, 10)
        rank_zero_info(f"Left out {len(pairs) - len(kept)} of {len(pairs)} pairs that cannot be read, {shown}")
        if not kept:
            raise UserError(f"None of the {len(pairs)} pairs can be read, {shown}: give other folders")
        return kept


def _count(share: float, pairs: int) -> int:
    """Return how many pairs a share is: at least one unless the share is 0."""
    return max(1, round(share * pairs)) if share else 0


def _check_shares(val_share: float, test_share: float) -> None:
    if val_share + test_share >= 1:
        raise UserError(
            f"val_share and test_share are {val_share + test_share:g} together, which leaves nothing to train on"
        )


def _check_names(
    label_names: Sequence[str] | None, flip_pairs: Sequence[tuple[int, int]] | None, classes: int | None
) -> None:
    if label_names is not None and len(label_names) != classes:
        raise UserError(f"label_names has {len(label_names)} names for {classes} classes: give one for each")
    used = [label for pair in flip_pairs or () for label in pair]
    if used and (classes is None or not all(0 <= label < classes for label in used) or len(set(used)) < len(used)):
        raise UserError(f"flip_pairs is {flip_pairs}; it has to pair different labels below classes, {classes}")
