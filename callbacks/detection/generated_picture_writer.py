"""Generated pictures as files, with a manifest of how each was made and annotations that any tool reads."""

import hashlib
import importlib.metadata
import io
import json
import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from PIL import Image
from pytorch_lightning import LightningModule, Trainer
from typing_extensions import override

from callbacks.detection.detection_writer import amount, place_of, write_list
from callbacks.results.prediction_writer import PredictionWriter
from networks.inpainting import GroundedInpainter, Inpainted
from visionscapes.errors import UserError, in_words
from visionscapes.files import atomic_write, write_bytes, write_json
from visionscapes.folder_lock import FolderLock, InUseError
from visionscapes.json_lines import append_line, as_line, open_to_append, read_lines
from visionscapes.processes import from_first, gather_objects, rank_and_world_size

LIBRARIES = ("torch", "diffusers", "transformers", "opencv-python", "opencv-python-headless", "pillow", "numpy")
CARRIED = ("neg_category_ids", "not_exhaustive_category_ids")  # of LVIS, in annotations.json as in the source


class Line(NamedTuple):
    """Where the manifest's line of a picture is."""

    file: Path
    start: int
    stop: int


class GeneratedPictureWriter(PredictionWriter):
    """Writes the pictures that an inpainter draws into the layouts of ``datamodules.Layouts``.

    In their ``output`` folder:

    - images/<name>-<copy>.png
    - manifest.jsonl: a line a picture: "name", "source" (picture, objects with ids, boxes xyxy and names), "seed",
      "prompt", "inpainter" with its options, which objects were "repainted", what is known of the "truth", "sha256".
      With these any picture is made again alone, see ``only`` of the data module.
    - annotations.json: COCO's format, and LVIS's where the source has its fields. Objects that were not repainted are
      in it, for their pixels are real, as are crowds. Masks are not: nobody knows those of generated objects.
    - generation.json: what all pictures have in common.

    A picture is there whole or not at all, and one that is there is not made again: a run that was ended at any moment
    goes on when it is started with the same words, and leaves the same bytes. Pictures of another seed, of other
    layouts or of another inpainter are not mixed with them, and no second command writes there at the same time.

    Raises:
        UserError: a module that gives something else, data without an output folder, a folder with other things, or
            one that another command writes to.
    """

    needed = "generated pictures"
    remedy = "use it with LayoutInpainting"
    item = "generated picture"
    task = "generate"

    def __init__(self) -> None:
        super().__init__()
        self._lines: IO[bytes] | None = None
        self._lock: FolderLock | None = None
        self._began = 0.0
        self._inpainter: dict[str, Any] = {}

    @override
    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look whether the folder is for these pictures.

        Raises:
            UserError: it holds others, or something else.
        """
        super().on_predict_start(trainer, pl_module)
        self._close()
        data: Any = getattr(trainer, "datamodule", None)
        inpainter = getattr(pl_module, "inpainter", None)
        if not hasattr(data, "folder") or not isinstance(inpainter, GroundedInpainter):
            raise UserError(
                "GeneratedPictureWriter writes what LayoutInpainting makes of the layouts of datamodules.Layouts: take "
                "--model=LayoutInpainting and --data=Layouts, or leave the callback out"
            )
        self._inpainter = {"class": f"{type(inpainter).__module__}.{type(inpainter).__qualname__}"}
        self._inpainter["options"] = inpainter.options
        wanted = json.loads(json.dumps(data.identity | {"inpainter": self._inpainter}))
        problem = from_first(self._claim(data, wanted) if trainer.is_global_zero else None)
        if problem is not None:
            raise UserError(problem)
        self._began = time.monotonic()

    def _claim(self, data: Any, wanted: dict[str, Any]) -> str | None:
        """Lock the folder and make it that of these pictures; return what speaks against it."""
        try:
            data.folder.path.mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(data.folder.path, remedy="name another folder as --data.output")
        except InUseError as error:
            return str(error)
        except OSError as error:
            return f"{data.folder.path} cannot be written to ({in_words(error)}): name another folder as --data.output"
        return claim(data.folder, data.title, wanted)

    @override
    def accepts(self, outputs: Any) -> bool:
        return isinstance(outputs, Inpainted)

    @override
    def write_batch(
        self, trainer: Trainer, pl_module: LightningModule, batch: Mapping[str, Any], outputs: Inpainted
    ) -> dict[str, str]:
        folder = trainer.datamodule.folder  # type: ignore[attr-defined]
        if self._lines is None:
            self._lines = open_to_append(folder.part(rank_and_world_size()[0]))
        buffer = io.BytesIO()
        Image.fromarray(outputs.image.permute(1, 2, 0).contiguous().numpy()).save(buffer, "PNG")
        digest = hashlib.sha256(buffer.getvalue()).hexdigest()
        # The line first: a picture without one would have to be made again.
        append_line(self._lines, entry_of(batch, outputs, digest) | {"inpainter": self._inpainter})
        write_bytes(folder.picture(batch["name"]), buffer.getvalue())
        return {batch["name"]: digest}

    @override
    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._close()
        self._release()
        super().on_exception(trainer, pl_module, exception)

    @override
    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._close()
        # Of the slowest process: the others wait for it.
        self._seconds = max(gather_objects(time.monotonic() - self._began))
        super().on_predict_end(trainer, pl_module)
        self._release()

    @override
    def conclude(self, trainer: Trainer, records: Mapping[str, str]) -> str | None:
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        folder = data.folder
        lines = ordered_lines(folder.files_of_lines(), folder.picture)
        with atomic_write(folder.manifest) as file:
            for line in read_back(lines):
                file.write(as_line(line))
        annotations, counts = write_annotations(folder, data.categories, data.title, self._inpainter)
        for part in folder.parts.glob("*.jsonl"):
            part.unlink()
        if folder.parts.is_dir():
            folder.parts.rmdir()
        speed = f", {len(records) / max(self._seconds, 1e-9):.3g} a second" if records else ""
        words = [
            f"{amount(len(lines), 'picture')} in {folder.path}, {len(records)} of them made now{speed}",
            f"{amount(counts['objects'], 'object')}, {counts['repainted']} of them drawn anew; the others are as they "
            f"were in the real pictures; {amount(counts['crowds'], 'crowd')} to be ignored",
            f"how each was made: {folder.manifest.name}; for detectors: {annotations.name}",
        ]
        if data.compared is not None:
            words.append(compared(records, data.compared))
        return "\n".join(words)

    def _close(self) -> None:
        if self._lines is not None:
            self._lines.close()
            self._lines = None

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None


def entry_of(batch: Mapping[str, Any], made: Inpainted, digest: str) -> dict[str, Any]:
    """Return the line of the manifest about a generated picture.

    Args:
        batch: of the layout.
        made: of it.
        digest: SHA-256 of the PNG.
    """
    kept = len(batch["source"]["objects"]) - len(made.repainted)  # of the picture, as they were
    truth = None
    if made.truth is not None:
        boxes = made.truth.extra_boxes.tolist()
        extra = [{"box": box, "name": name} for box, name in zip(boxes, made.truth.extra_names, strict=True)]
        verdicts = [*made.truth.verdicts, *[None] * kept]
        truth = {"verdicts": verdicts, "low_quality": made.truth.low_quality, "extra": extra}
    return {
        "name": batch["name"],
        "seed": batch["seed"],
        "prompt": made.prompt,
        "repainted": made.repainted.tolist() + [False] * kept,
        "truth": truth,
        "sha256": digest,
        "source": batch["source"],
    }


def ordered_lines(files: Sequence[Path], picture: Any) -> list[Line]:
    """Return where the lines of all pictures that are there lie, by copy and by picture; of one made twice the last.

    Args:
        files: of lines.
        picture: returns the path of the picture of a name.
    """
    found: dict[str, tuple[Any, Line]] = {}
    for path in files:
        for start, stop, entry in read_lines(path):
            key = entry["source"]["copy"], place_of(entry["source"]["image_id"])
            found[entry["name"]] = key, Line(path, start, stop)
    there = [each for name, each in found.items() if os.path.isfile(picture(name))]
    return [line for _, line in sorted(there, key=lambda each: each[0])]


def read_back(lines: Sequence[Line]) -> Iterator[dict[str, Any]]:
    """Yield the entries of lines in their order, one in memory at a time."""
    with ExitStack() as opened:
        files = {path: opened.enter_context(path.open("rb")) for path in {line.file for line in lines}}
        for line in lines:
            files[line.file].seek(line.start)
            yield json.loads(files[line.file].read(line.stop - line.start))


def write_annotations(
    folder: Any, categories: Sequence[Mapping[str, Any]], title: str, inpainter: Mapping[str, Any]
) -> tuple[Path, Counter[str]]:
    """Write what is in the pictures in COCO's format, out of the manifest.

    Args:
        folder: of the pictures.
        categories: of the source.
        title: of the source.
        inpainter: class and options.

    Returns:
        The path, and counts of "objects", "repainted" and "crowds".
    """
    info = {"description": f"pictures with the layouts of {title}, drawn by {inpainter['class']}"}
    counts: Counter[str] = Counter()
    head = {"info": info, "categories": list(categories)}
    with atomic_write(folder.annotations, "w") as file:
        file.write(json.dumps(head)[:-1] + ',\n"images": ')
        write_list(file, (json.dumps(image_of(number, entry)) for number, entry in _numbered(folder)))
        file.write(',"annotations": ')
        write_list(file, (json.dumps(each) for each in _annotations(folder, counts)))
        file.write("}\n")
    return folder.annotations, counts


def image_of(number: int, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a picture as COCO's format has it."""
    source = entry["source"]
    sides = {side: source[side] for side in ("height", "width")}
    carried = {key: source[key] for key in CARRIED if key in source}
    name = f"{entry['name']}.png"
    return {"id": number, "file_name": name, **sides, "source_image_id": source["image_id"], **carried}


