import json

import pytest
import torch

from datamodules.detection.generated import GeneratedFolder
from datamodules.detection.layouts import Layouts, seed_of
from datamodules.detection.scenes import DetectionScenes
from tests.helpers.quiet_trainer import quiet_trainer
from tests.helpers.replicas_detection import edit_json, make_coco_detection, make_lvis
from visionscapes.errors import UserError
from visionscapes.json_lines import as_line
from visionscapes.seeding import derived_seed


def scenes(**options):
    return DetectionScenes(scenes=3, test_scenes=1, image_size=48, batch_size=1, **options)


def layouts(folder, **options):
    data = Layouts(**{"real": scenes(), "output": str(folder / "out")} | options)
    data.trainer = quiet_trainer(folder, [])
    data.setup("predict")
    return data


def batches(data):
    found = list(data.predict_dataloader())
    assert [each["task"] for each in found] == ["generate"] * (len(found) - 1) + ["end"]
    return found[:-1]


@pytest.fixture
def coco(tmp_path):
    return make_coco_detection(tmp_path)


def in_files(coco, folder, **options):
    path = coco / "annotations" / "instances_train2017.json"
    return layouts(folder, real=None, annotations=str(path), images=str(coco / "train2017"), **options)


def test_a_layout_holds_what_is_annotated(coco, tmp_path):
    found = {each["name"]: each for each in batches(in_files(coco, tmp_path))}
    assert list(found) == ["000000000009-0", "000000000025-0", "000000000034-0"]
    layout = found["000000000009-0"]
    assert layout["image"].shape == (3, 40, 64)
    assert layout["image"].dtype == torch.uint8
    assert layout["names"] == ["person", "car"]
    assert layout["boxes"].tolist() == [[20.5, 10.25, 40.5, 30.25], [50.0, 20.0, 64.0, 40.0]]
    source = layout["source"]
    assert (source["image_id"], source["file_name"], source["copy"]) == (9, "000000000009.jpg", 0)
    assert (source["height"], source["width"]) == (40, 64)
    assert [each["id"] for each in source["objects"]] == [12, 698]
    assert [each["box"] for each in source["objects"]] == layout["boxes"].tolist()
    assert source["crowds"] == [{"id": 699, "category_id": 90, "name": "toothbrush", "box": [4.0, 2.0, 12.0, 10.0]}]
    assert json.loads(json.dumps(source)) == source


def test_pictures_without_boxes_are_left_out_and_counted(coco, tmp_path, caplog):
    in_files(coco, tmp_path)
    assert "left out 1 of 4 pictures: they have no box" in caplog.text


def annotated_with(coco, **one):
    """Leave one annotation in the file to train on."""
    entry = {"id": 1, "image_id": 9, "category_id": 1, "bbox": [1, 1, 4, 4], "iscrowd": 0} | one
    edit_json(coco / "annotations" / "instances_train2017.json", lambda content: content.update(annotations=[entry]))


def test_crowds_alone_are_refused_as_what_they_are(coco, tmp_path):
    annotated_with(coco, iscrowd=1)
    with pytest.raises(UserError, match=r"all 1 annotations are crowds or difficult .*: set these to 0 where single"):
        in_files(coco, tmp_path)


def test_a_file_without_annotations_is_refused(coco, tmp_path):
    edit_json(coco / "annotations" / "instances_train2017.json", lambda content: content.update(annotations=[]))
    with pytest.raises(UserError, match="has pictures, but no annotation: give the file with the boxes"):
        in_files(coco, tmp_path)


@pytest.mark.parametrize("box", [[1, 1, 0, 4], [1, 1, 4, 0], [100, 5, 4, 4]])  # the last lies outside of its picture
def test_boxes_without_area_are_no_layout(coco, tmp_path, caplog, box):
    annotated_with(coco, bbox=box)
    with pytest.raises(UserError, match=r"no picture has a box that could be drawn anew: give .* above 0 and within"):
        in_files(coco, tmp_path)
    assert "left out 1 of 1 boxes: no area (annotation 1 of 000000000009.jpg" in caplog.text
    assert "left out 4 of 4 pictures: they have no box" in caplog.text


