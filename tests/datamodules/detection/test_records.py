import pickle
from dataclasses import replace

import numpy as np
import pytest

from datamodules.detection.coco_json import read_annotations
from datamodules.detection.records import records, stem_as_id, with_removed
from tests.helpers.replicas_detection import COCO_SIZES, edit_json, make_coco_detection, make_lvis
from visionscapes.errors import UserError


@pytest.fixture
def path(tmp_path):
    return make_coco_detection(tmp_path) / "annotations" / "instances_train2017.json"


def of_file(path, with_masks=False, evaluated=False, **options):
    coco = read_annotations(path, with_masks)
    folder = path.parent.parent / "train2017"
    return records(coco, [f"{folder}/{name}" for name in coco.files], "COCO", evaluated=evaluated, **options)


def test_a_record_holds_everything_about_a_picture(path):
    record = of_file(path)[0]
    assert (record.image_id, record.size) == (9, (40, 64))
    assert record.read().shape == (40, 64, 3)
    assert record.boxes.tolist() == [[20.5, 10.25, 40.5, 30.25], [4, 2, 12, 10], [50, 20, 64, 40]]  # cut at 64
    assert record.labels.tolist() == [0, 2, 1]
    assert record.ignored.tolist() == [False, True, False]
    assert not record.removed.any()
    assert record.areas.tolist() == pytest.approx([300, 48, 0.75 * 14.01 * 20])
    assert record.ids.tolist() == [12, 699, 698]
    assert (record.masks, record.negative, record.not_exhaustive) == (None, (), ())
    dtypes = {"boxes": "float32", "labels": "int64", "ignored": "bool", "removed": "bool", "areas": "float32"}
    assert {name: str(getattr(record, name).dtype) for name in [*dtypes, "ids"]} == dtypes | {"ids": "int64"}


def test_pictures_come_by_id_and_without_annotations_too(path):
    found = of_file(path)
    assert [record.image_id for record in found] == [9, 25, 30, 34]
    assert found[2].boxes.shape == (0, 4)
    assert found[2].read().shape == (44, 60, 3)
    assert found[1].read().shape == (*COCO_SIZES[25][::-1], 3)  # a greyscale file
    assert [record.image_id for record in found[1:3]] == [25, 30]
    assert found[-1].image_id == 34
    with pytest.raises(IndexError):
        found[4]


def test_pictures_can_be_called_by_their_file(path):
    assert of_file(path, image_id=stem_as_id)[0].image_id == "000000000009"


def test_a_box_without_area_is_left_out_of_training_only(path):
    assert of_file(path)[3].ids.tolist() == [700]
    record = of_file(path, with_masks=True, evaluated=True)[3]
    assert record.ids.tolist() == [700, 696]
    assert record.boxes.tolist() == [[10, 10, 20, 30], [5, 5, 5, 14]]
    assert len(record.masks) == 2


def test_masks_are_those_of_pycocotools(path):
    from pycocotools import mask as rle
    from pycocotools.coco import COCO

    theirs, compared = COCO(str(path)), 0
    for record in of_file(path, with_masks=True):
        for number, mask in zip(record.ids.tolist(), record.masks, strict=True):
            assert np.array_equal(rle.decode(mask), theirs.annToMask(theirs.anns[number]))
            compared += 1
    assert compared == 5


def test_an_instance_without_any_pixel_has_an_empty_mask(path):
    from pycocotools import mask as rle

    record = of_file(path, with_masks=True, evaluated=True)[3]
    assert [int(rle.area(mask)) for mask in record.masks] == [10 * 20, 0]
    assert rle.decode(record.masks[1]).shape == (40, 40)


@pytest.mark.parametrize("segmentation", [3, {"size": [3, 3], "counts": [9]}, {"counts": [1]}, [["a", 1, 2, 3, 4, 5]]])
def test_a_mask_of_another_format_is_named_when_it_is_needed(path, segmentation):
    edit_json(path, lambda content: content["annotations"][0].update(segmentation=segmentation))
    assert len(of_file(path)[3].ids) == 1
    with pytest.raises(UserError, match=r"annotation 700 in .* has no mask in COCO's format .*with_masks=false"):
        of_file(path, with_masks=True)[3]


