"""Label maps: one integer per pixel that says what is there. Reading, resizing and mirroring them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from datamodules.common.image_files import UnreadableImageError
from networks.gan.conditions import UNLABELLED
from visionscapes.errors import UserError

CELEBA_MASK_NAMES = (  # in the order of the official README; "l_lip" is the lower lip, "ear_r" an earring
    "background", "skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear", "mouth", "u_lip",
    "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth",
)  # fmt: skip
FACE_PARTS = CELEBA_MASK_NAMES[1:]  # each in a mask of its own; laid on each other in this order
CELEBA_FLIP_PAIRS = ((4, 5), (6, 7), (8, 9))  # eyes, brows, ears
MOST_CLASSES = 256  # what uint8 holds
SHOWN = 8  # values in a message
SPREAD = {"L;2": 85, "L;4": 17}  # by what Pillow multiplies grey pixels of 2 and 4 bits
HALVED = ";16B"  # channels of which Pillow drops the lower byte
ASPECT_TOLERANCE = 0.01  # sizes are rounded to whole pixels when a picture is scaled

Labels = TypeVar("Labels", NDArray[np.integer], Tensor)


def read_labels(path: str | Path, classes: int, ignored: int | None = None) -> NDArray[np.uint8]:
    """Read a label map.

    Of a palette image the index is the label, whatever its colour. Grey images of 1, 2, 4, 8 or 16 bits hold the label
    itself; so do colour images of 8 bits whose channels are all equal.

    Args:
        path: of an image file without loss of compression, such as PNG; its content decides the format.
        classes: number of labels, at most 256.
        ignored: the label of pixels whose label nobody knows; None if there are none.

    Returns:
        (H, W) uint8, values 0 to classes - 1, and ``UNLABELLED`` where the label is ``ignored``.

    Raises:
        UnreadableImageError: the file is missing, empty or broken.
        UserError: it is no label map, or holds labels outside of the range.
    """
    try:
        with Image.open(path) as file:
            stored = _raw_mode(file)
            file.load()
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes lead them to
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        if isinstance(error, UnidentifiedImageError):
            reason = "it is empty, its content is not an image, or its beginning is damaged"
        raise UnreadableImageError(f"cannot read the label map {path}: {reason}. Replace or remove the file") from error
    image: Image.Image = file
    if stored in SPREAD:  # over all of 8 bits, so that they look grey
        image = image.point([value // SPREAD[stored] for value in range(256)])
    if stored.endswith(HALVED) and image.mode in ("LA", "RGB", "RGBA"):
        raise UserError(
            f"{path} is an image of several channels with 16 bits each, of which only 8 can be read: convert it to a "
            "grey or palette PNG whose values are the labels 0, 1, 2..."
        )
    return labels_of_image(image, classes, path, ignored)


def _raw_mode(image: Image.Image) -> str:
    """Return how Pillow calls the pixels in the file of an image that is not loaded yet, such as "RGB;16B"."""
    tiles: Any = getattr(image, "tile", None)
    args = tiles[0].args if tiles else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def labels_of_image(
    image: Image.Image, classes: int, name: str | Path, ignored: int | None = None
) -> NDArray[np.uint8]:
    """Return the labels (H, W) of a loaded image, see `read_labels`.

    Args:
        image: of any mode.
        classes: number of labels, at most 256.
        name: what errors call it.
        ignored: see `read_labels`.

    Raises:
        UserError: it is no label map, or holds labels outside of the range.
    """
    if image.format in ("JPEG", "MPO"):
        raise UserError(
            f"{name} is a JPEG, whose compression changes labels at every edge: write label maps as PNG, from the"
            " originals"
        )
    return labels_in_range(_single_channel(image, name), classes, name, ignored)


def _single_channel(image: Image.Image, path: str | Path) -> NDArray[np.integer]:
    values = np.asarray(image)
    if values.dtype == bool:
        return values.astype(np.uint8)
    if not np.issubdtype(values.dtype, np.integer):
        raise UserError(f"{path} has floating-point pixels, not labels: write the labels as 8-bit grey PNG")
    if values.ndim == 2:
        return values
    colours = values
    if image.mode in ("LA", "PA", "RGBA"):
        colours, opacity = values[..., :-1], values[..., -1]
        if (opacity != 255).any():
            raise UserError(f"{path} is transparent in places, so that their label is unknown: write an opaque PNG")
    if (colours != colours[..., :1]).any():
        raise UserError(
            f"{path} is a colour image (mode {image.mode}, {colours.shape[-1]} channels that differ), and which colour"
            " means which label is unknown: convert it to a grey or palette PNG whose values are the labels 0, 1, 2..."
        )
    return colours[..., 0]


def labels_in_range(
    values: NDArray[np.integer], classes: int, path: str | Path, ignored: int | None = None
) -> NDArray[np.uint8]:
    """Return labels (H, W) as bytes.

    Args:
        values: integers.
        classes: number of labels, at most 256.
        path: what errors call them.
        ignored: see `read_labels`.

    Raises:
        UserError: a label is outside of 0 to classes - 1, and not ``ignored``.
    """
    left_out = np.zeros(values.shape, bool) if ignored is None else values == ignored
    outside = ((values < 0) | (values >= classes)) & ~left_out
    if not outside.any():
        labels = values.astype(np.uint8)
        labels[left_out] = UNLABELLED
        return labels
    found = np.unique(values).tolist()
    shown = ", ".join(map(str, found[:SHOWN])) + (f", ... {found[-1]}" if len(found) > SHOWN else "")
    mask = found in ([0, 255], [255])
    remedy = "store the mask as 0 and 1" if mask else "correct the file, or give the right number as classes"
    if classes < MOST_CLASSES and ignored is None:
        beyond = np.unique(values[outside]).tolist()
        which = f", --data.init_args.ignore_label={beyond[0]}" if len(beyond) == 1 else " (ignore_label)"
        remedy += f", or, if pixels without a known label have one of these, say which{which}"
    raise UserError(
        f"{path} holds the labels {shown}, but there are {classes} classes, so that labels go from 0 to {classes - 1}:"
        f" {remedy}"
    )


def merge_masks(masks: Mapping[int, Path]) -> NDArray[np.uint8]:
    """Return the label map of one face: its masks laid on each other, higher labels over lower ones.

    The order is that of the official g_mask.py, in which hair lies over skin and hat over hair. Other orders circulate
    with face parsers, whose numbers differ too.

    Args:
        masks: file of every part by its label; all of one size; a pixel above 0 belongs to the part.

    Returns:
        (H, W) uint8, 0 where no part is; H = W = 512 in CelebAMask-HQ.

    Raises:
        UnreadableImageError: a mask is broken.
        UserError: masks of different size.
    """
    merged: NDArray[np.uint8] | None = None
    for label, path in sorted(masks.items()):
        mask = _read_mask(path)
        merged = np.zeros(mask.shape, np.uint8) if merged is None else merged
        if mask.shape != merged.shape:
            raise UserError(
                f"{path} has {mask.shape[1]} x {mask.shape[0]} pixels, other masks of the same face {merged.shape[1]} x"
                f" {merged.shape[0]}: unpack or write them again"
            )
        merged[mask] = label
    assert merged is not None, "a face has at least one part"
    return merged


def _read_mask(path: Path) -> NDArray[np.bool_]:
    try:
        with Image.open(path) as image:
            # Stored as RGB with equal channels; one of them is enough.
            channel = image.convert("L") if image.mode == "P" else image.getchannel(0)
            return np.asarray(channel) > 0
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes lead them to
        raise UnreadableImageError(f"cannot read the mask {path}: {error}. Unpack or write this file again") from error


def resize_labels(labels: NDArray[np.uint8], size: int | tuple[int, int]) -> NDArray[np.uint8]:
    """Resize a label map (H, W) to (size, size), or to a width and height, by nearest neighbours.

    A pixel takes the label at its centre, as Pillow resizes pictures too; ``torch.nn.functional.interpolate`` with
    "nearest" takes its upper left corner, which would shift labels against pictures by half a pixel.
    """
    width, height = (size, size) if isinstance(size, int) else size
    return np.array(Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST))


def flip_labels(labels: Labels, pairs: Sequence[tuple[int, int]] = CELEBA_FLIP_PAIRS) -> Labels:
    """Mirror label maps from left to right, and exchange the labels that tell left from right.

    Args:
        labels: (..., H, W), array or tensor of integers.
        pairs: labels that change places; by default the eyes, brows and ears of CelebAMask-HQ.

    Returns:
        The same shape and type; a copy.
    """
    flipped = labels.flip(-1) if isinstance(labels, Tensor) else np.flip(labels, -1)
    mirrored = flipped.clone() if isinstance(flipped, Tensor) else flipped.copy()
    for left, right in pairs:
        mirrored[flipped == left] = right
        mirrored[flipped == right] = left
    return mirrored


def check_same_shape(image: tuple[int, int], labels: tuple[int, int], image_path: Path, labels_path: Path) -> None:
    """Check that a picture and its label map or condition show the same section: their aspect ratios agree.

    Args:
        image: width and height, pixels.
        labels: width and height, pixels.
        image_path: for the message.
        labels_path: for the message.

    Raises:
        UserError: they differ by more than a percent.
    """
    ratio = image[0] * labels[1] / (image[1] * labels[0])
    if max(ratio, 1 / ratio) > 1 + ASPECT_TOLERANCE:
        raise UserError(
            f"{image_path} has {image[0]} x {image[1]} pixels and {labels_path} {labels[0]} x {labels[1]}: their aspect"
            " ratios differ by more than a percent, so that they cannot show the same. Cut both to the same section"
        )
