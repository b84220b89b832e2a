import unicodedata
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.detection.coco_json import read_annotations
from datamodules.detection.picture_places import locate_pictures, refuse_outside, usual_folders, without_missing
from tests.helpers.replicas_detection import make_coco_detection, make_lvis
from visionscapes.errors import UserError


@pytest.fixture
def coco(tmp_path):
    return read_annotations(make_coco_detection(tmp_path) / "annotations" / "instances_train2017.json")


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def named(coco, *names):
    return replace(coco.of(np.arange(len(names))), files=names)


def found(coco, *folders):
    paths, absent = locate_pictures(coco, list(folders))
    return [None if lost else path for path, lost in zip(paths, absent, strict=True)]


@pytest.mark.parametrize("folder", ["{part}2017", "images/{part}2017"])
def test_pictures_are_found_in_both_layouts_of_coco(tmp_path, folder):
    root = make_coco_detection(tmp_path / "two", folder)
    path = root / "annotations" / "instances_train2017.json"
    coco = read_annotations(path)
    paths, absent = locate_pictures(coco, usual_folders(root, path, ["train2017", "images/train2017"]))
    assert paths == [str(root / folder.format(part="train") / name) for name in coco.files]
    assert not absent.any()


def test_folders_that_the_file_names_count(tmp_path):
    root = make_lvis(tmp_path)
    coco = read_annotations(root / "annotations" / "lvis_v1_val.json")
    names = ["train2017/000000000072.jpg", "val2017/000000000139.jpg"]
    assert found(coco, root / "elsewhere", root) == [str(root / name) for name in names]


def test_names_in_folders_are_found_below_the_folder_of_the_pictures(coco, tmp_path):
    names = "cam1/x.png", "cam2/x.png", "y.png"
    touch(*(tmp_path / "train2017" / name for name in names))
    assert found(named(coco, *names), tmp_path, tmp_path / "train2017") == [f"{tmp_path}/train2017/{n}" for n in names]


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("cam1\\x y.png", None),
        ("./cam1/x y.png", None),
        ("C:\\Users\\anna\\cam1\\x y.png", "by the ends of their paths"),
        ("/home/anna/cam1/x y.png", "by the ends of their paths"),
        ("../../anna/cam1/x y.png", "by the ends of their paths"),
        ("https://host/cam1/x%20y.png", None),
        ("cam1/x%20y.png", "with their percent signs decoded"),
        ("photos/cam1/x%20y.png", "by the ends of their paths, with percent signs decoded"),
        ("/data/upload/1/0a1b2c3d-x y.png", "without what Label Studio puts before a name"),
        ("CAM2/Z.PNG", None),
        ("cam1/X Y.PNG", "with other upper and lower case"),
    ],
)
def test_every_form_of_a_name_finds_its_picture_and_is_told(coco, tmp_path, caplog, name, way):
    folder = tmp_path / "pictures"
    touch(folder / "cam1" / "x y.png", folder / "CAM2" / "Z.PNG", folder / "other.png")
    base = folder / "cam1" if "upload" in name else folder
    expected = folder / ("CAM2/Z.PNG" if "Z" in name else "cam1/x y.png")
    assert found(named(coco, name), base) == [str(expected)]
    assert (
        f'1 of 1 pictures are not where "file_name" says and were found {way}, such as {expected}' in caplog.text
    ) == (way is not None)


@pytest.mark.parametrize("name", ["a?d=2.jpg", "x%20y#1.jpg", "C:/2.jpg", "back\\slash.jpg", "host://2.jpg"])
def test_a_name_that_is_there_as_it_is_written_is_not_read_in_another_way(coco, tmp_path, caplog, name):
    touch(tmp_path / name, tmp_path / "2.jpg", tmp_path / "x y.jpg", tmp_path / "slash.jpg")
    assert [Path(path) for path in found(named(coco, name), tmp_path)] == [tmp_path / name]
    assert not caplog.text