@pytest.mark.parametrize(
    ("evaluated", "effect"), [(False, "their boxes are learnt, and no"), (True, "they are misses")]
)
def test_annotations_without_a_mask_are_counted_and_their_masks_are_empty(path, caplog, evaluated, effect):
    from pycocotools import mask as rle

    edit_json(path, lambda content: content["annotations"][1].update(segmentation=None))
    found = of_file(path, with_masks=True, evaluated=evaluated)
    assert [int(rle.area(mask)) > 0 for mask in found[0].masks] == [False, True, True]
    assert len(found[0].boxes) == 3
    counted = "2 of 6" if evaluated else "1 of 5"  # the other has no area, and is not trained on
    assert f"COCO: {counted} annotations have no mask" in caplog.text
    assert f"such as annotation 12 of 000000000009.jpg: {effect}" in caplog.text


def test_records_survive_pickling_as_workers_need_them(path):
    found = of_file(path, with_masks=True)
    again = pickle.loads(pickle.dumps(found))
    assert again[0].masks == found[0].masks
    assert np.array_equal(again[0].read(), found[0].read())


def test_hidden_labels_are_removed_and_their_crowds_unknown(path):
    found = of_file(path).hiding([1, 2])
    assert found[0].ids.tolist() == [12, 698]  # 699 is a crowd
    assert found[0].removed.tolist() == [False, True]
    assert found[3].removed.tolist() == [True]
    assert [record.image_id for record in found] == [9, 25, 30, 34]


def test_label_sets_are_of_what_is_trained_on(path):
    found = of_file(path)
    assert [labels.tolist() for labels in found.label_sets()] == [[0, 1], [1], [], [2]]
    assert [labels.tolist() for labels in found.hiding([1]).label_sets()] == [[0], [], [], [2]]


def test_lvis_has_classes_of_a_picture(tmp_path):
    path = make_lvis(tmp_path) / "annotations" / "lvis_v1_train.json"
    found = of_file(path)
    assert [(record.negative, record.not_exhaustive) for record in found] == [
        ((), (2,)),
        ((), ()),
        ((0,), ()),
        ((), ()),
    ]


def sparse_copy(path, gone):
    content = path.read_text()
    sparse = path.with_name("sparse.json")
    sparse.write_text(content)
    return edit_json(
        sparse,
        lambda content: content.update(annotations=[each for each in content["annotations"] if each["id"] not in gone]),
    )


@pytest.mark.parametrize("with_masks", [True, False])
def test_what_a_sparse_file_lacks_is_marked(path, with_masks):
    sparse = read_annotations(sparse_copy(path, {12, 700}), with_masks)
    sparse = sparse.of(np.array([0, 1, 3]))  # some pictures only
    coco, removed = with_removed(sparse, read_annotations(path, with_masks))
    assert coco.image_ids.tolist() == [9, 25, 34]
    assert coco.ids.tolist() == [12, 699, 698, 697, 700, 696]
    assert removed.tolist() == [True, False, False, False, True, False]
    assert (coco.segmentations is not None) == with_masks
    found = records(coco, ["x"] * 3, "COCO", evaluated=False, removed=removed)
    assert found[0].removed.tolist() == [True, False, False]
    assert found[2].removed.tolist() == [True]


def test_a_file_that_is_no_part_of_the_other_is_an_error(path):
    full = read_annotations(path)
    ids = full.ids.copy()
    ids[0] = 5
    for other in (
        replace(full, ids=ids),
        replace(full, image_ids=full.image_ids + 1),
        replace(full, classes=("a", "b", "c")),
    ):
        with pytest.raises(UserError, match=r"is not a part of .*give the file that it was made from"):
            with_removed(other, full)


def test_pictures_without_any_annotation_at_all_are_an_error(path):
    edit_json(path, lambda content: content.update(annotations=[]))
    with pytest.raises(UserError, match="has pictures, but no annotation"):
        of_file(path)


def test_messages_name_annotation_and_picture(path):
    edit_json(path, lambda content: content["annotations"][1].update(bbox=[1, 1, float("nan"), 1]))
    with pytest.raises(UserError, match=r'annotation 12 .*: "bbox" is \[1\.0, 1\.0, nan, 1\.0\], which is not finite'):
        of_file(path)


def test_annotations_that_are_all_crowds_teach_nothing(path):
    def crowded(content):
        for annotation in content["annotations"]:
            annotation["iscrowd"] = 1

    edit_json(path, crowded)
    coco = read_annotations(path)
    paths = [f"/{name}" for name in coco.files]
    with pytest.raises(UserError, match=r"all .* annotations are crowds or difficult .*set these to 0"):
        records(coco, paths, "mine", evaluated=False)
    assert len(records(coco, paths, "mine", evaluated=True))
