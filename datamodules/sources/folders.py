"""Folders of pictures by source: which files are labelled, which are to be discovered, and what is wrong with them."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from PIL import Image

from datamodules.common.errors import DatasetNotFoundError
from datamodules.common.image_files import (
    COPY_SOME,
    UnreadableImageError,
    find_images,
    read_image,
    unreadable_images,
)
from datamodules.common.inputs import printable
from datamodules.common.reports import first_names, report, report_left_out
from visionscapes.errors import UserError
from visionscapes.processes import is_first

LEAST_IMAGES = 2  # of a class: the threshold of its detector comes from the distances between its images
FEW_IMAGES = 20  # below, that threshold rests on few distances
SHOWN = 10  # files that cannot be read
PEEKED = 20  # files of a class whose format is looked at
LABELLED_TREE = """
<labelled>/real_celeba/000001.png       one folder for each known source, of real pictures or of a generator;
<labelled>/progan_hq/any/sub/x.jpg      sub-folders of these carry no meaning
"""
DISCOVERY_TREE = """
<discovery>/any.png                     images of unknown source, or, if the truth is known for the evaluation,
<discovery>/progan_hq/any/sub/x.jpg     one folder for each source
"""
Truth = bool | Literal["auto"]


@dataclass
class SourceFiles:
    """Files with the names of their sources, None where they are unknown.

    Attributes:
        paths: of the files.
        sources: of the files.
        names: of the files, stable and unique.
        rounds: in which the files come.
    """

    paths: list[Path] = field(default_factory=list)
    sources: list[str | None] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)

    def add(self, path: Path, source: str | None, name: str, arrival: int = 1) -> None:
        """Append a file."""
        self.paths.append(path)
        self.sources.append(source)
        self.names.append(name)
        self.rounds.append(arrival)

    def without(self, left_out: set[Path]) -> "SourceFiles":
        """Return the files but those that are named."""
        kept = SourceFiles()
        for each in zip(self.paths, self.sources, self.names, self.rounds, strict=True):
            if each[0] not in left_out:
                kept.add(*each)
        return kept


def option(name: str, value: str = "<folder>") -> str:
    """Return how an option is given on the command line."""
    return f"--data.init_args.{name}={value}"


def find_labelled(folder: Path, classes: Sequence[str] | None, skip_unreadable: bool) -> SourceFiles:
    """Return the images below the sub-folders of a folder that are classes, all of them if ``classes`` is None.

    Raises:
        DatasetNotFoundError: the folder is missing or holds no images, or a class is empty.
        UserError: a class that does not exist, fewer than two classes, or a class with fewer than two images.
    """
    remedies = [f"Give the folder that holds one folder for each known source as {option('labelled')}", COPY_SOME]
    paths = find_images(folder, name="The labelled set", expected=LABELLED_TREE, remedies=remedies)
    found = SourceFiles()
    for path in paths:
        inner = path.relative_to(folder)
        if len(inner.parts) > 1:
            found.add(path, inner.parts[0], inner.as_posix())
    loose = [path for path in paths if path.parent == folder]
    if found.paths:
        reason = f"they lie in no folder of a source, {first_names(loose, folder)}"
        report_left_out("The labelled set", len(loose), "images", len(paths), reason)
    if classes is None:
        _tell_empty("The labelled set", folder, paths)
    found = _chosen(found, folder, classes, "classes")
    if skip_unreadable:
        found = readable(found, folder)
    counts = {name: found.sources.count(name) for name in sorted({str(name) for name in found.sources})}
    lost = sorted(set(classes or ()) - set(counts))
    if lost:
        raise UserError(f"No image of the class {lost[0]} below {folder} can be read: leave it out of classes")
    if len(counts) < 2:
        present = ", ".join(counts) or "its images lie in no sub-folder"
        raise UserError(
            f"The labelled set in {folder} has {len(counts)} classes ({present}) and needs at least two, or there is"
            f" nothing to tell apart. It has to look like this:\n{LABELLED_TREE.strip()}\n"
            f"Give such a folder as {option('labelled')}, or name more classes"
        )
    few = {name: count for name, count in counts.items() if count < FEW_IMAGES}
    for name, count in few.items():
        if count < LEAST_IMAGES:
            raise UserError(
                f"The class {name} in {folder} has a single image and needs at least {LEAST_IMAGES}, because its"
                " detector's threshold comes from the distances between its images: add images, or leave it out with"
                f" {option('classes', '[...]')}"
            )
    if few:
        report(
            "%d classes of the labelled set have fewer than %d images (%s): the thresholds of their detectors rest on"
            " few distances",
            *(len(few), FEW_IMAGES, ", ".join(f"{name}: {count}" for name, count in few.items())),
        )
    return found


def find_discovery_images(
    folder: Path,
    arrivals: Mapping[int, Sequence[Path]],
    truth: Truth,
    classes: Sequence[str] | None,
    skip_unreadable: bool,
) -> SourceFiles:
    """Return the images to be discovered, by the round in which they come and then by name.

    Args:
        folder: of what is there in round 1.
        arrivals: folders of what comes later, by round. If one holds images and not folders of them, its own name is
            that of their source. What also lies below ``folder`` comes with the arrival.
        truth: whether sub-folders are sources; "auto" if no image lies outside of one.
        classes: which sub-folders of ``folder`` to take; all if None.
        skip_unreadable: leave out files that cannot be read.

    Raises:
        DatasetNotFoundError: a folder is missing or holds no images.
        UserError: a class that does not exist, ``truth`` of images that lie in no sub-folder, two images of one name,
            or nothing that is there in round 1.
    """
    later = SourceFiles()
    for arrival, folders in sorted(arrivals.items()):
        for place in folders:
            remedies = [f"Mend the folder of round {arrival} in {option('arrivals', '{...}')}", COPY_SOME]
            title = f"The set that arrives in round {arrival}"
            paths = find_images(place, name=title, expected=DISCOVERY_TREE, remedies=remedies)
            in_folders = all(path.parent != place for path in paths)
            for path in paths:
                inner = path.relative_to(place)
                source = inner.parts[0] if in_folders else place.name
                later.add(path, source, f"round_{arrival}/{place.name}/{inner.as_posix()}", arrival)
    remedies = [f"Give the folder with the images to be discovered as {option('discovery')}", COPY_SOME]
    paths = find_images(folder, name="The discovery set", expected=DISCOVERY_TREE, remedies=remedies)
    loose = [path for path in paths if path.parent == folder]
    if loose and (truth is True or classes is not None):
        raise UserError(
            f"{len(loose)} images lie directly in {folder}, {loose[0].name} the first, so that their source is unknown:"
            f" move them into the folder of their source, or give {option('truth', 'false')} without discovery_classes"
        )
    known = not loose if truth == "auto" else truth
    if known and classes is None:
        _tell_empty("The discovery set", folder, paths)
    first = SourceFiles()
    for path in paths:
        inner = path.relative_to(folder)
        first.add(path, inner.parts[0] if len(inner.parts) > 1 else None, inner.as_posix())
    first = _chosen(first, folder, classes, "discovery_classes") if classes is not None else first
    if later.paths:
        coming = {os.path.realpath(path) for path in later.paths}
        first = first.without({path for path in first.paths if os.path.realpath(path) in coming})
    found = SourceFiles()
    for part in (first, later):
        for each in sorted(zip(part.rounds, part.names, part.paths, part.sources, strict=True), key=lambda x: x[:2]):
            found.add(each[2], each[3] if known else None, each[1], each[0])
    if len(set(found.names)) < len(found.names):
        twice = next(name for name in found.names if found.names.count(name) > 1)
        raise UserError(f"Two images to be discovered have the name {twice}: rename one of the folders in arrivals")
    if skip_unreadable:
        found = readable(found, folder)
    if 1 not in found.rounds:
        raise UserError(
            f"Nothing is left to be discovered in round 1: all images of {folder} belong to arrivals or cannot be read."
            f" Give another folder as {option('discovery')}, or let arrivals name fewer"
        )
    return found


def _chosen(found: SourceFiles, folder: Path, classes: Sequence[str] | None, name: str) -> SourceFiles:
    """Return the files of the classes that were asked for."""
    if classes is None:
        return found
    present = {str(source) for source in found.sources if source is not None}
    unknown = sorted(set(classes) - present)
    empty = [each for each in unknown if (folder / each).is_dir()]
    if empty:
        raise DatasetNotFoundError(
            name=f"The class {empty[0]}",
            looked_in=folder / empty[0],
            expected=LABELLED_TREE,
            remedies=[COPY_SOME, f"Leave it out of {name}"],
            missing="any image",
        )
    if unknown:
        raise UserError(
            f"{name} has {', '.join(unknown)}, but {folder} has {', '.join(sorted(present)) or 'no sub-folders'}:"
            " correct the names, or add the folders"
        )
    wanted = set(classes)
    return found.without({path for path, each in zip(found.paths, found.sources, strict=True) if each not in wanted})


def readable(found: SourceFiles, folder: Path) -> SourceFiles:
    """Return the files that can be read, and report the others; call it on all processes."""
    bad = unreadable_images(found.paths)
    if bad:
        shown = ", ".join(str(path) for path in bad[:SHOWN]) + (", ..." if len(bad) > SHOWN else "")
        report("Left out %d of %d images for %s that cannot be read: %s", len(bad), len(found.paths), folder, shown)
    return found.without(set(bad))


def check_readable(paths: Sequence[Path]) -> None:
    """Decode every file once, so that none ends a run after hours of training; call it on all processes.

    Raises:
        UnreadableImageError: files that cannot be read, with what is wrong with the first.
    """
    bad = unreadable_images(paths)
    if not bad:
        return
    try:
        read_image(bad[0])
    except UnreadableImageError as error:
        if len(bad) == 1:
            raise
        others = ", ".join(map(printable, bad[1:SHOWN])) + (", ..." if len(bad) > SHOWN else "")
        raise UnreadableImageError(
            f"{len(bad)} of {len(paths)} images cannot be read; {error} The others: {others}"
        ) from error


def check_leaks(labelled: SourceFiles, discovery: SourceFiles) -> None:
    """Warn, on the first process, of what would give the source away or make the evaluation look better than it is.

    Files that are in both sets are found by their size and then their first and last four kilobytes. The formats of
    some files of every class are compared; the quality of JPEG is not.
    """
    if not is_first():
        return
    both = duplicates(labelled.paths, discovery.paths)
    if both:
        report(
            "%d images of the discovery set are in the labelled set too, %s the first: what they are attributed to"
            " says nothing. Remove them from one of the two",
            *(len(both), both[0]),
        )
    formats = {name: _formats(labelled, name) for name in sorted({str(source) for source in labelled.sources})}
    kinds = {tuple(sorted(each)) for each in formats.values()}
    if len(kinds) > 1:
        report(
            "the classes of the labelled set are stored in different formats (%s): the traces of a codec give the"
            " source away. Store all of them in one, from originals that were never compressed differently",
            "; ".join(f"{name}: {', '.join(sorted(each))}" for name, each in formats.items()),
        )


def duplicates(first: Sequence[Path], second: Sequence[Path]) -> list[Path]:
    """Return the files of ``second`` with the content of a file of ``first``."""
    sizes = {path: path.stat().st_size for path in (*first, *second)}
    common = {sizes[path] for path in first} & {sizes[path] for path in second}
    contents = {_digest(path) for path in first if sizes[path] in common}
    return [path for path in second if sizes[path] in common and _digest(path) in contents]


def _digest(path: Path) -> tuple[int, bytes]:
    size, ends = path.stat().st_size, 4096
    with path.open("rb") as file:
        head = file.read(ends)
        file.seek(max(size - ends, 0))
        return size, hashlib.blake2b(head + file.read(ends)).digest()


def _formats(found: SourceFiles, source: str) -> set[str]:
    paths = [path for path, each in zip(found.paths, found.sources, strict=True) if each == source][:PEEKED]
    formats = set()
    for path in paths:
        try:
            with Image.open(path) as image:
                formats.add(str(image.format))
        except OSError:  # who reads the picture reports it
            continue
    return formats


def _tell_empty(name: str, folder: Path, paths: Sequence[Path]) -> None:
    """Tell which folders of sources hold no image."""
    holding = {parent for path in paths for parent in path.parents}
    folders = [each for each in sorted(folder.iterdir()) if each.is_dir() and each.name[0] != "."]
    empty = [each for each in folders if each not in holding]
    shown = ", ".join(each.name for each in empty[:SHOWN]) + (", ..." if len(empty) > SHOWN else "")
    report_left_out(name, len(empty), "folders of sources", len(folders), f"they hold no image, {shown}")
