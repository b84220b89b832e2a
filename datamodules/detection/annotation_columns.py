"""What stands in the lists of a file in COCO's format, taken into columns while the file is parsed."""

import math
import pickle
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from datamodules.common.run_length import LEAST_NUMBERS
from datamodules.detection.json_entries import EntryProblem, shortened
from visionscapes.checks import LARGEST_INTEGER

FLAGS = ("iscrowd", "ignore", "difficult")  # COCO; VOC as some converters write it; VOC
NUMBERS = (int, float)
NOWHERE = (math.nan, math.nan)
WRITE_ID = "write a whole number or a text"


@dataclass(frozen=True)
class Segmentations:
    """The "segmentation" entries of A annotations, packed, because few are needed at a time.

    Attributes:
        packed: all entries, one after the other.
        start: (A,) int64, where in ``packed`` the entry of an annotation begins.
        stop: (A,) int64, where it ends; where it begins if there is nothing that a mask could be drawn of.
        corners: (A, 2) float64, x and y of the first corner of the first polygon, pixels; NaN where there is none.
    """

    packed: bytearray
    start: np.ndarray
    stop: np.ndarray
    corners: np.ndarray

    @property
    def absent(self) -> np.ndarray:
        """(A,) bool: which have no mask: null, empty, or polygons alone of too few or an odd number of coordinates."""
        return self.start == self.stop

    def __getitem__(self, place: int) -> Any:
        """Return the entry of an annotation as it was in the file; None if no mask can be drawn of it."""
        entry = self.packed[self.start[place] : self.stop[place]]
        return pickle.loads(entry) if entry else None  # our own bytes, of this process


class Ids:
    """The values of a field that names things: whole numbers, or texts such as UUIDs, one kind in a list.

    Args:
        name: of the list that the field is in.
        field: such as "image_id".
    """

    def __init__(self, name: str, field: str):
        self.name, self.field = name, field
        self.numbers = array("q")
        self.texts: dict[int, str] = {}
        self.missing: list[int] = []

    def add(self, value: Any, entry_id: Any = None) -> None:
        """Take one value.

        Raises:
            EntryProblem: it is neither a whole number nor a text.
        """
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        if isinstance(value, str) and value:
            self.texts[len(self.numbers)] = value
            value = 0
        if isinstance(value, bool) or not isinstance(value, int):
            raise self._problem(f"is {shortened(value)}, which is no whole number and no text", WRITE_ID, entry_id)
        if abs(value) > LARGEST_INTEGER:
            raise self._problem(f"is {value}, which does not fit into 64 bits", "write it as a text", entry_id)
        self.numbers.append(value)

    def add_missing(self) -> None:
        """Take an entry without this field; `array` gives it a number."""
        self.missing.append(len(self.numbers))
        self.numbers.append(0)

    def array(self) -> np.ndarray:
        """Return (N,) int64, or (N,) str if the values are texts.

        Raises:
            EntryProblem: some are numbers and some texts.
        """
        if self.texts and len(self.texts) < len(self.numbers):
            place = next(place for place in range(len(self.numbers)) if (place in self.texts) != (0 in self.texts))
            value = self.texts.get(place, self.numbers[place])
            if place in self.missing:
                raise EntryProblem(
                    self.name, place, f'"{self.field}" is missing', fix="give it one, as all others have"
                )
            kinds = ("a number", "a text") if place in self.texts else ("a text", "a number")
            problem = f'"{self.field}" is {shortened(value)}, {kinds[1]}, and {kinds[0]} in the entries before'
            raise EntryProblem(self.name, place, problem, fix="write all as numbers or all as texts")
        if self.texts:
            return np.array(list(self.texts.values()))
        values = np.array(self.numbers, np.int64)
        if self.missing:
            taken = np.delete(values, self.missing)
            values[self.missing] = np.arange(len(self.missing)) + taken.max(initial=0) + 1
        return values

    def _problem(self, problem: str, fix: str, entry_id: Any) -> EntryProblem:
        text = f'"{self.field}" {problem}'
        return EntryProblem(self.name, len(self.numbers), text, fix=fix, entry_id=entry_id)