def annotations_of(image: int, entry: Mapping[str, Any], first: int) -> list[dict[str, Any]]:
    """Return the annotations of a picture as COCO's format has them: its objects, then its crowds.

    Args:
        image: number of the picture.
        entry: of the manifest.
        first: number of the first annotation.
    """
    source = entry["source"]
    objects = [(each, repainted, 0) for each, repainted in zip(source["objects"], entry["repainted"], strict=True)]
    found = []
    for number, (each, repainted, crowd) in enumerate(
        [*objects, *((one, False, 1) for one in source["crowds"])], first
    ):
        bbox = xywh(each["box"])
        found.append(
            {
                "id": number,
                "image_id": image,
                "category_id": each["category_id"],
                "bbox": bbox,
                "area": bbox[2] * bbox[3],
                "iscrowd": crowd,
                "source_id": each["id"],
                "repainted": repainted,
            }
        )
    return found


def xywh(box: Sequence[float]) -> list[float]:
    """Return x, y, width and height of a box xyxy, with as few digits as tell numbers of 32 bits from one another."""
    x1, y1, x2, y2 = np.array(box, np.float32)
    return [float(str(side)) for side in (x1, y1, x2 - x1, y2 - y1)]


def compared(records: Mapping[str, str], earlier: Any) -> str:
    """Return in words how pictures that were made again compare with what a manifest says of the first ones.

    Args:
        records: SHA-256 of the pictures by name.
        earlier: the folder with the manifest.
    """
    known = {entry["name"]: entry["sha256"] for path in earlier.files_of_lines() for _, _, entry in read_lines(path)}
    if not known:
        return (
            f"{earlier.path} holds no generated pictures to compare them with: say where the first ones are, "
            "--data.output=<folder>"
        )
    shared = [name for name in records if name in known]
    other = [name for name in shared if known[name] != records[name]]
    words = f"{len(shared) - len(other)} of {amount(len(records), 'picture')} are the same bytes as in {earlier.path}"
    if other:
        words += (
            f"; others are not, such as {other[0]}: with other versions of libraries, another processor, or other "
            f"words ({earlier.settings.name} there says what was given)"
        )
    return words


