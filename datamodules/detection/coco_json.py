"""Detection annotations in COCO's JSON format as flat arrays: train2017 takes seconds and little memory.

A Python object for each of the 860,000 annotations of COCO train2017 would take more than a gigabyte in every process,
and loading workers would copy it page by page.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from datamodules.common.reports import report, report_left_out
from datamodules.detection.annotation_columns import AnnotationColumns, Ids, Segmentations, whole_side
from datamodules.detection.json_entries import GET_AGAIN, EntryProblem, JsonFile, read_json_file, shortened
from visionscapes.errors import UserError

LISTS = ("images", "annotations", "categories")
SKIP_ORPHANS = "take them out, or train without them, --data.init_args.skip_missing=true"
# What tells another format by its outermost keys, and how to get at one in COCO's format.
OTHER_FORMATS = {
    "shapes": "a file of labelme, which has one for each picture: convert them, with labelme2coco for example",
    "_via_img_metadata": "a project of VIA: choose Annotation, Export Annotations (COCO format) in it",
    "segments_info": "a panoptic file: give that of the instances",
    "samples": "a data set of FiftyOne: export it as fiftyone.types.COCODetectionDataset",
    "assets": "a project of VoTT: export it in COCO's format",
    "infos": "a data set of Datumaro: export it with `datum convert -f coco_instances`",
}


@dataclass(frozen=True)
class CocoAnnotations:
    """What a JSON file in COCO's format says about I pictures with A annotations of K categories.

    Annotations are ordered by picture. Labels are places of category ids in ascending order: those of COCO have gaps.

    Attributes:
        path: of the file.
        category_ids: (K,) int64, or str where the file has texts, ascending; label -> id.
        classes: name of every label.
        frequencies: "r", "c" or "f" of every label, "" where the file does not say (LVIS does).
        image_ids: (I,) int64, or str where the file has texts, ascending.
        files: file name of every picture as the file writes it; the end of the URL in LVIS.
        sizes: (I, 2) int64, height and width, pixels; 0 where the file does not say.
        negative: labels verified to be absent from each picture (LVIS).
        not_exhaustive: labels of which each picture may show more than is annotated (LVIS).
        first: (I + 1,) int64, picture i has annotations first[i] to first[i + 1] - 1.
        ids: (A,) int64, or str where the file has texts.
        places: (A,) int64, where every annotation stands in the list of the file.
        labels: (A,) int64 in [0, K).
        boxes: (A, 4) float64 xywh as in the file, pixels.
        areas: (A,) float64, square pixels; of the box where the file does not say.
        ignored: (A,) bool, crowd, or "ignore" or "difficult" in files made of VOC.
        segmentations: of every annotation, or None if they were not asked for.
    """

    path: Path
    category_ids: np.ndarray
    classes: tuple[str, ...]
    frequencies: tuple[str, ...]
    image_ids: np.ndarray
    files: tuple[str, ...]
    sizes: np.ndarray
    negative: tuple[tuple[int, ...], ...]
    not_exhaustive: tuple[tuple[int, ...], ...]
    first: np.ndarray
    ids: np.ndarray
    places: np.ndarray
    labels: np.ndarray
    boxes: np.ndarray
    areas: np.ndarray
    ignored: np.ndarray
    segmentations: Segmentations | None

    @property
    def images(self) -> np.ndarray:
        """(A,) int64: the place of every annotation's picture among the pictures."""
        return np.repeat(np.arange(len(self.image_ids)), np.diff(self.first))

    def only(self, kept: np.ndarray) -> "CocoAnnotations":
        """Return the same pictures with those annotations alone where ``kept``, (A,) bool, is true."""
        count = np.bincount(self.images[kept], minlength=len(self.image_ids))
        return replace(self, first=_offsets(count), **self._rows(np.flatnonzero(kept)))

    def of(self, places: np.ndarray) -> "CocoAnnotations":
        """Return those pictures alone that stand at ``places``, (M,) int64, ascending, and their annotations."""
        chosen = np.zeros(len(self.image_ids), bool)
        chosen[places] = True
        rows = np.flatnonzero(chosen[self.images])
        return replace(
            self,
            image_ids=self.image_ids[places],
            files=tuple(self.files[place] for place in places),
            sizes=self.sizes[places],
            negative=tuple(self.negative[place] for place in places),
            not_exhaustive=tuple(self.not_exhaustive[place] for place in places),
            first=_offsets(np.diff(self.first)[places]),
            **self._rows(rows),
        )

    def _rows(self, rows: np.ndarray) -> dict[str, Any]:
        packed = self.segmentations
        if packed is not None:
            packed = Segmentations(packed.packed, packed.start[rows], packed.stop[rows], corners=packed.corners[rows])
        columns = {name: getattr(self, name)[rows] for name in ("ids", "places", "labels", "boxes", "areas", "ignored")}
        return columns | {"segmentations": packed}


