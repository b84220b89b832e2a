"""Label maps, or other conditions, and style images that a user gives in Python."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import repeat
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from datamodules.common.evaluation import Stacked
from datamodules.common.given import Asked, Batch, Given, grouped
from datamodules.common.given_pictures import as_image, is_open_file, listed, loaded, opened, to_array
from datamodules.common.label_maps import MOST_CLASSES, labels_in_range, labels_of_image, read_labels
from datamodules.translation.pictures import condition_tensor, image_tensor, labels_tensor, placed
from networks.gan.conditions import UNLABELLED
from visionscapes.checks import AnyInt, Bounds, ImageSize, check_options, check_value
from visionscapes.errors import UserError
from visionscapes.given_paths import file_of

LABELS = "give a path, an open file, a PIL image, or integers (H, W) as a numpy array or a tensor, or a list of them"


@dataclass(frozen=True)
class GivenPairs(Given):
    """Conditions and the images whose style they get, as ``predict`` of `TranslationData` prepares them.

    Attributes:
        image_size: S in pixels; all pictures are squashed to squares, and what is made of a condition has its size.
        classes: number of labels of a label map; None for conditions that are pictures.
        channels: of conditions that are pictures, 1 (grey) or 3 (RGB).
        ignore_label: the label of pixels whose label nobody knows, see `TranslationData`; None if there are none.
        keep_aspect: whether conditions are scaled to fit the square in place of squashed, see `TranslationData`.

    Raises:
        UserError: an option is out of its bounds.
    """

    image_size: ImageSize = 256
    classes: Annotated[int, Bounds(least=1, most=MOST_CLASSES)] | None = None
    channels: Literal[1, 3] = 3
    ignore_label: AnyInt | None = None
    keep_aspect: bool = False

    def __post_init__(self) -> None:
        check_options(GivenPairs, vars(self))
        check_ignored(self.ignore_label, self.classes)

    def ask(self, labels: Any, style: Any, seed: int | None = None) -> Asked:
        """Return what is asked about by a label map and a style image, or by lists of them.

        Args:
            labels: a label map, or another condition if `classes` is None; or a list of them.
            style: an image, for all label maps alike; or a list of as many.
            seed: of the noise; with the same one an image comes out the same every time. Another one each time if None.

        Raises:
            UserError: a list is empty, or the lists have different lengths; later, a picture cannot be used.
        """
        check_value("seed", seed, AnyInt | None)
        conditions, many = listed(labels, dims=3 if self.classes is None or _has_channels(labels) else 2)
        styles, several = listed(style)
        pairs = _paired(conditions, styles, many, several)
        samples = ({**self._condition(*one), "image": self._style(*other)} for one, other in pairs)

        def batch(parts: list[dict[str, Any]]) -> Batch:
            stacked = Stacked("predict")([{"style": each.pop("image"), **each} for each in parts])
            return stacked if seed is None else stacked | {"seed": seed}

        # Noise of one seed is drawn for a batch: the same for each image only where it is alone.
        return Asked(lambda most: grouped(samples, most if seed is None else 1, batch), many or several)

    def _condition(self, given: Any, name: str) -> dict[str, Tensor]:
        if self.classes is None:
            return self.of_condition(as_image(given, f"{name} (the condition)", upright=False))
        return self.of_labels(labels_of(given, f"{name} (the label map)", self.classes, self.ignore_label))

    def of_condition(self, picture: Image.Image) -> dict[str, Tensor]:
        """Return an RGB picture as "condition" (C, S, S) in [0, 1], with what `placed` says of it."""
        condition = condition_tensor(picture, self.image_size, self.channels, self.keep_aspect)
        return {"condition": condition, **placed(*picture.size, self.image_size, self.keep_aspect)}

    def of_labels(self, labels: NDArray[np.uint8]) -> dict[str, Tensor]:
        """Return a label map (H, W) as "labels" (S, S) uint8, with what `placed` says of it."""
        height, width = labels.shape
        where = placed(width, height, self.image_size, self.keep_aspect)
        return {"labels": labels_tensor(labels, self.image_size, self.keep_aspect), **where}

    def _style(self, given: Any, name: str) -> Tensor:
        return image_tensor(as_image(given, f"{name} (the style)"), self.image_size)


def check_ignored(ignored: int | None, classes: int | None) -> None:
    """Check that there is room for pixels without a label.

    Raises:
        UserError: there are no label maps, or their classes take all values of a byte.
    """
    if ignored is None:
        return
    if classes is None:
        raise UserError(
            f"ignore_label is {ignored}, and conditions that are pictures have no labels: leave it out, or give label "
            "maps and their classes"
        )
    if classes > UNLABELLED:
        raise UserError(
            f"ignore_label is {ignored}, and {classes} classes leave no value of a byte for pixels without a label: "
            f"give at most {UNLABELLED} classes"
        )


def labels_of(given: Any, name: str, classes: int, ignored: int | None = None) -> NDArray[np.uint8]:
    """Return a label map (H, W) of any kind as a file is read.

    Args:
        given: path, open file, PIL image, or integers (H, W), (1, H, W), (H, W, 1) or (H, W, 3), whose channels are
            equal, as array or tensor.
        name: what errors call it.
        classes: number of labels.
        ignored: see ``datamodules.common.label_maps.read_labels``.

    Raises:
        UserError: it is no label map, or a label is out of range; names it and says what to do.
    """
    if isinstance(given, str | os.PathLike):
        return read_labels(file_of(given, "label map"), classes, ignored)
    if is_open_file(given):
        given = opened(given, name)
    if isinstance(given, Image.Image):
        return labels_of_image(loaded(given, name), classes, name, ignored)
    if isinstance(given, Tensor):
        given = to_array(given, name)
    if not isinstance(given, np.ndarray):
        raise UserError(f"{name} is of class {type(given).__name__}: {LABELS}")
    given = _one_channel(given)
    values = given.astype(np.uint8) if given.dtype == bool else given
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.integer) or not values.size:
        raise UserError(f"{name} has shape {values.shape} and type {values.dtype}: {LABELS}")
    return labels_in_range(values, classes, name, ignored)


def _has_channels(given: Any) -> bool:
    """Return whether an array or tensor of three axes is one label map with channels, and not a list of label maps."""
    if not isinstance(given, np.ndarray | Tensor) or given.ndim != 3:
        return False
    return given.shape[0] == 1 or given.shape[2] in (1, 3)


def _one_channel(given: NDArray[Any]) -> NDArray[Any]:
    """Return a label map (H, W) of one with one channel, or three that are all equal; any other as it is."""
    if given.ndim != 3:
        return given
    if given.shape[0] == 1:
        return given[0]
    return given[..., 0] if given.shape[2] in (1, 3) and (given == given[..., :1]).all() else given


def _paired(conditions: Iterator[Any], styles: Iterator[Any], many: bool, several: bool) -> Iterator[tuple[Any, Any]]:
    """Yield each condition with its style; a single one of either goes with all of the other."""
    if not several:
        return zip(conditions, repeat(next(styles)), strict=False)
    if not many:
        return zip(repeat(next(conditions)), styles, strict=False)
    one, other = list(conditions), list(styles)
    if len(one) != len(other):
        raise UserError(f"there are {len(one)} label maps and {len(other)} styles: give as many, or one style for all")
    return zip(one, other, strict=True)