@pytest.mark.parametrize(("written", "stored"), [("NFC", "NFD"), ("NFD", "NFC")])
@pytest.mark.parametrize("before", ["", "/Users/anna/"])
def test_names_in_another_form_of_unicode_are_found(coco, tmp_path, caplog, written, stored, before):
    place = tmp_path / unicodedata.normalize(stored, "Übung/Café.jpg")
    touch(place, tmp_path / "other.jpg")
    name = before + unicodedata.normalize(written, "Übung/Café.jpg")
    assert found(named(coco, name), tmp_path) == [str(place)]
    assert "in another form of Unicode" in caplog.text


def test_folders_and_files_may_differ_in_their_forms(coco, tmp_path):
    place = tmp_path / unicodedata.normalize("NFC", "Übung") / unicodedata.normalize("NFD", "Café.jpg")
    touch(place, tmp_path / "other.jpg")
    assert found(named(coco, unicodedata.normalize("NFC", "Übung/Café.jpg")), tmp_path) == [str(place)]
    assert found(named(coco, unicodedata.normalize("NFC", "ÜBUNG/CAFÉ.JPG")), tmp_path) == [str(place)]
    assert found(named(coco, "https://host/%C3%9Cbung/Caf%C3%A9.jpg"), tmp_path) == [str(place)]


def test_an_absolute_name_of_this_machine_is_taken_as_it_is(coco, tmp_path, caplog):
    touch(tmp_path / "a" / "x.png", tmp_path / "b" / "x.png")
    assert found(named(coco, f"{tmp_path}/b/x.png"), tmp_path / "a") == [f"{tmp_path}/b/x.png"]
    assert not caplog.text


def test_a_name_that_leads_out_is_never_followed(coco, tmp_path):
    touch(tmp_path / "secret.png", tmp_path / "set" / "a.png")
    coco = named(coco, "../secret.png", "https://host" + str(tmp_path / "secret.png"))
    assert found(coco, tmp_path / "set") == [None, None]
    with pytest.raises(UserError, match=r"'\.\./secret\.png', which leads out of the folder"):
        refuse_outside(coco, np.array([True, True]))
    refuse_outside(coco, np.array([False, True]))


def test_pictures_in_a_folder_of_any_name_are_found_if_none_is_elsewhere(coco, tmp_path, caplog):
    touch(tmp_path / "my photos" / "x.png", tmp_path / ".hidden" / "x.png")
    assert found(named(coco, "x.png"), tmp_path) == [f"{tmp_path}/my photos/x.png"]
    assert "in a folder of another name" in caplog.text
    touch(tmp_path / "y.png")
    assert found(named(coco, "x.png", "y.png"), tmp_path) == [None, f"{tmp_path}/y.png"]


def test_two_pictures_are_never_one_file(coco, tmp_path):
    touch(tmp_path / "x.png")
    with pytest.raises(
        UserError, match=r"both '/cam1/x\.png' and '/cam2/x\.png' would be .*keep the folders that tell"
    ):
        locate_pictures(named(coco, "/cam1/x.png", "/cam2/x.png"), [tmp_path])


def test_the_folder_that_holds_most_is_taken(coco, tmp_path):
    touch(tmp_path / "a" / "1.png", tmp_path / "b" / "1.png", tmp_path / "b" / "2.png")
    places = found(named(coco, "1.png", "2.png", "3.png"), tmp_path / "a", tmp_path / "b")
    assert places == [f"{tmp_path}/b/1.png", f"{tmp_path}/b/2.png", None]


def test_missing_pictures_are_left_out_with_their_annotations(coco, tmp_path, caplog):
    absent = np.array([True, False, False, True])
    paths = [f"{tmp_path}/{name}" for name in coco.files]
    part, kept = without_missing(coco, paths, absent, "Set", tmp_path)
    assert (part.image_ids.tolist(), kept) == ([25, 30], paths[1:3])
    assert part.ids.tolist() == [697]
    assert (
        "Set: left out 2 of 4 pictures: they are not there (2 files: 000000000009.jpg, 000000000034.jpg)" in caplog.text
    )
    assert without_missing(coco, paths, ~np.ones(4, bool), "Set", tmp_path) == (coco, paths)
    with pytest.raises(
        UserError, match=r"Set: none of the 4 pictures that .* names is there: 4 files.*name the folder"
    ):
        without_missing(coco, paths, np.ones(4, bool), "Set", tmp_path)
