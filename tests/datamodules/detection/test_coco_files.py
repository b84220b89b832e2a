import numpy as np
import pytest
from PIL import Image

from datamodules.detection.coco_files import annotation_file, held_out, picture_size, with_sizes
from datamodules.detection.coco_json import read_annotations
from datamodules.detection.orientations import ORIENTATION
from tests.helpers.replicas_detection import edit_json, make_coco_detection
from visionscapes.errors import UserError


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


def test_a_picture_on_its_side_has_the_size_that_it_is_read_with(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg", exif=exif)
    assert picture_size(tmp_path / "a.jpg") == (10, 20)
    assert picture_size(tmp_path / "a.jpg", upright=True) == (20, 10)
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"cannot read the image .*b\.jpg"):
        picture_size(tmp_path / "b.jpg")


def test_a_part_is_held_out_and_the_rest_stays(tmp_path):
    coco = read_annotations(make_coco_detection(tmp_path) / "annotations" / "instances_train2017.json")
    train, val = held_out(coco, 0.3, seed=1)
    assert (len(train.image_ids), len(val.image_ids)) == (3, 1)
    assert sorted([*train.image_ids.tolist(), *val.image_ids.tolist()]) == coco.image_ids.tolist()
    assert sorted([*train.ids.tolist(), *val.ids.tolist()]) == sorted(coco.ids.tolist())
    with pytest.raises(UserError, match="has one picture, of which no share can be held out"):
        held_out(coco.of(np.array([2])), 0.5, seed=0)


def annotated(tmp_path, *numbers):
    """Return four pictures of which those of some numbers have annotations."""
    coco = read_annotations(make_coco_detection(tmp_path) / "annotations" / "instances_train2017.json")
    return coco.only(np.isin(coco.image_ids[coco.images], numbers))


def test_advice_on_a_share_can_be_followed(tmp_path):
    with pytest.raises(UserError, match="has no annotation, so that no share can be held out: give val_annotations"):
        held_out(annotated(tmp_path), 0.5, seed=0)
    with pytest.raises(UserError, match="has one picture with annotations, so that no share can be held out: give val"):
        held_out(annotated(tmp_path, 9), 0.5, seed=0)
    coco, told = annotated(tmp_path, 9, 34), set()
    for fraction in (0.25, 0.5, 0.75):
        for seed in range(12):
            try:
                train, val = held_out(coco, fraction, seed)
            except UserError as error:
                told.add(str(error).partition(": ")[2].removeprefix("the "))
            else:
                assert len(train.ids)
                assert len(val.ids)
    none, every = "have no annotation: hold out more, or", "have all the annotations: hold out fewer, or"
    assert told == {
        f"1 of 4 pictures that val_fraction=0.25 holds out {none} others by another val_seed",
        f"2 of 4 pictures that val_fraction=0.5 holds out {none} others by another val_seed",
        f"2 of 4 pictures that val_fraction=0.5 holds out {every} others by another val_seed",
        f"3 of 4 pictures that val_fraction=0.75 holds out {every} others by another val_seed",
    }