def claim(folder: Any, title: str, wanted: dict[str, Any]) -> str | None:
    """Make a folder that of certain pictures, and return what speaks against it, in words; None if nothing does.

    Args:
        folder: of the pictures.
        title: of the layouts' source.
        wanted: what all pictures have in common.
    """
    for unfinished in [*folder.path.glob(".*.partial"), *folder.images.rglob(".*.partial")]:
        unfinished.unlink()  # of a run that was killed
    if not folder.settings.is_file() or _without_pictures(folder):
        strange = [path for path in (folder.manifest, folder.annotations, folder.images) if path.exists()]
        if strange and not folder.settings.is_file():
            return (
                f"{folder.path} holds {strange[0].name}, which was not generated here: name another folder as "
                "--data.output"
            )
        for stale in folder.parts.glob("*.jsonl"):
            stale.unlink()
        versions = {name: _version(name) for name in LIBRARIES}
        settings = {
            **wanted,
            "annotations": title,
            "versions": {name: version for name, version in versions.items() if version},
        }
        write_json(folder.settings, settings)
        return None
    try:
        there = json.loads(folder.settings.read_text())
    except ValueError:
        return f"{folder.settings} is damaged: name another folder as --data.output, or delete this one"
    for key, value in wanted.items():
        if there.get(key) != value:
            shown = f"{there.get(key)}, not {value}" if key != "layouts" else f"those of {there.get('annotations')}"
            return (
                f"the pictures in {folder.path} were made with another {key.removesuffix('s')} ({shown}): name another "
                "folder as --data.output, or delete this one"
            )
    return None


def _without_pictures(folder: Any) -> bool:
    """Return whether a command that began in the folder ended before its first picture."""
    return not folder.manifest.exists() and next(folder.images.rglob("*.png"), None) is None


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _numbered(folder: Any) -> Iterator[tuple[int, dict[str, Any]]]:
    return enumerate((entry for _, _, entry in read_lines(folder.manifest)), 1)


def _annotations(folder: Any, counts: Counter[str]) -> Iterator[dict[str, Any]]:
    number = 1
    for image, entry in _numbered(folder):
        found = annotations_of(image, entry, number)
        number += len(found)
        for each in found:
            counts["crowds" if each["iscrowd"] else "objects"] += 1
            counts["repainted"] += each["repainted"]
            yield each
