"""How often each class occurs in the parts of a data set, and how large its boxes are."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from datamodules.common.inspection.contents import Boxes, PartContents
from datamodules.common.inspection.files import StoredPart
from datamodules.common.inspection.findings import DataFinding

AREAS = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, float("inf"))}  # COCO's
THIN = 20.0  # times as long as wide
IMBALANCED = 100.0  # times as frequent


@dataclass(frozen=True)
class ClassCounts:
    """How often classes occur.

    Attributes:
        things: what is counted: "pictures", "boxes" or "pixels of label maps".
        names: of the classes.
        counts: (K,) of each.
        ignored: how many more are crowds or difficult.
        removed: how many more a sparse split has taken away.
    """

    things: str
    names: tuple[str, ...]
    counts: NDArray[np.int64]
    ignored: int = 0
    removed: int = 0


def class_counts(part: PartContents, stored: StoredPart | None) -> ClassCounts | None:
    """Return how often the classes of a part occur; None if it has none."""
    if part.boxes is not None:
        things, counts = "boxes", np.bincount(part.boxes.labels, minlength=len(part.classes))
    elif part.maps and stored is not None and stored.label_pixels is not None:
        things, counts = "pixels of label maps", stored.label_pixels
    elif part.labels is not None:
        known = part.labels[part.labels >= 0]
        things, counts = "pictures", np.bincount(known, minlength=len(part.classes))
    else:
        return None
    unnamed = range(len(part.classes), len(counts))
    names = (*part.classes, *(f"label {label}" for label in unnamed))
    besides = {} if part.boxes is None else {"ignored": part.boxes.ignored, "removed": part.boxes.removed}
    return ClassCounts(things, tuple(map(str, names)), counts.astype(np.int64), **besides)


def findings_of_classes(counts: Mapping[str, ClassCounts]) -> Iterator[DataFinding]:
    """Yield what is odd about the classes of the parts.

    Args:
        counts: by part; the first is trained on.
    """
    if not counts:
        return
    trained, here = next(iter(counts.items()))
    if not here.counts.sum():
        yield DataFinding("error", trained, _nothing(here))
        return
    absent = [name for name, count in zip(here.names, here.counts, strict=True) if not count]
    if absent:
        text = f"{len(absent)} of {len(here.names)} classes have no {here.things} to train on"
        yield DataFinding("warning", trained, text, examples=tuple(absent))
    present = here.counts[here.counts > 0]
    ratio = present.max() / present.min()
    if ratio > IMBALANCED and here.things != "pixels of label maps":
        most, least = (
            here.names[int(here.counts.argmax())],
            here.names[int(np.where(here.counts, here.counts, present.max() + 1).argmin())],
        )
        text = f"the most frequent class ({most}) has {ratio:,.0f} times as many {here.things} as the rarest ({least})"
        yield DataFinding("warning", trained, text)
    for name, other in counts.items():
        if name == trained or other.names != here.names:
            continue
        unseen = [each for each, a, b in zip(here.names, here.counts, other.counts, strict=True) if b and not a]
        if unseen:
            yield DataFinding(
                "warning", name, f"{len(unseen)} classes occur here and not in {trained}", examples=tuple(unseen)
            )


def _nothing(here: ClassCounts) -> str:
    """Return what to say where nothing is counted."""
    besides = [(here.ignored, "crowds or difficult"), (here.removed, "taken away by a sparse split or as unlabelled")]
    found = [f"{count} are {what}" for count, what in besides if count]
    if not found:
        return f"there are no {here.things} of any class"
    return f"no {here.things} are left to learn from: {', '.join(found)}"


@dataclass(frozen=True)
class BoxFigures:
    """How large the boxes of a part are.

    Attributes:
        count: of boxes that are trained or evaluated on.
        per_picture: mean over all pictures.
        areas: how many are small, medium and large in COCO's terms.
        sides: 5, 50 and 95 % quantiles of the square root of the area, pixels.
        aspects: the same of width by height.
        empty_pictures: without a box.
        ignored: crowds and difficult ones besides.
        removed: taken away by a sparse split besides.
        flat: of no area.
        outside: that reach beyond their picture by more than half a pixel.
    """

    count: int
    per_picture: float
    areas: dict[str, int]
    sides: list[float]
    aspects: list[float]
    empty_pictures: int
    ignored: int
    removed: int
    flat: int
    outside: int


def box_figures(boxes: Boxes, pictures: int) -> BoxFigures:
    """Return the figures of boxes.

    Args:
        boxes: of a part.
        pictures: that the part has.
    """
    corners = boxes.corners.astype(np.float64)
    width, height = corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1]
    sound = (width > 0) & (height > 0)
    area = (width * height)[sound]
    high, wide = boxes.sizes[:, 0], boxes.sizes[:, 1]
    outside = (corners[:, :2].min(1, initial=0) < -0.5) | (corners[:, 2] > wide + 0.5) | (corners[:, 3] > high + 0.5)
    return BoxFigures(
        count=len(corners),
        per_picture=len(corners) / pictures if pictures else 0.0,
        areas={name: int(((area >= low) & (area < most)).sum()) for name, (low, most) in AREAS.items()},
        sides=quantiles(np.sqrt(area)),
        aspects=quantiles(width[sound] / height[sound]),
        empty_pictures=boxes.empty_pictures,
        ignored=boxes.ignored,
        removed=boxes.removed,
        flat=int((~sound).sum()),
        outside=int(outside.sum()),
    )


def findings_of_boxes(name: str, boxes: Boxes, figures: BoxFigures) -> Iterator[DataFinding]:
    """Yield what is odd about the boxes of a part."""
    if figures.flat:
        yield DataFinding("warning", name, f"{figures.flat} of {figures.count} boxes have no area")
    if figures.outside:
        yield DataFinding("warning", name, f"{figures.outside} of {figures.count} boxes reach beyond their picture")
    width, height = (boxes.corners[:, 2:] - boxes.corners[:, :2]).astype(np.float64).T
    sound = (width > 0) & (height > 0)
    thin = int((np.maximum(width[sound] / height[sound], height[sound] / width[sound]) > THIN).sum())
    if thin:
        yield DataFinding(
            "warning", name, f"{thin} of {figures.count} boxes are more than {THIN:g} times as long as wide"
        )
    tiny = int((np.minimum(width, height)[sound] < 1).sum())
    if tiny:
        yield DataFinding("warning", name, f"{tiny} of {figures.count} boxes have a side below one pixel")
    whole = (width >= boxes.sizes[:, 1] - 1) & (height >= boxes.sizes[:, 0] - 1)
    if whole.sum() > max(3, 0.2 * len(whole)):
        yield DataFinding("warning", name, f"{int(whole.sum())} of {figures.count} boxes are the whole picture")


def quantiles(values: NDArray[np.floating]) -> list[float]:
    """Return the 5, 50 and 95 % quantiles; none of nothing."""
    return [float(value) for value in np.quantile(values, [0.05, 0.5, 0.95])] if len(values) else []
