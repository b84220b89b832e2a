"""The samples of a part as they are stored: which cannot be read, which are copies, how large they are."""

import os
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool

import numpy as np
from numpy.typing import NDArray

from datamodules.common.image_files import UnreadableImageError
from datamodules.common.inputs import printable
from datamodules.common.inspection.contents import Opened, PartContents
from datamodules.common.inspection.findings import DataFinding
from visionscapes.errors import UserError
from visionscapes.progress import track

SMALL = 32  # pixels of the shorter side; below there is little to learn from a photograph


@dataclass(frozen=True)
class StoredPart:
    """What looking at the files of a part has shown; F of its samples were looked at.

    Attributes:
        count: of all samples.
        positions: (F,) of the samples that were looked at.
        names: of these.
        sizes: (R, 2) width and height in pixels of those R that have a picture that can be read.
        faults: what is wrong with those that cannot be used, by name.
        digests: of those that can be read, by position.
        plain: names of those of a single colour.
        label_pixels: how many pixels of the label maps have each label; None without maps.
        unlabelled: how many more have none.
    """

    count: int
    positions: NDArray[np.int64]
    names: Sequence[str]
    sizes: NDArray[np.int64]
    faults: Mapping[str, str]
    digests: Mapping[int, bytes]
    plain: Sequence[str]
    label_pixels: NDArray[np.int64] | None
    unlabelled: int = 0

    def named(self, position: int) -> str:
        """Return the name of a sample."""
        return self.names[int(np.searchsorted(self.positions, position))]


def look_at_files(name: str, part: PartContents, most: int | None) -> StoredPart:
    """Read the samples of a part whole, in threads.

    Args:
        name: of the part, for the display of progress.
        part: of a data set.
        most: samples that are read, spread evenly; all if None.
    """
    count = len(part.names)
    read = count if most is None else min(most, count)
    positions = np.unique(np.linspace(0, count - 1, read).round().astype(np.int64)) if read else np.empty(0, np.int64)

    def tried(position: int) -> Opened | str:
        try:
            return part.open(int(position))
        except UserError as error:
            return error.fault if isinstance(error, UnreadableImageError) and error.fault else str(error)

    names = [printable(part.names[position]) for position in positions]
    sizes, faults, digests, plain = [], {}, {}, []
    label_pixels, unlabelled = np.zeros(len(part.classes), np.int64) if part.maps else None, 0
    with ThreadPool(min(16, os.cpu_count() or 1)) as threads:
        found = track(threads.imap(tried, positions, chunksize=4), f"reading {name}", len(positions))
        for position, sample_name, sample in zip(positions.tolist(), names, found, strict=True):
            if isinstance(sample, str):
                faults[sample_name] = sample
                continue
            digests[position] = sample.digest
            sizes += [sample.size] if sample.size is not None else []
            plain += [sample_name] if sample.plain else []
            if label_pixels is not None and sample.label_pixels is not None:
                label_pixels += sample.label_pixels[: len(label_pixels)]
                unlabelled += int(sample.label_pixels[len(label_pixels) :].sum())
    return StoredPart(
        count=count,
        positions=positions,
        names=names,
        sizes=np.array(sizes, np.int64).reshape(-1, 2),
        faults=faults,
        digests=digests,
        plain=plain,
        label_pixels=label_pixels,
        unlabelled=unlabelled,
    )


def copies(stored: StoredPart) -> list[list[int]]:
    """Return the positions of samples that have the same pixels, in groups of two or more, in order."""
    groups = defaultdict(list)
    for position, digest in stored.digests.items():
        groups[digest].append(position)
    return [group for group in groups.values() if len(group) > 1]


def findings_of_files(name: str, part: PartContents, stored: StoredPart) -> Iterator[DataFinding]:
    """Yield what is wrong with the files of a part.

    Args:
        name: of the part.
        part: of the data set.
        stored: what its files have shown.
    """
    if stored.faults:
        text = f"{len(stored.faults)} of {len(stored.positions)} samples cannot be read"
        yield DataFinding("error", name, text, examples=tuple(stored.faults.values()))
    if stored.plain:
        text = f"{len(stored.plain)} pictures have one colour throughout"
        yield DataFinding("warning", name, text, examples=tuple(stored.plain))
    if stored.label_pixels is not None and stored.unlabelled:
        share = stored.unlabelled / (stored.unlabelled + int(stored.label_pixels.sum()))
        yield DataFinding("warning", name, f"{share:.1%} of the pixels of label maps have no label (ignore_label)")
    small = int((stored.sizes.min(1) < SMALL).sum()) if len(stored.sizes) else 0
    if small and len(stored.sizes) and np.median(stored.sizes.min(1)) >= SMALL:
        yield DataFinding("warning", name, f"{small} pictures have a side of fewer than {SMALL} pixels")
    groups = copies(stored)
    if groups:
        extra = sum(map(len, groups)) - len(groups)
        examples = tuple(" = ".join(stored.named(position) for position in group) for group in groups)
        yield DataFinding("warning", name, f"{extra} pictures are copies of others in the same part", examples=examples)
    if groups and part.labels is not None:
        unlike = [group for group in groups if len({int(part.labels[position]) for position in group}) > 1]
        if unlike:
            text = f"{len(unlike)} pictures are there more than once, with different labels"
            examples = tuple(" = ".join(f"{stored.named(p)} ({_class_of(part, p)})" for p in group) for group in unlike)
            yield DataFinding("warning", name, text, examples=examples)


def findings_between(stored: Mapping[str, StoredPart]) -> Iterator[DataFinding]:
    """Yield what two parts share: what is trained on tells nothing when it is evaluated on."""
    parts = list(stored)
    for place, first in enumerate(parts):
        here = {digest: position for position, digest in reversed(list(stored[first].digests.items()))}
        for second in parts[place + 1 :]:
            shared = [(here[digest], position) for position, digest in stored[second].digests.items() if digest in here]
            if shared:
                examples = tuple(f"{stored[first].named(one)} = {stored[second].named(other)}" for one, other in shared)
                text = f"{len(shared)} pictures of {second} are in {first} too, so that {second} says less"
                yield DataFinding("warning", f"{first} and {second}", text, examples=examples)


def _class_of(part: PartContents, position: int) -> str:
    assert part.labels is not None
    label = int(part.labels[position])
    return part.classes[label] if 0 <= label < len(part.classes) else str(label)
