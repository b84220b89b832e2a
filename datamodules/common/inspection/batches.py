"""The first batches of a loader: what they hold, in which ranges, and how long one takes."""

import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from itertools import islice
from typing import Any

import numpy as np
import torch
from torch import Tensor

from datamodules.common.inspection.findings import DataFinding
from visionscapes.errors import UserError, in_words

SEEN = ("image", "condition", "style", "video", "face", "frame", "view", "picture")  # names of what a network sees
HEARD = ("mel", "audio")


@dataclass
class Entry:
    """What stands under one key of the batches, over all that were looked at.

    Attributes:
        kind: dtype of a tensor, or the type of anything else.
        shapes: of its tensors, or numbers of things in lists.
        least: smallest finite number; None without numbers.
        most: largest finite number.
        nans: numbers that are not finite.
        count: of numbers, or of things that are none.
    """

    kind: str
    shapes: list[tuple[int, ...]] = field(default_factory=list)
    least: float | None = None
    most: float | None = None
    nans: int = 0
    count: int = 0

    def shape(self) -> str:
        """Return the shapes in words: "8 x 3 x 32-48 x 64"; where there are several, the range of each side."""
        different = sorted({len(shape) for shape in self.shapes})
        words = []
        for length in different:
            alike = [shape for shape in self.shapes if len(shape) == length]
            sides = [(min(side), max(side)) for side in zip(*alike, strict=True)]
            words.append(" x ".join(f"{low}" if low == high else f"{low}-{high}" for low, high in sides) or "one")
        return " or ".join(words)


@dataclass
class LoaderFigures:
    """What the first batches of a loader have shown.

    Attributes:
        samples: of its data set; None if it has no length.
        batches: of an epoch of one process; None if it has no length.
        looked_at: how many were.
        first_seconds: until the first was there, with the start of loading processes.
        seconds: of each that followed, on average; None of one batch.
        entries: what batches hold, by key.
        digests: of the pictures they show, each once for every time it came.
        fault: why no more were looked at; empty if nothing happened.
        first_batch: for examples.
    """

    samples: int | None = None
    batches: int | None = None
    looked_at: int = 0
    first_seconds: float | None = None
    seconds: float | None = None
    entries: dict[str, Entry] = field(default_factory=dict)
    digests: list[bytes] = field(default_factory=list)
    fault: str = ""
    first_batch: Any = None


def loaders_of(made: Any, name: str) -> dict[str, Iterable[Any]]:
    """Return what a data module gives as its loaders by name: one, several in a list, or several by name."""
    if made is None:
        return {}
    if isinstance(made, Mapping):
        return {f"{name} {key}": loader for key, loader in made.items()}
    if isinstance(made, list | tuple):
        return {f"{name} {number}" if len(made) > 1 else name: loader for number, loader in enumerate(made, 1)}
    return {name: made}


def look_at_batches(loader: Iterable[Any], most: int) -> LoaderFigures:
    """Go through the first batches of a loader; whatever ends it is written down and not raised.

    Args:
        loader: of batches.
        most: how many.
    """
    figures = LoaderFigures(samples=_length(getattr(loader, "dataset", None)), batches=_length(loader))
    waited: list[float] = []
    iterator: Any = None
    try:
        began = time.perf_counter()
        iterator = iter(loader)
        for batch in islice(iterator, most):
            waited.append(time.perf_counter() - began)
            if not figures.looked_at:
                figures.first_batch = batch
            figures.looked_at += 1
            for key, value in entries(batch):
                _add(figures.entries, key, value)
            figures.digests += digests(batch)
            began = time.perf_counter()
    except UserError as error:
        figures.fault = str(error)
    except Exception as error:  # of a data set of the user's own: a training would end of it just the same
        text = str(error)
        figures.fault = text.strip().splitlines()[-1] if text.startswith("Caught ") else in_words(error)  # of a worker
    finally:
        figures.first_seconds = waited[0] if waited else None
        figures.seconds = sum(waited[1:]) / (len(waited) - 1) if len(waited) > 1 else None
        del iterator
        if hasattr(loader, "_iterator"):
            loader._iterator = None  # else its processes stay
    return figures


