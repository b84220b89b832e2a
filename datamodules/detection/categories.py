"""Categories of files that belong together: which stand for the same class, and which stand for nothing."""

from collections import Counter
from dataclasses import replace

import numpy as np

from datamodules.common.reports import report, report_left_out
from datamodules.detection.coco_json import CocoAnnotations
from visionscapes.errors import UserError

SHOWN = 5  # names in a message


def tell_categories(coco: CocoAnnotations) -> None:
    """Tell what is odd about the categories of a file: several of one name, and an unused one of id 0.

    Roboflow writes a category 0 that stands for all others, labelme's example one for the background: they would be a
    class that nothing is ever found of.
    """
    names = Counter(coco.classes)
    for name in [name for name, count in names.items() if count > 1][:SHOWN]:
        ids = [str(coco.category_ids[label]) for label, other in enumerate(coco.classes) if other == name]
        report('%s: %d categories are called "%s" (ids %s); each counts as a class of its own', coco.path, len(ids),
               name, ", ".join(ids))  # fmt: skip
    used = np.bincount(coco.labels, minlength=len(coco.classes))
    if len(used) > 1 and str(coco.category_ids[0]) == "0" and not used[0] and used[1:].any():
        report('%s: no annotation is of the category 0, "%s", which counts as a class all the same; leave it out with '
               "--data.init_args.leave_out_unused=true", coco.path, coco.classes[0])  # fmt: skip


def used_categories(first: CocoAnnotations, *others: CocoAnnotations | None) -> np.ndarray:
    """Return which categories of the first file are annotated in one of the files, (K,) bool."""
    used = np.zeros(len(first.classes), bool)
    used[first.labels] = True
    names = {each.classes[label] for each in others if each is not None for label in np.unique(each.labels)}
    return used | np.array([name in names for name in first.classes], bool)


def without_unused(coco: CocoAnnotations, used: np.ndarray) -> CocoAnnotations:
    """Return the annotations without the categories that are not ``used``, (K,) bool, and tell which they are.

    Raises:
        UserError: none is used.
    """
    if used.all():
        return coco
    if not used.any():
        raise UserError(f"{coco.path}: no annotation is of any category: give the file with the boxes")
    gone = [name for name, stays in zip(coco.classes, used, strict=True) if not stays]
    report_left_out(str(coco.path), len(gone), "categories", len(used), f"nothing is annotated with {_some(gone)}")
    kept = np.flatnonzero(used)
    places = np.full(len(used), -1)
    places[kept] = np.arange(len(kept))
    return _relabelled(
        coco,
        places,
        category_ids=coco.category_ids[kept],
        classes=tuple(coco.classes[label] for label in kept),
        frequencies=tuple(coco.frequencies[label] for label in kept),
    )


def aligned(coco: CocoAnnotations, reference: CocoAnnotations) -> CocoAnnotations:
    """Return annotations with the categories of another file, found by their names; it is told where they differ.

    Args:
        coco: the annotations; they may lack categories, and have others that no annotation is of.
        reference: whose categories are kept, with their order and ids.

    Raises:
        UserError: an annotation is of a category that ``reference`` does not have, or several have one name.
    """
    ids, others = coco.category_ids.tolist(), reference.category_ids.tolist()
    if coco.classes == reference.classes and ids == others:
        return coco
    pairs = list(zip(coco.classes, ids, strict=True)), list(zip(reference.classes, others, strict=True))
    repeated = len(set(reference.classes)) < len(reference.classes) or len(set(coco.classes)) < len(coco.classes)
    keys: tuple[list, list] = pairs if repeated else (list(coco.classes), list(reference.classes))
    label_of = {key: label for label, key in enumerate(keys[1])}
    places = np.array([label_of.get(key, -1) for key in keys[0]], np.int64)
    used = np.unique(coco.labels)
    unknown = [coco.classes[label] for label in used[places[used] < 0].tolist()]
    if unknown:
        reason = ", and several categories have one name, so that ids have to agree too" if repeated else ""
        raise UserError(
            f"{coco.path} has annotations of {_some(unknown)}, which {reference.path} does not define{reason}: give "
            "files of the same classes, or take these annotations out"
        )
    if coco.path != reference.path:  # one file, some of whose categories were left out
        report("%s and %s define other categories (%d and %d, %d of them by the same name and id); they are matched by "
               "name%s", reference.path, coco.path, len(others), len(ids), len(set(pairs[0]) & set(pairs[1])),
               " and id" if repeated else "")  # fmt: skip
    return _relabelled(
        coco,
        places,
        category_ids=reference.category_ids,
        classes=reference.classes,
        frequencies=reference.frequencies,
    )


def _relabelled(
    coco: CocoAnnotations,
    places: np.ndarray,
    *,
    category_ids: np.ndarray,
    classes: tuple[str, ...],
    frequencies: tuple[str, ...],
) -> CocoAnnotations:
    """Return the annotations with other categories; ``places`` (K,) int64 says which one each of now becomes."""

    def moved(labels: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
        return tuple(tuple(int(places[label]) for label in each if places[label] >= 0) for each in labels)

    return replace(
        coco,
        category_ids=category_ids,
        classes=classes,
        frequencies=frequencies,
        labels=places[coco.labels],
        negative=moved(coco.negative),
        not_exhaustive=moved(coco.not_exhaustive),
    )


def _some(names: list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
