import numpy as np
import pytest

from datamodules.detection.coco_files import absent_files, annotation_file, picture_paths, with_sizes
from datamodules.detection.coco_json import read_annotations
from tests.helpers.replicas_detection import edit_json, make_coco_detection, make_lvis


def test_a_file_is_looked_for_as_named_and_within_the_root(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "root").mkdir()
    inside, outside = tmp_path / "root" / "a.json", tmp_path / "b.json"
    for path in (inside, outside):
        path.touch()
    assert annotation_file("a.json", tmp_path / "root", []).samefile(inside)
    assert annotation_file("b.json", tmp_path / "root", []).samefile(outside)
    assert annotation_file(str(outside), tmp_path / "root", []).samefile(outside)
    assert annotation_file(None, tmp_path / "root", ["x.json", "a.json"]).samefile(inside)


def test_an_absent_file_is_the_first_place(tmp_path):
    assert annotation_file(None, tmp_path, ["x.json", "y.json"]) == tmp_path / "x.json"
    assert str(annotation_file("z.json", tmp_path, [])) == "z.json"


@pytest.mark.parametrize("folder", ["{part}2017", "images/{part}2017"])
def test_pictures_are_found_in_both_layouts(tmp_path, folder):
    root = make_coco_detection(tmp_path, folder)
    coco = read_annotations(root / "annotations" / "instances_train2017.json")
    paths = picture_paths(coco, [root, root / "images"], "train2017")
    assert paths == [str(root / folder.format(part="train") / name) for name in coco.files]
    assert absent_files(paths) == []


def test_folders_that_the_file_names_count(tmp_path):
    root = make_lvis(tmp_path)
    coco = read_annotations(root / "annotations" / "lvis_v1_val.json")
    paths = picture_paths(coco, [root, root / "images"], "elsewhere")
    assert paths == [str(root / "train2017/000000000072.jpg"), str(root / "val2017/000000000139.jpg")]


def test_absent_files_keep_their_order(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "2.jpg").touch()
    paths = [f"{tmp_path}/a/{name}.jpg" for name in np.array(["3", "2", "1"])] + [f"{tmp_path}/b/2.jpg"]
    assert [str(path) for path in absent_files(paths)] == [paths[0], paths[2], paths[3]]


def test_sizes_that_the_file_does_not_say_are_those_of_the_pictures(tmp_path, caplog):
    root = make_coco_detection(tmp_path)
    path = root / "annotations" / "instances_train2017.json"
    before = read_annotations(path)
    paths = [f"{root}/train2017/{name}" for name in before.files]
    assert with_sizes(before, paths) is before
    edit_json(path, lambda content: [each.update(width=0) for each in content["images"][:2]])
    after = with_sizes(read_annotations(path), paths)
    assert after.sizes.tolist() == before.sizes.tolist()
    assert 'instances_train2017.json: 2 of 4 pictures have no "height" and "width"' in caplog.text