def entries(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the tensors and other things of a batch with their keys, such as "views.images"; lists are one entry."""
    if isinstance(value, Mapping):
        for name, each in value.items():
            yield from entries(each, f"{key}.{name}" if key else str(name))
    elif is_dataclass(value) and not isinstance(value, type):
        for each in fields(value):
            yield from entries(getattr(value, each.name), f"{key}.{each.name}" if key else each.name)
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        yield from entries(dict(zip(value._fields, value, strict=True)), key)
    elif isinstance(value, list | tuple) and value and not isinstance(value[0], str | int | float):
        for each in value:
            yield from entries(each, f"{key}[]")
    else:
        yield key or "batch", value


def digests(batch: Any) -> list[bytes]:
    """Return what tells the pictures of a batch apart: of each sample of "image", where there is one."""
    images = batch.get("image") if isinstance(batch, Mapping) else None
    if images is None or not len(images) or not isinstance(images[0], Tensor):
        return []
    return [hashlib.blake2b(each.contiguous().numpy().tobytes(), digest_size=16).digest() for each in images]


def findings_of_loader(name: str, figures: LoaderFigures) -> Iterator[DataFinding]:
    """Yield what is wrong with the batches of a loader."""
    if figures.fault:
        yield DataFinding("error", name, f"batch {figures.looked_at + 1} cannot be loaded: {figures.fault}")
    elif not figures.looked_at:
        yield DataFinding("error" if name.startswith("train") else "warning", name, "there are no batches")
    for key, entry in figures.entries.items():
        sensed = any(word in key for word in (*SEEN, *HEARD))
        if entry.nans:
            text = f"{entry.nans} of {entry.count} numbers of {key} are not finite"
            yield DataFinding("error" if sensed else "warning", name, text)
        heard = any(word in key for word in HEARD)
        if entry.least is None or entry.most is None or heard or not any(word in key for word in SEEN):
            continue
        if entry.kind.startswith("float") and (entry.least < -1e-3 or entry.most > 1 + 1e-3):
            yield DataFinding(
                "warning", name, f"{key} goes from {entry.least:g} to {entry.most:g}, and pictures from 0 to 1"
            )
        if entry.least == entry.most and entry.count > 100 and not key.endswith("index"):
            yield DataFinding("warning", name, f"all numbers of {key} are {entry.least:g}")


def _add(known: dict[str, Entry], key: str, value: Any) -> None:
    if isinstance(value, np.ndarray):
        value = torch.from_numpy(value) if value.dtype.kind in "biuf" else value
    if not isinstance(value, Tensor):
        entry = known.setdefault(key, Entry(type(value).__name__))
        things = list(value) if isinstance(value, list | tuple) else [value]
        if things and isinstance(value, list | tuple):
            entry.kind = f"list of {type(things[0]).__name__}"
            entry.shapes.append((len(things),))
        entry.count += len(things)
        return
    entry = known.setdefault(key, Entry(str(value.dtype).removeprefix("torch.")))
    entry.shapes.append(tuple(value.shape))
    entry.count += value.numel()
    numbers = value.detach()
    if numbers.is_complex() or not numbers.numel():
        return
    finite = torch.isfinite(numbers)
    entry.nans += int((~finite).sum())
    if finite.any():
        sound = numbers[finite].double() if not finite.all() else numbers
        least, most = float(sound.min()), float(sound.max())
        entry.least = least if entry.least is None else min(entry.least, least)
        entry.most = most if entry.most is None else max(entry.most, most)


def _length(sized: Any) -> int | None:
    try:
        return len(sized)
    except (TypeError, AttributeError):
        return None
