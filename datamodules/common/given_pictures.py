"""Pictures as Python has them: paths, open files, PIL images, arrays, tensors; each made RGB as a file is read."""

import io
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from datamodules.common.image_files import UnreadableImageError, as_rgb, read_image
from datamodules.common.image_kinds import can_read_phones
from visionscapes.errors import UserError
from visionscapes.given_paths import file_of

KINDS = (
    "give a path, an open file, a PIL image, a numpy array (H, W, 3) or (H, W), a tensor (3, H, W), or a list of them; "
    "arrays and tensors of uint8, or of floats in [0, 1]"
)
REMEDY = "Replace the file, or leave it out"


def listed(given: Any, dims: int = 3) -> tuple[Iterator[tuple[Any, str]], bool]:
    """Return things with what errors call them, and whether they were given as a list.

    Args:
        given: one thing, or a list or other series of them, which may be endless; an array or tensor with one more
            dimension than a thing has is one, too.
        dims: of one thing at most.

    Raises:
        UserError: the list is empty.
    """
    if isinstance(given, np.ndarray | Tensor):
        many = given.ndim == dims + 1
        things: Iterable[Any] = given if many else [given]
    else:
        many = isinstance(given, Iterable) and not isinstance(given, str | os.PathLike | Image.Image | Mapping | bytes)
        many = many and not is_open_file(given)  # which yields its lines
        things = given if many else [given]
    series = iter(things)
    first = list(islice(series, 1))
    if not first:
        raise UserError("the list is empty: give one thing at least")
    numbered = enumerate(chain(first, series), 1)
    return ((thing, _called(thing, number, many)) for number, thing in numbered), many


def as_image(given: Any, name: str, *, upright: bool = True) -> Image.Image:
    """Return a picture of any kind as RGB with 8 bits, see `datamodules.common.image_files.read_image`.

    Floats are rounded to 8 bits, which is what a file of the picture would hold.

    Args:
        given: path, file open for reading bytes, PIL image, array (H, W, 3), (H, W, 4), (H, W, 1) or (H, W), or tensor
            (3, H, W), (1, H, W) or (H, W); arrays and tensors of uint8 or of floats in [0, 1].
        name: what errors call it.
        upright: turn files and PIL images as their EXIF data say.

    Raises:
        UserError: it is nothing of this, or a file that cannot be read; names it and says what to do.
    """
    if isinstance(given, str | os.PathLike):
        return read_image(file_of(given, "picture"), upright=upright, remedy=REMEDY)
    if is_open_file(given):
        given = opened(given, name)
    if isinstance(given, Image.Image):
        return _of_pil(given, name, upright)
    if isinstance(given, Tensor):
        return _of_array(_channels_last(given, name), name)
    if isinstance(given, np.ndarray):
        return _of_array(given, name)
    raise UserError(f"{name} is of class {type(given).__name__}: {KINDS}")


def is_open_file(given: Any) -> bool:
    """Return whether something is a file that is open for reading, such as ``io.BytesIO``."""
    return callable(getattr(given, "read", None)) and not isinstance(given, np.ndarray | Tensor | Image.Image)


def opened(file: Any, name: str) -> Image.Image:
    """Return the picture in an open file, from its beginning; the file stays open.

    Args:
        file: open for reading bytes.
        name: what errors call it.

    Raises:
        UserError: it holds text, is closed, or is no picture.
    """
    if isinstance(file, io.TextIOBase):
        raise UserError(f"{name} is a file that was opened as text: open it with open(path, 'rb')")
    can_read_phones()
    try:
        return Image.open(file)
    except UnidentifiedImageError as error:
        raise _unusable(file, name, "its content is not an image, or its beginning is damaged") from error
    except Exception as error:  # Pillow's decoders raise whatever the broken bytes lead them to
        raise _unusable(file, name, str(error)) from error


def loaded(image: Image.Image, name: str) -> Image.Image:
    """Return a PIL image with its pixels read.

    Raises:
        UserError: its file is damaged or closed.
    """
    try:
        image.load()
    except Exception as error:  # a file is decoded here at the latest, and Pillow's decoders raise anything
        raise _unusable(image, name, str(error)) from error
    return image


def to_array(tensor: Tensor, name: str) -> NDArray[Any]:
    """Return a tensor as an array.

    Raises:
        UserError: it has no values.
    """
    if tensor.is_meta:
        raise UserError(f"{name} lies on the meta device and has no values: give a tensor with values")
    values = tensor.detach()
    return (values.float() if values.dtype == torch.bfloat16 else values).cpu().numpy()


def _of_pil(image: Image.Image, name: str, upright: bool) -> Image.Image:
    loaded(image, name)
    try:
        turned = ImageOps.exif_transpose(image) if upright else image
        return as_rgb(turned)
    except Exception as error:  # of damaged EXIF data, or of a mode whose range nobody knows
        raise _unusable(image, name, str(error)) from error


def _unusable(given: Any, name: str, reason: str) -> UnreadableImageError:
    file = getattr(given, "filename", "") or getattr(given, "name", "")
    which = f"{name} ({file})" if file and isinstance(file, str | os.PathLike) else name
    return UnreadableImageError(f"cannot use {which}: {reason}. {REMEDY}")


def _channels_last(tensor: Tensor, name: str) -> NDArray[Any]:
    if tensor.ndim == 3 and tensor.shape[0] not in (1, 3):
        last = ": its channels come last, permute(2, 0, 1) brings them to the front" * (tensor.shape[-1] in (1, 3))
        raise UserError(f"{name} has shape {tuple(tensor.shape)}, and (3, H, W) is needed{last}")
    if tensor.ndim not in (2, 3):
        raise UserError(f"{name} has {tensor.ndim} dimensions, shape {tuple(tensor.shape)}: give (3, H, W), or a list")
    values = to_array(tensor, name)
    return values if values.ndim == 2 else values.transpose(1, 2, 0)


def _of_array(values: NDArray[Any], name: str) -> Image.Image:
    shape = values.shape
    if values.ndim == 3 and shape[2] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and shape[2] not in (3, 4)):
        first = ": its channels come first, transpose(1, 2, 0) brings them to the end" * (shape[:1] in ((1,), (3,)))
        raise UserError(f"{name} has shape {shape}, and (H, W, 3) or (H, W) is needed{first}")
    if not values.size:
        raise UserError(f"{name} has shape {shape}, which is no pixel: give one at least")
    if np.issubdtype(values.dtype, np.floating):
        values = _of_unit_range(values, name)
    if values.dtype != np.uint8:
        raise UserError(f"{name} is of type {values.dtype}: give uint8 in 0 to 255, or floats in [0, 1]")
    return as_rgb(Image.fromarray(np.ascontiguousarray(values)))


def _of_unit_range(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    if not np.isfinite(values).all():
        raise UserError(f"{name} holds values that are no numbers (NaN or infinite): give floats in [0, 1]")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 1:
        meant = "astype(numpy.uint8) makes bytes of 0 to 255" if low >= 0 else "(x + 1) / 2 makes [0, 1] of [-1, 1]"
        raise UserError(f"{name} holds floats from {low:.4g} to {high:.4g}, and [0, 1] is needed: {meant}")
    return (values.astype(np.float64) * 255).round().astype(np.uint8)


def _called(thing: Any, number: int, many: bool) -> str:
    if isinstance(thing, str | os.PathLike):
        return f"the picture {thing}"
    return f"picture {number} of the list" if many else "the picture"