class AnnotationColumns:
    """Takes annotations out of a JSON file while it is parsed, so that they never exist as objects all at once.

    Args:
        with_masks: keep the segmentations.
        keep: leave the annotations in the content of the file, too.
    """

    def __init__(self, with_masks: bool, keep: bool = False):
        self.with_masks, self.keep = with_masks, keep
        self.ids = Ids("annotations", "id")
        self.images, self.categories = Ids("annotations", "image_id"), Ids("annotations", "category_id")
        self.boxes, self.areas, self.ignored = array("d"), array("d"), array("b")
        self.packed, self.ends, self.corners = bytearray(), array("q"), array("d")
        self.short_polygons = self.odd_polygons = self.flat_polygons = 0
        self._id, self._image, self._category = (
            column.numbers.append for column in (self.ids, self.images, self.categories)
        )

    def __len__(self) -> int:
        return len(self.ignored)

    def take(self, entry: dict[str, Any]) -> dict[str, Any] | None:
        """Take an annotation, and return None in its place unless it is to be kept; return any other object."""
        if "image_id" not in entry or "category_id" not in entry:
            return entry
        get = entry.get
        try:  # as nearly all are: appending checks the types, and costs a third of doing so
            x, y, width, height = entry["bbox"]
            self.boxes.extend((x, y, width, height))
            area = get("area")
            self.areas.append(width * height if area is None else area)
            number, image, category = entry["id"], entry["image_id"], entry["category_id"]
            self._id(number)
            self._image(image)
            self._category(category)
            if type(number) is bool or type(image) is bool or type(category) is bool:
                raise TypeError  # arrays take True for 1
            flagged = get("iscrowd") or get("ignore") or get("difficult")
        except (KeyError, TypeError, ValueError, OverflowError):
            flagged = self._take_odd(entry)
        if self.with_masks:
            self._take_mask(get("segmentation"))
        self.ignored.append(self._flag(entry) if flagged else False)  # last: it counts the annotations
        return entry if self.keep else None

    def segmentations(self, order: np.ndarray) -> Segmentations | None:
        """Return what was kept of them, for annotations in ``order``."""
        if not self.with_masks:
            return None
        bounds = np.array([0, *self.ends], np.int64)
        corners = np.array(self.corners, np.float64).reshape(-1, 2)
        return Segmentations(self.packed, bounds[:-1][order], bounds[1:][order], corners=corners[order])

    def _take_odd(self, entry: dict[str, Any]) -> bool:
        """Take what can be understood of an annotation, or say what cannot."""
        place = len(self.ignored)
        del self.boxes[4 * place :], self.areas[place:]
        for column in (self.ids, self.images, self.categories):
            del column.numbers[place:]
        entry_id = entry.get("id")
        box = self._numbers(entry, "bbox", entry_id)
        self.boxes.extend(box)
        self.areas.append(self._area(entry, box, entry_id))
        if entry_id is None:
            self.ids.add_missing()
        else:
            self.ids.add(entry_id, entry_id)
        self.images.add(entry["image_id"], entry_id)
        self.categories.add(entry["category_id"], entry_id)
        return True

    def _numbers(self, entry: dict[str, Any], field: str, entry_id: Any) -> Sequence[float]:
        try:
            numbers = [float(each) for each in entry[field]]
            if len(numbers) != 4:
                raise ValueError
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            wrong = f"is {shortened(entry[field])}" if field in entry else "is missing"
            problem = f'"{field}" {wrong}; it has to be x, y, width, height in pixels'
            fix = "correct it, or delete the annotation"
            raise EntryProblem("annotations", len(self), problem, fix=fix, entry_id=entry_id) from error
        return numbers

    def _area(self, entry: dict[str, Any], box: Sequence[float], entry_id: Any) -> float:
        area = entry.get("area")
        try:
            return box[2] * box[3] if area is None else float(area)
        except (TypeError, ValueError, OverflowError) as error:
            problem, fix = f'"area" is {shortened(area)}, no number', "correct it, or leave it out for that of the box"
            raise EntryProblem("annotations", len(self), problem, fix=fix, entry_id=entry_id) from error

    def _flag(self, entry: dict[str, Any]) -> bool:
        for field in FLAGS:
            try:
                if int(entry.get(field) or 0):
                    return True
            except (TypeError, ValueError, OverflowError) as error:
                problem = f'"{field}" is {shortened(entry[field])}'
                raise EntryProblem(
                    "annotations", len(self), problem, fix="write 0 or 1", entry_id=entry.get("id")
                ) from error
        return False

    def _take_mask(self, segmentation: Any) -> None:
        """Keep what a mask is drawn of: not null, nor nothing but polygons that are none."""
        corner: tuple[float, float] = NOWHERE
        if type(segmentation) is list and segmentation:
            if type(segmentation[0]) in NUMBERS and all(type(number) in NUMBERS for number in segmentation):
                segmentation = [segmentation]
                self.flat_polygons += 1
            if not all(map(_is_polygon, segmentation)):
                segmentation = self._without_odd(segmentation)
            if segmentation and type(segmentation[0]) is list:
                corner = segmentation[0][0], segmentation[0][1]
        if segmentation:
            self.packed += pickle.dumps(segmentation)
        self.ends.append(len(self.packed))
        try:
            self.corners.extend(corner)
        except (TypeError, OverflowError):  # no number, which is told when the mask is drawn
            del self.corners[2 * len(self.ends) - 2 :]
            self.corners.extend(NOWHERE)

    def _without_odd(self, polygons: list[Any]) -> list[Any] | None:
        """Return the polygons that are some, and count the others; None if there is none."""
        kept = [each for each in polygons if _is_polygon(each)]
        if not kept:
            return None
        passed_over = [len(each) for each in polygons if not _is_polygon(each)]
        self.short_polygons += sum(length < LEAST_NUMBERS for length in passed_over)
        self.odd_polygons += sum(length >= LEAST_NUMBERS for length in passed_over)
        return kept


def _is_polygon(given: Any) -> bool:
    """Return whether it is one, or something else that is no list, which is told when it is drawn."""
    return type(given) is not list or (len(given) >= LEAST_NUMBERS and len(given) % 2 == 0)


def whole_side(image: dict[str, Any], field: str, place: int) -> int:
    """Return "height" or "width" of a picture, pixels; 0 where the file does not say.

    Raises:
        EntryProblem: it is no whole number, or negative.
    """
    value = image.get(field) or 0
    try:
        number = float(value)
        if math.isfinite(number) and number.is_integer() and number >= 0:
            return int(number)
    except (TypeError, ValueError, OverflowError):
        pass
    problem = f'"{field}" is {shortened(value)}; it has to be a whole number of pixels'
    raise EntryProblem("images", place, problem, fix="write that of the picture file", entry_id=image.get("id"))
