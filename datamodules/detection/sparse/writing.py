"""A sparsely annotated copy of a file in COCO's format, and the record of what it lacks."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from datamodules.detection.sparse.reading import Annotations, read_annotations
from datamodules.detection.sparse.splits import DEFAULTS, SplitOptions, check_split, choose_removed
from visionscapes.errors import UserError
from visionscapes.files import atomic_write


def make_sparse(
    source: Path,
    output: Path,
    split: str,
    percent: float | None = None,
    level: str | None = None,
    seed: int = 0,
    options: SplitOptions = DEFAULTS,
    overwrite: bool = False,
) -> list[str]:
    """Write a copy of a file in COCO's format without some of its annotations; everything else stays as it is.

    Args:
        source: the file.
        output: the copy, named ``<name>.json``; ``<name>.removed.json`` is written beside it.
        split: see `choose_removed`, as the next four.
        percent: of splits 1, 2, 3 and 5.
        level: of split 4.
        seed: of the choice.
        options: what the thesis leaves open.
        overwrite: whether a result that exists is replaced.

    Returns:
        Lines that say how much was removed.

    Raises:
        UserError: a file or setting is wrong; nothing was written then.
    """
    check_split(split, percent, level, seed, options)
    check_paths(source, output, overwrite)
    found = read_annotations(source)
    removed = choose_removed(
        found.images, found.labels, split, percent, level, seed, found.protected, options, found.ids
    )
    amount: dict[str, Any] = {"percent": percent, "level": level}
    record = {
        "source": source.name,
        "source_sha256": found.sha256,
        "split": split,
        **{name: value for name, value in amount.items() if value is not None},
        "seed": seed,
        "options": asdict(options),
        "removed": np.sort(found.ids[removed]).tolist(),
    }
    kept = [each for each, gone in zip(found.content["annotations"], removed, strict=True) if not gone]
    sparse = {**found.content, "annotations": kept}
    write_all({output: json.dumps(sparse) + "\n", record_path(output): json.dumps(record) + "\n"})
    return table(found, removed)


def record_path(output: Path) -> Path:
    """Return where the record of what was removed stands."""
    return output.with_suffix(".removed.json")


def check_paths(source: Path, output: Path, overwrite: bool) -> None:
    """Look before a long reading whether the result can be written.

    Raises:
        UserError: it cannot, or would replace the source or, unless ``overwrite``, another file.
    """
    if output.suffix != ".json":
        raise UserError(f"the result needs a name that ends in .json, not {output.name}")
    for path in (output, record_path(output)):
        if path.exists() and source.exists() and path.samefile(source):
            raise UserError(f"the result would replace {source}, the file it is made of: choose another name")
        if path.is_dir():
            raise UserError(f"{path} is a folder: choose another name")
        if path.exists() and not overwrite:
            raise UserError(f"{path} exists: choose another name or add --overwrite")


def write_all(texts: dict[Path, str]) -> None:
    """Write files, none of them before all are complete beside their places.

    Raises:
        UserError: they cannot be written.
    """
    path = next(iter(texts))
    try:
        with ExitStack() as complete:  # which lets the files appear, the last one first
            for path, text in texts.items():
                file = complete.enter_context(atomic_write(path, "w"))
                file.write(text)
                file.flush()  # here and not on leaving, when others may have appeared, there is no space
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}): free space or choose another place") from error


def table(annotations: Annotations, removed: NDArray[np.bool_]) -> list[str]:
    """Return lines that say what was removed, of all and of every class, and what images are left with."""
    free = ~annotations.protected
    n_images = len(annotations.content["images"])
    had = np.bincount(annotations.images[free], minlength=n_images)
    left = np.bincount(annotations.images[free & ~removed], minlength=n_images)
    of_class = np.bincount(annotations.labels[free], minlength=len(annotations.classes))
    gone = np.bincount(annotations.labels[removed], minlength=len(of_class))
    width = max(map(len, [*annotations.classes, "all classes"]))
    rows = [("all classes", free.sum(), removed.sum()), *zip(annotations.classes, of_class, gone, strict=True)]
    return [
        f"crowds and difficult objects, kept and not counted below: {annotations.protected.sum()}",
        f"images without any annotation: {(had == 0).sum()} of {n_images} before, {(left == 0).sum()} after",
        f"fewest annotations that are left of an image that had any: {left[had > 0].min()}",
        f"{'class':{width}}  annotations   removed  achieved %",
        *(f"{name:{width}}  {n:11}  {k:8}  {f'{100 * k / n:.2f}' if n else '-':>10}" for name, n, k in rows),
    ]