def read_annotations(path: Path, with_masks: bool = False, skip_orphans: bool = False) -> CocoAnnotations:
    """Read a JSON file in COCO's format; LVIS's is the same with more about each picture and no file names.

    Ids are whole numbers or texts, as the file has them. What a file may leave out: ids of annotations, which are
    numbered then, areas, for which those of the boxes are taken, sizes of pictures, and masks.

    Args:
        path: of the file.
        with_masks: keep the segmentations.
        skip_orphans: leave out annotations of pictures or categories that the file does not define; an error if not.

    Raises:
        UserError: it cannot be read, is not in that format, is cut off, names no picture or one outside of the data
            set, gives an id twice, or an entry lacks something. Whether boxes lie in their pictures is not judged here.
    """
    return read_with_content(path, with_masks=with_masks, skip_orphans=skip_orphans)[0]


def read_with_content(
    path: Path, *, with_masks: bool = False, skip_orphans: bool = False, keep: bool = False
) -> tuple[CocoAnnotations, dict[str, Any]]:
    """Return what `read_annotations` does, and the content of the file, with its annotations if ``keep``."""
    file = read_json_file(path)
    columns = AnnotationColumns(with_masks, keep)
    try:
        content = _content(file, columns)
        return _as_arrays(file, content, columns, skip_orphans), content
    except EntryProblem as problem:
        raise file.error(problem) from problem


