"""What a detector finds in a user's own pictures, as COCO results and as pictures."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from callbacks.detection.drawn_objects import Drawn, as_image, as_jpeg, drawn, shortened
from callbacks.detection.evaluation import as_array
from callbacks.results.prediction_writer import PredictionWriter
from networks.detection.samples import with_area
from visionscapes.checks import PositiveInt, Share, check_options
from visionscapes.files import atomic_write, make_folder, write_bytes, write_json
from visionscapes.processes import rank_and_world_size

RESULTS, COMPANION = "detections.json", "detections_images.json"
CLASSES_SHOWN = 20  # on the terminal
UPRIGHT = "the picture as it is looked at, turned as its EXIF orientation says"
STORED = "the picture as it is stored, which the annotations of the data set refer to"


@dataclass(frozen=True)
class Written:
    """Where the detections of a picture are until all are done.

    Attributes:
        image_id: of the picture.
        size: height and width in pixels.
        rank: of the process that detected.
        start: of its lines in the file of that process, bytes.
        stop: of its lines.
        counts: detections by label.
        certain: those of ``min_score`` or more, by label.
        flat: boxes without area that were left out.
    """

    image_id: int | str
    size: tuple[int, int]
    rank: int
    start: int
    stop: int
    counts: dict[int, int]
    certain: dict[int, int]
    flat: int


class DetectionWriter(PredictionWriter):
    """Writes what a detector finds in the pictures that ``predict`` goes through; part of every run.

    In the run folder:

    - detections.json: a list as COCO's results are: "image_id", "category_id", "bbox" (x, y, width, height in pixels),
      "score", of a detector with masks "segmentation" (compressed RLE), and "file_name" beside. Category ids are those
      of the training data.
    - detections_images.json: "info", "images" and "categories" that these refer to. Where there is no annotation,
      ``pycocotools.coco.COCO("detections_images.json").loadRes("detections.json")`` reads both.
    - pictures/<name>.jpg: every picture with boxes, names and scores.

    Boxes are in pixels of the picture as it is looked at: photographs are turned as their EXIF orientation says. Those
    without area are left out and counted; evaluation counts them as any other, as pycocotools does. Of several
    processes the first writes the files of all. Both files appear when all pictures are done, whole.

    Args:
        min_score: in [0, 1], from which on detections are drawn and counted; detections.json has all.
        top: so many detections of a picture are kept, the best; all if None.
        pictures: whether to draw pictures.

    Raises:
        UserError: an option is out of its bounds; a module whose ``predict_step`` does not return detections.
    """

    needed = "detections"
    remedy = "use it with Detector, SparseDet or what is compared with it"
    folder = "detections"
    task = "detect"

    def __init__(self, min_score: Share = 0.3, top: PositiveInt | None = None, pictures: bool = True):
        check_options(DetectionWriter, locals())
        super().__init__()
        self.min_score, self.top, self.pictures = min_score, top, pictures
        self._lines: IO[bytes] | None = None
        self._categories: list[dict[str, Any]] = []

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        super().on_predict_start(trainer, pl_module)
        self._close()
        self._categories = []

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()
        super().on_exception(trainer, pl_module, exception)

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, Sequence) and all(
            isinstance(each, Mapping) and each.keys() >= {"boxes", "scores", "labels"} for each in outputs
        )

    @override
    def write_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: Any
    ) -> dict[str, Written]:
        if self._lines is None:
            self._categories = categories_of(trainer, pl_module)
            make_folder(self._staging(trainer))
            self._lines = self._lines_of(trainer, rank_and_world_size()[0]).open("wb")
        written = {}
        pictures = zip(batch["name"], batch["image_id"], batch["size"], batch["image"], outputs, strict=True)
        for name, image_id, size, image, found in pictures:
            height, width = (int(side) for side in size)
            found, flat = with_area(found)
            best = best_of(found, self.top)
            written[name] = self._write(self._lines, best, name, image_id=image_id, size=(height, width), flat=flat)
            if self.pictures:
                picture = drawn(as_image(image), (height, width), self._objects(best), self._note(best))
                write_bytes(Path(trainer.default_root_dir) / "pictures" / f"{name}.jpg", as_jpeg(picture))
        return written

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()
        super().on_predict_end(trainer, pl_module)

    @override
    def conclude(self, trainer: Trainer, records: Mapping[str, Written]) -> str | None:
        if not records:
            return None
        folder = Path(trainer.default_root_dir)
        ordered = sorted(records.items(), key=lambda item: place_of(item[1].image_id))
        with atomic_write(folder / RESULTS, "w") as file:
            write_list(file, self._lines_in_order(trainer, [record for _, record in ordered]))
        images = [
            {"id": each.image_id, "file_name": name, "height": each.size[0], "width": each.size[1]}
            for name, each in ordered
        ]
        self._categories = self._categories or categories_of(trainer, trainer.lightning_module)
        categories = self._categories or numbered(1 + max((max(each.counts, default=-1) for _, each in ordered)))
        write_json(
            folder / COMPANION,
            {"info": info(trainer), "images": images, "annotations": [], "categories": categories},
            indent=None,
        )
        return self._summary(folder, [record for _, record in ordered])

    def _write(
        self,
        lines: IO[bytes],
        found: Mapping[str, Any],
        name: str,
        *,
        image_id: int | str,
        size: tuple[int, int],
        flat: int,
    ) -> Written:
        """Write the detections of a picture, one a line."""
        start = lines.tell()
        boxes, scores, labels = (as_array(found[key]) for key in ("boxes", "scores", "labels"))
        corners, sides = boxes[:, :2], boxes[:, 2:] - boxes[:, :2]
        for row, label in enumerate(labels.tolist()):
            entry = {"image_id": image_id, "category_id": self._category(label)["id"]}
            entry["bbox"] = [shortest(each) for each in (*corners[row], *sides[row])]
            entry["score"] = shortest(scores[row])
            if "masks" in found:
                mask = found["masks"][row]
                entry["segmentation"] = {
                    "size": [int(side) for side in mask["size"]],
                    "counts": as_text(mask["counts"]),
                }
            lines.write(json.dumps(entry | {"file_name": name}).encode() + b"\n")
        certain = labels[scores >= self.min_score].tolist()
        return Written(
            image_id,
            size,
            rank=rank_and_world_size()[0],
            start=start,
            stop=lines.tell(),
            counts=dict(Counter(labels.tolist())),
            certain=dict(Counter(certain)),
            flat=flat,
        )

    def _objects(self, found: Mapping[str, Any]) -> list[Drawn]:
        masks, objects = found.get("masks"), []
        boxes, scores, labels = (as_array(found[key]).tolist() for key in ("boxes", "scores", "labels"))
        for row, (box, score, label) in enumerate(zip(boxes, scores, labels, strict=True)):
            if score >= self.min_score:
                name = self._category(label)["name"]
                mask = None if masks is None else masks[row]
                objects.append(Drawn(box, label, name, text=f"{shortened(name)} {score:.2f}", mask=mask))
        return objects

    def _note(self, found: Mapping[str, Any]) -> str:
        scores = as_array(found["scores"])
        if (scores >= self.min_score).any():
            return ""
        best = f", the best of {len(scores)} has {scores.max():.2f}" if len(scores) else ""
        return f"nothing of score {self.min_score:.2f} or more{best}"

    def _category(self, label: int) -> dict[str, Any]:
        return self._categories[label] if self._categories else {"id": label, "name": f"class {label}"}

    def _lines_of(self, trainer: Trainer, rank: int) -> Path:
        return self._staging(trainer) / f"rank-{rank}.jsonl"

    def _lines_in_order(self, trainer: Trainer, records: Sequence[Written]) -> Iterator[str]:
        """Yield the detections of all pictures in their order, out of the files of all processes."""
        with ExitStack() as opened:
            files = {
                rank: opened.enter_context(self._lines_of(trainer, rank).open("rb"))
                for rank in {record.rank for record in records}
            }
            for record in records:
                files[record.rank].seek(record.start)
                yield from files[record.rank].read(record.stop - record.start).decode().splitlines()

    def _summary(self, folder: Path, records: Sequence[Written]) -> str:
        every, certain = (
            sum((Counter(each) for each in part), Counter())
            for part in ([record.counts for record in records], [record.certain for record in records])
        )
        named = [f"{self._category(label)['name']} {count}" for label, count in certain.most_common(CLASSES_SHOWN)]
        if len(certain) > CLASSES_SHOWN:
            named.append(f"and {len(certain) - CLASSES_SHOWN} classes more")
        empty = sum(not record.certain for record in records)
        lines = [
            f"{amount(len(records), 'picture')}, {amount(every.total(), 'detection')}, {certain.total()} of score "
            f"{self.min_score:g} or more{': ' if named else ''}{', '.join(named)}"
        ]
        if empty:
            lines.append(f"{empty} of the pictures show{'s' * (empty == 1)} none of that score")
        if flat := sum(record.flat for record in records):
            lines.append(f"left out {amount(flat, 'detection')} without area")
        pictures = f"; pictures in {folder / 'pictures'}" if self.pictures else ""
        return "\n".join([*lines, f"COCO results: {folder / RESULTS}, with {COMPANION}{pictures}"])

    def _close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None


def categories_of(trainer: Trainer, pl_module: LightningModule) -> list[dict[str, Any]]:
    """Return {"id", "name"} of every label: as the checkpoint has them, else as the data do; none if nobody knows."""
    known = getattr(pl_module, "categories", [])
    if known:
        return list(known)
    number = getattr(pl_module, "num_classes", None)
    data: Any = getattr(trainer, "datamodule", None)
    read = data.read_categories() if hasattr(data, "read_categories") else []
    if read and number in (None, len(read)):
        return list(read)
    if trainer.is_global_zero:
        print(
            "note: the checkpoint does not say what its classes are called, and neither do the data: categories have "
            "the numbers of the detector's labels, from 0. Checkpoints of new trainings keep the names"
        )
    return [] if number is None else numbered(number)


def numbered(count: int) -> list[dict[str, Any]]:
    """Return categories without names, by label."""
    return [{"id": label, "name": f"class {label}"} for label in range(count)]


def best_of(found: Mapping[str, Any], top: int | None) -> Mapping[str, Any]:
    """Return the first detections, the best scored ones, of one picture; all if ``top`` is None."""
    return found if top is None else {key: value[:top] for key, value in found.items()}


def write_list(file: IO[str], lines: Iterable[str]) -> None:
    """Write JSON values, each of a line, as a list."""
    between = "[\n"
    for line in lines:
        file.write(between + line)
        between = ",\n"
    file.write("[]\n" if between == "[\n" else "\n]\n")


def info(trainer: Trainer) -> dict[str, Any]:
    """Return what the numbers in the results refer to."""
    own = getattr(getattr(trainer, "datamodule", None), "found", None) is not None
    return {
        "description": f"the pictures and categories that {RESULTS} beside it refers to",
        "boxes": f"x, y, width, height in pixels of {UPRIGHT if own else STORED}",
    }


def place_of(image_id: int | str) -> tuple[bool, Any]:
    """Return by what pictures are sorted: numbers, then names."""
    return isinstance(image_id, str), image_id


def shortest(number: np.float32) -> float:
    """Return a number with as few digits as tell it from all others of 32 bits."""
    return float(str(number))


def as_text(counts: bytes | str) -> str:
    """Return the counts of a compressed mask as JSON has them."""
    return counts.decode() if isinstance(counts, bytes) else counts


def amount(count: int, thing: str) -> str:
    """Return a count in words."""
    return f"{count} {thing}{'s' * (count != 1)}"
