"""The exports of annotation tools in tests/fixtures/annotation_tools, read as they are."""

import importlib.util
import shutil
from pathlib import Path

import numpy as np
import pytest

from datamodules import COCODetection
from datamodules.detection.export_layouts import exported_annotations
from datamodules.detection.sparse.command import main as sparse_annotations

FIXTURES = Path(__file__).parents[2] / "fixtures" / "annotation_tools"
ALONE = [  # found by the folder alone; the last ones have nothing to evaluate on
    "datumaro", "roboflow", "cvat", "label_studio", "label_studio_local", "label_studio_uploads", "labelme",
    "labelme_example", "supervision", "fiftyone", "vott",
]  # fmt: skip
TWO_PARTS = ["datumaro", "roboflow"]
TOOLS = {"datumaro": "Datumaro", "roboflow": "Roboflow", "cvat": "CVAT", "fiftyone": "FiftyOne", "vott": "one file"}


def made():
    """Return the script that has made the exports."""
    spec = importlib.util.spec_from_file_location("make", FIXTURES / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


MADE = made()


def ready(tool, stage="fit", root=FIXTURES, **options):
    options = ({} if tool in TWO_PARTS else {"val_fraction": 0.2}) | options
    data = COCODetection(str(root / tool), num_workers=0, train_sizes=[32], test_size=32, **options)
    data.setup(stage)
    return data


def as_truth(images, classes):
    """Return what is annotated by the size of the picture, which is different for each: sorted label, x, y, w, h."""
    found = {}
    for each in images:
        x1, y1, x2, y2 = each.boxes.T
        rows = zip(each.labels, x1, y1, x2 - x1, y2 - y1, strict=True)
        found[each.size[::-1]] = sorted((classes[label], *(round(float(n), 3) for n in box)) for label, *box in rows)
    return found


TRUTH = {MADE.SIZES[name]: sorted(objects) for name, objects in MADE.TRUTH.items()}


@pytest.mark.parametrize("tool", ALONE)
def test_the_folder_of_an_export_is_enough(tool, caplog):
    data = ready(tool)
    parts = [as_truth(images, data.classes) for images in (data.training_images(), data.evaluation_images())]
    assert [len(part) for part in parts] == [4, 1]
    assert parts[0] | parts[1] == TRUTH
    for each in [*data.training_images(), *data.evaluation_images()]:
        # Each object is drawn in its colour, so the picture is the one that was annotated.
        picture = each.read().astype(int)
        for (x1, y1, x2, y2), label in zip(each.boxes.round().astype(int), each.labels, strict=True):
            inside = picture[y1 + 2 : y2 - 2, x1 + 2 : x2 - 2].reshape(-1, 3)
            near = np.abs(inside - MADE.COLOURS[data.classes[label]]).max(1) < 60
            assert near.mean() > 0.5
    assert f"has the layout of {TOOLS.get(tool, '')}" in caplog.text


@pytest.mark.parametrize("tool", TWO_PARTS)
def test_two_parts_are_found_for_what_they_are(tool):
    data = ready(tool)
    assert [each.size[::-1] for each in data.evaluation_images()] == [MADE.SIZES["roof.jpg"]]
    assert as_truth(ready(tool, "test").evaluation_images(), data.classes) == {
        MADE.SIZES["roof.jpg"]: TRUTH[MADE.SIZES["roof.jpg"]]
    }


@pytest.mark.parametrize("tool", ["roboflow", "labelme_example"])
def test_a_category_that_stands_for_all_or_for_nothing_is_told_and_can_go(tool, caplog):
    assert ready(tool).classes[0] in ("animals", "_background_")
    assert "no annotation is of the category 0" in caplog.text
    assert ready(tool, leave_out_unused=True).classes == ("cat", "dog")
    assert ready(tool, "test", leave_out_unused=True).classes == ("cat", "dog")


@pytest.mark.parametrize("tool", ALONE)
def test_files_and_pictures_can_be_named_wherever_they_are(tool, tmp_path):
    """The annotations are moved away from their pictures."""
    root = shutil.copytree(FIXTURES / tool, tmp_path / "pictures")
    train, _ = exported_annotations(root)
    moved = train.rename(tmp_path / "moved.json")
    for path in root.rglob("*.json"):
        path.unlink()
    folder = next(path for path in sorted(root.rglob("*.jpg"))).parent
    folder = folder.parent if folder.name == "cam1" else folder
    (tmp_path / "root").mkdir()
    data = ready("root", root=tmp_path, train_annotations=str(moved), train_images=str(folder), val_fraction=0.25)
    found = as_truth([*data.training_images(), *data.evaluation_images()], data.classes)
    assert len(found) == (4 if tool in TWO_PARTS else 5)
    assert found.items() <= TRUTH.items()
    assert all(each.read().size for each in data.training_images())


@pytest.mark.parametrize("tool", ALONE)
def test_sparse_copies_are_made_of_the_same_files(tool, tmp_path):
    source, _ = exported_annotations(FIXTURES / tool)
    sparse = tmp_path / "sparse.json"
    assert sparse_annotations(["--split", "4", "--level", "extreme", str(source), str(sparse)]) == 0
    data = ready(tool, train_annotations=str(sparse), full_annotations=str(source), val_fraction=0.25,
                 train_images=str(FIXTURES / tool))  # fmt: skip
    left = [int((~each.removed).sum()) for each in data.training_images()]
    assert left == [1] * len(left)


def test_a_folder_without_a_known_layout_gives_nothing(tmp_path, caplog):
    assert exported_annotations(tmp_path) == (None, None)
    (tmp_path / "a.json").touch()
    (tmp_path / "annotations").mkdir()
    assert exported_annotations(tmp_path)[0] == tmp_path / "a.json"
    assert "has the layout of one file: a.json to train on, nothing to evaluate on" in caplog.text
    (tmp_path / "annotations" / "b.json").touch()
    assert exported_annotations(tmp_path) == (None, None)