def test_what_lvis_verified_is_told(tmp_path):
    coco = make_lvis(tmp_path)
    path = next((coco / "annotations").glob("*train*.json"))
    data = layouts(tmp_path, real=None, annotations=str(path), images=str(coco))
    told = {each["source"]["image_id"]: each["source"] for each in batches(data)}
    assert told[9]["neg_category_ids"] == []
    assert told[9]["not_exhaustive_category_ids"] == [3]


def test_every_item_is_a_function_of_picture_copy_and_seed(tmp_path):
    one, two = batches(layouts(tmp_path, copies=2)), batches(layouts(tmp_path, copies=1, limit=2))
    assert [each["name"] for each in one] == ["0-0", "1-0", "2-0", "0-1", "1-1", "2-1"]
    assert [each["name"] for each in two] == ["0-0", "1-0"]
    for each in one:
        number, copy = map(int, each["name"].split("-"))
        assert each["seed"] == derived_seed(0, number, copy) % 2**63
    assert [each["seed"] for each in two] == [each["seed"] for each in one[:2]]
    assert len({each["seed"] for each in one}) == 6
    assert {each["seed"] for each in batches(layouts(tmp_path, seed=1))}.isdisjoint(each["seed"] for each in one)


def test_pictures_with_texts_for_ids_have_seeds_of_their_own():
    seeds = {seed_of(0, name, copy) for name in ("a", "b", "10") for copy in range(2)}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_what_is_there_is_not_asked_for_again(tmp_path, caplog):
    folder = GeneratedFolder(tmp_path / "out")
    folder.images.mkdir(parents=True)
    folder.picture("1-0").write_bytes(b"")
    folder.manifest.write_bytes(as_line({"name": "1-0"}) + as_line({"name": "0-0"}))  # the latter's picture is gone
    assert [each["name"] for each in batches(layouts(tmp_path))] == ["0-0", "2-0"]
    assert "1 of 3 pictures are there already" in caplog.text
    data = layouts(tmp_path, only="images/1-0.png")
    assert [each["name"] for each in batches(data)] == ["1-0"]
    assert data.folder.path != folder.path
    assert data.compared == folder


def test_what_only_names_has_to_be_there(tmp_path):
    assert [each["name"] for each in batches(layouts(tmp_path, only=["2-0", "0-0"]))] == ["2-0", "0-0"]
    with pytest.raises(UserError, match=r"called '0-1': there are 0-0, 1-0, 2-0, .*--data\.copies"):
        layouts(tmp_path, only=["0-1"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"real": None}, r"--data\.annotations=<file>"),
        ({"annotations": "a.json"}, r"--data\.images"),
        ({"images": "pictures"}, r"--data\.annotations"),
        ({"copies": 0}, "Layouts.copies is 0; it has to be at least 1"),
    ],
)
def test_options_that_cannot_be_right(options, message):
    with pytest.raises(UserError, match=message):
        Layouts(**{"real": scenes()} | options)


def test_for_prediction_alone():
    with pytest.raises(UserError, match=r"cli\.py predict"):
        Layouts(real=scenes()).setup("fit")


def test_weights_of_classes_that_have_changed_are_told_apart(tmp_path):
    """Whose file is written anew by every filter."""
    path, found = tmp_path / "weights.json", []
    for weights in ({"tree": 1, "house": 3}, {"house": 6, "tree": 2}, {"tree": 1, "house": 4}):
        path.write_text(json.dumps({name: weights.get(name, 1) for name in scenes().classes} | weights))
        found.append(layouts(tmp_path, drawn={"classes": "weights", "weights": str(path)}).identity)
    path.write_text(json.dumps(dict.fromkeys(scenes().classes, 2.0)))
    found.append(layouts(tmp_path, drawn={"classes": "weights", "weights": str(path)}).identity)
    assert len({each["class weights"] for each in found}) == 4
    path.write_text(json.dumps(dict.fromkeys(scenes().classes, 4.0)))
    assert layouts(tmp_path, drawn={"classes": "weights", "weights": str(path)}).identity == found[-1]
    assert "class weights" not in layouts(tmp_path, drawn={"classes": "balanced"}).identity


def test_layouts_of_fewer_pictures_than_a_batch_of_a_training_has():
    data = Layouts(real=DetectionScenes(scenes=3, test_scenes=1, image_size=48, batch_size=8))
    data.setup("predict")
    assert len(data.items) == 3
