import json

import numpy as np
import pytest

from datamodules.common.errors import DatasetNotFoundError
from datamodules.detection.coco import COCODetection
from datamodules.detection.layout_source import (
    boxes_within,
    digest_of,
    distinct_names,
    layout_rows,
    source_in_files,
    source_of,
)
from datamodules.detection.lvis import LVISDetection
from datamodules.detection.scenes import DetectionScenes
from tests.helpers.replicas import write_image
from tests.helpers.replicas_detection import edit_json, make_coco_detection, make_lvis
from visionscapes.errors import UserError


@pytest.fixture
def coco(tmp_path):
    return make_coco_detection(tmp_path)


def of_files(coco, name="train", **options):
    return source_in_files(
        str(coco / "annotations" / f"instances_{name}2017.json"), str(coco / f"{name}2017"), **options
    )


def test_the_same_layouts_out_of_files_and_out_of_a_data_module(coco):
    files, module = of_files(coco), source_of(COCODetection(str(coco), num_workers=0, batch_size=2))
    assert files.names == module.names == [f"{number:012}" for number in (9, 25, 30, 34)]
    assert files.categories == module.categories
    assert digest_of(files) == digest_of(module)


def test_crowds_and_boxes_without_area_are_no_part_of_a_layout(coco):
    source = of_files(coco)
    kept = {item.image_id: item.ids[layout_rows(item)].tolist() for item in source.images}
    assert kept == {9: [12, 698], 25: [697], 30: [], 34: [700]}
    assert digest_of(source)[1] == [0, 1, 3]


def test_boxes_end_at_the_border(coco):
    for item in of_files(coco).images:
        height, width = item.size
        assert (boxes_within(item) <= np.array([width, height] * 2)).all()
        assert (boxes_within(item) >= 0).all()


def test_categories_keep_what_the_file_says_of_them(tmp_path):
    coco = make_lvis(tmp_path)
    path = next((coco / "annotations").glob("*train*.json"))
    source = source_in_files(str(path), str(coco / "train2017"))
    assert source.categories == sorted(json.loads(path.read_text())["categories"], key=lambda each: each["id"])
    assert digest_of(source)[1] == digest_of(source_in_files(str(path), str(coco)))[1]
    module = source_of(LVISDetection(str(coco), num_workers=0, batch_size=2))
    assert [each["frequency"] for each in module.categories] == [each["frequency"] for each in source.categories]


def test_ids_that_are_written_as_fractions_are_whole(coco):
    whole = of_files(coco)

    def change(content):
        for each in content["categories"]:
            each["id"] = float(each["id"])
        for each in content["annotations"]:
            each["category_id"] = float(each["category_id"])

    edit_json(coco / "annotations" / "instances_train2017.json", change)
    fractions = of_files(coco)
    assert fractions.categories == whole.categories
    assert all(isinstance(each["id"], int) for each in fractions.categories)
    assert digest_of(fractions)[0] == digest_of(whole)[0]


def test_scenes_need_no_files():
    source = source_of(DetectionScenes(scenes=3, test_scenes=1, image_size=48, batch_size=1))
    assert source.names == ["0", "1", "2"]
    assert [each["id"] for each in source.categories] == list(range(1, 13))


@pytest.mark.parametrize("change", ["box", "label", "image", "category"])
def test_the_digest_knows_layouts(coco, change):
    def edit(content):
        if change == "box":
            content["annotations"][0]["bbox"][0] += 1
        elif change == "label":
            content["annotations"][0]["category_id"] = 1
        elif change == "image":
            content["images"][0]["id"] = 77
            for each in content["annotations"]:
                each["image_id"] = 77 if each["image_id"] == 34 else each["image_id"]
        else:
            content["categories"][0]["name"] = "brush"

    before = digest_of(of_files(coco))[0]
    assert before == digest_of(of_files(coco))[0]
    edit_json(coco / "annotations" / "instances_train2017.json", edit)
    assert before != digest_of(of_files(coco))[0]


@pytest.mark.parametrize("name", ["", "  "])
def test_classes_without_a_name_are_refused(coco, name):
    edit_json(
        coco / "annotations" / "instances_train2017.json", lambda content: content["categories"][0].update(name=name)
    )
    with pytest.raises(UserError, match="category 90 has no name"):
        of_files(coco)


def test_missing_pictures_are_named_or_left_out_and_counted(coco, caplog):
    (coco / "train2017" / "000000000025.jpg").unlink()
    with pytest.raises(DatasetNotFoundError, match=r"000000000025\.jpg") as caught:
        of_files(coco)
    assert "skip_missing=true" in str(caught.value)
    assert of_files(coco, skip_missing=True).names == [f"{number:012}" for number in (9, 30, 34)]
    assert "left out 1 of 4 pictures" in caplog.text


@pytest.mark.parametrize(("file", "folder", "named"), [("no.json", "", "no.json"), ("", "no", "no")])
def test_what_is_not_there_is_named(coco, file, folder, named):
    path = coco / "annotations" / (file or "instances_train2017.json")
    with pytest.raises(DatasetNotFoundError, match=named):
        source_in_files(str(path), str(coco / (folder or "train2017")))


def test_names_differ_where_only_the_suffix_does(tmp_path):
    paths = [str(tmp_path / name) for name in ("a.jpg", "b/a.jpg", "c.png", "C.jpg")]
    assert distinct_names(paths, tmp_path) == ["a", "b/a", "c.png", "C.jpg"]


def test_pictures_are_found_by_the_end_of_their_names(tmp_path):
    write_image(tmp_path / "a.png", 20, 10)
    content = {
        "images": [{"id": 1, "file_name": "export/train/a.png", "width": 20, "height": 10}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 5, 5]}],
        "categories": [{"id": 1, "name": "dog"}],
    }
    (tmp_path / "a.json").write_text(json.dumps(content))
    assert source_in_files(str(tmp_path / "a.json"), str(tmp_path)).names == ["a"]