def categories_of(coco: CocoAnnotations, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return all that a file says of its categories, by label, with the ids as they were read.

    Args:
        coco: annotations of the file, with all of its categories.
        content: of the file.
    """
    order = _by_number(_ids("categories", content["categories"])).tolist()
    ids = coco.category_ids.tolist()
    return [content["categories"][place] | {"id": number} for place, number in zip(order, ids, strict=True)]


def _content(file: JsonFile, columns: AnnotationColumns) -> dict[str, Any]:
    """Return what stands in the file beside the annotations, which go into ``columns``.

    Raises:
        UserError: it has not the lists of COCO's format.
        EntryProblem: an annotation is not one.
    """
    content = file.parsed(columns.take)
    wrong = f"{file.path} is not a detection file in COCO's format"
    if not isinstance(content, dict):
        what = "a list, such as of detections or of Label Studio's tasks" if isinstance(content, list) else "no object"
        raise UserError(
            f'{wrong}: it holds {what}, and not an object with "images", "annotations" and "categories": export it as'
            ' "COCO"'
        )
    for name in LISTS:
        if not isinstance(content.get(name), list):
            known = next((text for key, text in OTHER_FORMATS.items() if key in content), None)
            raise UserError(f'{wrong}: "{name}" is no list in it; {known}' if known else f'{wrong}: "{name}" is '
                            f"{'no list' if name in content else 'missing'} in it: {GET_AGAIN}")  # fmt: skip
    if not columns.keep or len(content["annotations"]) != len(columns):
        _refuse_leftover(content["annotations"], columns)
    return content


def _refuse_leftover(annotations: list[Any], columns: AnnotationColumns) -> None:
    for place, entry in enumerate(annotations):
        if entry is None and not columns.keep:
            continue
        if not isinstance(entry, dict):
            raise EntryProblem("annotations", place, f"it is {shortened(entry)}, no object", fix="take it out")
        lacking = [field for field in ("image_id", "category_id") if field not in entry]
        if lacking:
            other = "; this is a panoptic file: give that of the instances" if "segments_info" in entry else ""
            problem = f'"{lacking[0]}" is missing{other}'
            raise EntryProblem("annotations", place, problem, fix="give it one, or delete it", entry_id=entry.get("id"))
    if len(annotations) != len(columns):
        raise EntryProblem(
            "annotations", 0, 'there are other objects with "image_id" and "category_id" within the file',
            fix="export the boxes alone, without tracks, keypoints or segments",
        )  # fmt: skip


def _as_arrays(
    file: JsonFile, content: Mapping[str, Any], columns: AnnotationColumns, skip_orphans: bool
) -> CocoAnnotations:
    images, categories = content["images"], content["categories"]
    if not images:
        raise UserError(f"{file.path} is not a detection file in COCO's format: it names no picture: {GET_AGAIN}")
    image_ids, category_ids = _ids("images", images), _ids("categories", categories)
    ids = columns.ids.array()
    files = [_file_name(image, place) for place, image in enumerate(images)]
    _refuse_repeated(file, "images", "id", image_ids)
    _refuse_repeated(file, "images", "file_name", np.array(files))
    _refuse_repeated(file, "categories", "id", category_ids)
    _refuse_repeated(file, "annotations", "id", ids)
    boxes, areas = np.array(columns.boxes, np.float64).reshape(-1, 4), np.array(columns.areas, np.float64)
    _refuse_not_finite(ids, boxes)
    by_id, by_category = np.argsort(image_ids, kind="stable"), _by_number(category_ids)
    image_ids, category_ids = image_ids[by_id], category_ids[by_category]
    images, categories = [images[k] for k in by_id], [categories[k] for k in by_category]
    where = _places(image_ids, columns.images.array())
    labels = _places(category_ids, columns.categories.array())
    known = (where >= 0) & (labels >= 0)
    if not known.all():
        _tell_orphans(file, columns, ids, where, labels, skip_orphans)
    if columns.ids.missing:
        report(
            '%s: %d of %d annotations have no "id"; they are numbered', file.path, len(columns.ids.missing), len(ids)
        )
    if columns.short_polygons:
        report("%s: %d polygons have fewer than three corners and are passed over", file.path, columns.short_polygons)
    if columns.odd_polygons:
        report("%s: %d polygons have an odd number of coordinates, x without y, and are passed over", file.path,
               columns.odd_polygons)  # fmt: skip
    if columns.flat_polygons:
        report("%s: %d annotations have the numbers of one polygon and not a list of polygons, as VIA writes them; they"
               " are taken as that", file.path, columns.flat_polygons)  # fmt: skip
    order = np.flatnonzero(known)[np.argsort(where[known], kind="stable")]
    label_of = {category_id: label for label, category_id in enumerate(category_ids.tolist())}
    lists = [
        tuple(_labels(image, key, place, label_of) for place, image in zip(by_id.tolist(), images, strict=True))
        for key in ("neg_category_ids", "not_exhaustive_category_ids")
    ]
    places = by_id.tolist()
    sizes = [
        [whole_side(image, side, place) for side in ("height", "width")]
        for image, place in zip(images, places, strict=True)
    ]
    return CocoAnnotations(
        path=file.path,
        category_ids=category_ids,
        classes=tuple(_name(category, place) for category, place in zip(categories, by_category.tolist(), strict=True)),
        frequencies=tuple(str(category.get("frequency", "")) for category in categories),
        image_ids=image_ids,
        files=tuple(files[place] for place in places),
        sizes=np.array(sizes, np.int64).reshape(-1, 2),
        negative=lists[0],
        not_exhaustive=lists[1],
        first=_offsets(np.bincount(where[order], minlength=len(image_ids))),
        ids=ids[order],
        places=order,
        labels=labels[order],
        boxes=boxes[order],
        areas=np.where(np.isfinite(areas), areas, boxes[:, 2] * boxes[:, 3])[order],
        ignored=np.array(columns.ignored, bool)[order],
        segmentations=columns.segmentations(order),
    )


def _ids(name: str, entries: Sequence[Any]) -> np.ndarray:
    """Return the ids of pictures or categories.

    Raises:
        EntryProblem: one has none, or no fitting one.
    """
    ids = Ids(name, "id")
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise EntryProblem(name, place, f"it is {shortened(entry)}, no object", fix=GET_AGAIN)
        if entry.get("id") is None:
            raise EntryProblem(name, place, '"id" is missing', fix="give it one, which its annotations name")
        ids.add(entry["id"])
    return ids.array()


def _by_number(ids: np.ndarray) -> np.ndarray:
    """Return the places of ids in ascending order, in that of their numbers if they are texts of digits."""
    if ids.dtype.kind == "U" and all(text.isdecimal() and text.isascii() for text in ids.tolist()):
        return np.array(sorted(range(len(ids)), key=lambda place: (int(ids[place]), ids[place])), np.int64)
    return np.argsort(ids, kind="stable")


def _file_name(image: Mapping[str, Any], place: int) -> str:
    # LVIS v1 has no file_name; its validation pictures lie in train2017 and val2017, which the URL tells.
    name, url = image.get("file_name"), image.get("coco_url")
    if name is None and isinstance(url, str):
        name = "/".join(url.split("/")[-2:])
    if not isinstance(name, str) or not name.strip():
        wrong = "is missing" if name is None else f"is {shortened(name)}"
        raise EntryProblem(
            "images", place, f'"file_name" {wrong}', fix="write the path of its picture", entry_id=image["id"]
        )
    return name


def _name(category: Mapping[str, Any], place: int) -> str:
    if category.get("name") is None:
        fix = "give it one"
        raise EntryProblem("categories", place, '"name" is missing', fix=fix, entry_id=category["id"])
    return str(category["name"])


def _labels(image: Mapping[str, Any], key: str, place: int, label_of: Mapping[Any, int]) -> tuple[int, ...]:
    given = image.get(key) or ()
    unknown = [each for each in given if each not in label_of]
    if unknown:
        problem = f"it names the categories {unknown[:3]} as {key}, which are not defined"
        raise EntryProblem("images", place, problem, fix=GET_AGAIN, entry_id=image["id"])
    return tuple(label_of[each] for each in given)


def _offsets(counts: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _refuse_repeated(file: JsonFile, name: str, field: str, values: np.ndarray) -> None:
    found, first, count = np.unique(values, return_index=True, return_counts=True)
    if (count > 1).any():
        value, place = found[count > 1][0].item(), int(first[count > 1][0])
        again = int(np.flatnonzero(values == value)[1])
        raise EntryProblem(
            name, again, f'"{field}" is {shortened(value)}, as in {file.named(name, place)} ({(count > 1).sum()} '
            "such values are there more than once)", fix=f'make every "{field}" different, or take one out',
        )  # fmt: skip


def _refuse_not_finite(ids: np.ndarray, boxes: np.ndarray) -> None:
    damaged = ~np.isfinite(boxes).all(1)
    if damaged.any():
        place = int(np.argmax(damaged))
        raise EntryProblem(
            "annotations", place, f'"bbox" is {boxes[place].tolist()}, which is not finite ({damaged.sum()} of '
            f"{len(boxes)} boxes)", fix="correct these annotations or delete them", entry_id=ids[place].item(),
        )  # fmt: skip


def _places(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Return where ``wanted`` stand in ``known``, -1 where they do not."""
    if not len(known):
        return np.full(len(wanted), -1)
    if known.dtype.kind != wanted.dtype.kind:  # some tools write "7" here and 7 there
        known, wanted = known.astype(str), wanted.astype(str)
    order = np.argsort(known, kind="stable")
    places = order[np.minimum(np.searchsorted(known, wanted, sorter=order), len(known) - 1)]
    return np.where(known[places] == wanted, places, -1)


def _tell_orphans(
    file: JsonFile, columns: AnnotationColumns, ids: np.ndarray, where: np.ndarray, labels: np.ndarray, skip: bool
) -> None:
    """Say which annotations are of pictures or categories that the file does not define, or refuse them."""
    for found, column, name in ((where, columns.images, "images"), (labels, columns.categories, "categories")):
        lost = np.flatnonzero(found < 0)
        if len(lost):
            place, values = int(lost[0]), column.array()[lost]
            shown = f"{len(lost)} of {len(ids)} annotations are of {len(np.unique(values))} {name} that are not there"
            if not skip:
                raise EntryProblem(
                    "annotations", place, f'"{column.field}" is {shortened(values[0].item())}, which is not in '
                    f'"{name}" ({shown})', fix=SKIP_ORPHANS, entry_id=ids[place].item(),
                )  # fmt: skip
            example = file.named("annotations", place, ids[place].item())
            reason = f'their "{column.field}" is not in "{name}" ({example}: {shortened(values[0].item())})'
            report_left_out(str(file.path), len(lost), "annotations", len(ids), reason)
