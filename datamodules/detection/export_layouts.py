"""The folders that annotation tools export, so that naming such a folder is enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.common.reports import report


@dataclass(frozen=True)
class ExportLayout:
    """How a tool lays out what it exports.

    Attributes:
        tool: its name.
        train: path of the annotations within the folder.
        val: paths where those to evaluate on may be, the likeliest first.
    """

    tool: str
    train: str
    val: tuple[str, ...] = ()


ROBOFLOW = "_annotations.coco.json"
LAYOUTS = (
    ExportLayout("Roboflow", f"train/{ROBOFLOW}", tuple(f"{part}/{ROBOFLOW}" for part in ("valid", "val", "test"))),
    ExportLayout(
        "Datumaro or CVAT",
        "annotations/instances_train.json",
        tuple(f"annotations/instances_{part}.json" for part in ("val", "validation", "valid", "Validation", "test")),
    ),
    ExportLayout("Datumaro or CVAT", "annotations/instances_Train.json", ("annotations/instances_Validation.json",)),
    ExportLayout(
        "FiftyOne",
        "train/labels.json",
        tuple(f"{part}/labels.json" for part in ("validation", "val", "valid", "test")),
    ),
    ExportLayout(
        "supervision",
        "train/annotations.json",
        tuple(f"{part}/annotations.json" for part in ("valid", "val", "test")),
    ),
    ExportLayout("labelme2coco", "train.json", ("val.json",)),
    ExportLayout("CVAT", "annotations/instances_default.json"),
    ExportLayout("FiftyOne", "labels.json"),
    ExportLayout("Label Studio", "result.json"),
    ExportLayout("labelme or supervision", "annotations.json"),
    ExportLayout("labelme2coco", "dataset.json"),
    ExportLayout("Roboflow", ROBOFLOW),
)


def exported_annotations(root: Path) -> tuple[Path | None, Path | None]:
    """Return the files of annotations to train and to evaluate on that a folder holds, None where it holds none.

    A folder whose only JSON file has another name counts too. It is told what was found.

    Args:
        root: the folder, as a tool has exported it.
    """
    for layout in LAYOUTS:
        train = root / layout.train
        if train.is_file():
            return _told(
                layout.tool, root, train, next((root / each for each in layout.val if (root / each).is_file()), None)
            )
    alone = [path for folder in (root, root / "annotations") for path in _json_files(folder)]
    return _told("one file", root, alone[0], None) if len(alone) == 1 else (None, None)


def _told(tool: str, root: Path, train: Path, val: Path | None) -> tuple[Path, Path | None]:
    found = train.relative_to(root)
    other = "nothing to evaluate on" if val is None else f"{val.relative_to(root)} to evaluate on"
    report("%s has the layout of %s: %s to train on, %s", root, tool, found, other)
    return train, val


def _json_files(folder: Path) -> Sequence[Path]:
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))
