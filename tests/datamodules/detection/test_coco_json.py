import json

import numpy as np
import pytest

from datamodules.detection.coco_json import read_annotations
from tests.helpers.replicas_detection import COCO_ANNOTATIONS, COCO_PARTS, edit_json, make_coco_detection, make_lvis
from visionscapes.errors import UserError


@pytest.fixture
def path(tmp_path):
    return make_coco_detection(tmp_path) / "annotations" / "instances_train2017.json"


def test_annotations_are_read_as_pycocotools_reads_them(path):
    from pycocotools.coco import COCO

    theirs, ours = COCO(str(path)), read_annotations(path, with_masks=True)
    assert ours.image_ids.tolist() == sorted(theirs.getImgIds()) == sorted(COCO_PARTS["train"])
    assert ours.category_ids.tolist() == sorted(theirs.getCatIds())
    assert [each["name"] for each in theirs.loadCats(ours.category_ids.tolist())] == list(ours.classes)
    for place, image_id in enumerate(ours.image_ids.tolist()):
        image = theirs.imgs[image_id]
        assert ours.files[place] == image["file_name"]
        assert ours.sizes[place].tolist() == [image["height"], image["width"]]
        here = range(*ours.first[place : place + 2])
        of_image = theirs.loadAnns(theirs.getAnnIds([image_id]))
        assert [ours.ids[k] for k in here] == [each["id"] for each in of_image]
        for k, each in zip(here, of_image, strict=True):
            assert ours.category_ids[ours.labels[k]] == each["category_id"]
            assert ours.boxes[k].tolist() == each["bbox"]
            assert ours.areas[k] == each["area"]
            assert ours.ignored[k] == bool(each["iscrowd"])
            assert ours.segmentations[k] == each["segmentation"]
            assert ours.images[k] == place


def test_ids_with_gaps_become_labels_without(path):
    coco = read_annotations(path)
    assert coco.category_ids.tolist() == [1, 3, 90]
    assert coco.classes == ("person", "car", "toothbrush")
    assert dict(zip(coco.ids.tolist(), coco.labels.tolist(), strict=True)) == {
        number: [1, 3, 90].index(category)
        for number, image, category, *_ in COCO_ANNOTATIONS
        if image in COCO_PARTS["train"]
    }
    assert coco.segmentations is None


def test_lvis_names_pictures_by_url_and_classes_for_each_picture(tmp_path):
    coco = read_annotations(make_lvis(tmp_path) / "annotations" / "lvis_v1_val.json")
    assert coco.files == ("train2017/000000000072.jpg", "val2017/000000000139.jpg")
    assert coco.negative == ((0, 2), (1,))
    assert coco.not_exhaustive == ((), (3,))
    assert coco.frequencies == ("c", "r", "f", "f")
    assert not coco.ignored.any()


def test_difficult_objects_are_ignored_under_both_names_and_null_is_no(path):
    flags = [{"ignore": 1}, {"difficult": 1}, {"iscrowd": None, "ignore": None}]

    def change(content):
        for entry, flag in zip(content["annotations"], flags, strict=False):
            entry.update({"iscrowd": 0} | flag)

    edit_json(path, change)
    coco, first = read_annotations(path), [each["id"] for each in json.loads(path.read_text())["annotations"][:3]]
    assert [bool(coco.ignored[coco.ids == number][0]) for number in first] == [True, True, False]


def test_without_an_area_the_box_counts(path):
    edit_json(path, lambda content: [each.pop("area") for each in content["annotations"]])
    coco = read_annotations(path)
    assert coco.areas.tolist() == (coco.boxes[:, 2] * coco.boxes[:, 3]).tolist()


@pytest.mark.parametrize("with_masks", [True, False])
def test_parts_keep_what_belongs_together(path, with_masks):
    coco = read_annotations(path, with_masks)
    some = coco.only(coco.labels == 2)
    assert some.ids.tolist() == [699, 700]
    assert some.first.tolist() == [0, 1, 1, 1, 2]
    part = coco.of(np.array([0, 3]))
    assert part.image_ids.tolist() == [9, 34]
    assert part.files == ("000000000009.jpg", "000000000034.jpg")
    assert part.sizes.tolist() == [[40, 64], [40, 40]]
    assert part.ids.tolist() == [12, 699, 698, 700, 696]
    assert part.first.tolist() == [0, 3, 5]
    if with_masks:
        place = coco.ids.tolist().index(700)
        assert some.segmentations[1] == part.segmentations[3] == coco.segmentations[place]


def first(content, key="annotations"):
    return content[key][0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(images=[], annotations=[]), "it names no picture"),
        (lambda content: content.pop("annotations"), r"KeyError\('annotations'\)"),
        (lambda content: content.pop("images"), r"KeyError\('images'\)"),
        (lambda content: first(content).pop("image_id"), "an annotation without image_id or category_id"),
        (lambda content: first(content).pop("id"), r"annotation None is damaged or incomplete: KeyError\('id'\)"),
        (lambda content: first(content).pop("bbox"), r"annotation 700 is damaged or incomplete: KeyError\('bbox'\)"),
        (lambda content: first(content).update(bbox=[1, 2, 3]), "annotation 700 is damaged or incomplete: ValueError"),
        (lambda content: first(content).update(bbox=[1, 2, 3, None]), "annotation 700 is damaged or incomplete: Type"),
        (lambda content: first(content).update(image_id=77), r"annotations of pictures .*\(1 \(77\) pictures; 1 \(ann"),
        (
            lambda content: first(content).update(category_id=2),
            r"annotations of categories .*\(1 \(2\) categories; 1 \(",
        ),
        (
            lambda content: content.update(categories=[]),
            r"annotations of categories .*\(3 \(1, 3, 90\) categories; 6 \(",
        ),
        (lambda content: first(content, "images").update(id=9), r"1 \(9\) picture ids more than once"),
        (
            lambda content: first(content, "images").update(file_name="000000000009.jpg"),
            r"\(000000000009\.jpg\) file n",
        ),
        (lambda content: first(content, "images").pop("height"), r"KeyError\('height'\)"),
        (lambda content: first(content).update(id=12), r"1 \(12\) annotation ids more than once"),
        (lambda content: first(content, "categories").update(id=1), r"1 \(1\) category ids more than once"),
        (
            lambda content: first(content, "images").update(neg_category_ids=[7]),
            r"categories \[7\] as neg_category_ids",
        ),
    ],
)
def test_bad_content_is_named(path, change, message):
    with pytest.raises(UserError, match=message) as error:
        read_annotations(edit_json(path, change))
    assert str(path) in str(error.value)
    assert "get the file again" in str(error.value)


def test_the_first_of_many_are_named_with_their_number(path):
    edit_json(path, lambda content: [each.update(image_id=1000 + each["id"]) for each in content["annotations"]])
    with pytest.raises(
        UserError, match=r"\(6 \(1012, 1696, 1697, \.\.\.\) pictures; 6 \(annotation 700, annotation 12, "
    ):
        read_annotations(path)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.99])
def test_a_file_that_is_cut_off_is_an_error(path, share):
    text = path.read_text()
    path.write_text(text[: int(len(text) * share)])
    with pytest.raises(UserError, match=r"is no JSON or is cut off .*: get the file again"):
        read_annotations(path)


@pytest.mark.parametrize("text", ["[]", "3", '{"images": 1, "annotations": [], "categories": []}', '"\\ud800"'])
def test_json_of_another_kind_is_an_error(path, text):
    path.write_text(text)
    with pytest.raises(UserError, match="is not a detection file in COCO's format"):
        read_annotations(path)


def test_bytes_that_are_no_text_are_an_error(path):
    path.write_bytes(b"\xff\xfe\x00garbage")
    with pytest.raises(UserError, match="is not a detection file in COCO's format"):
        read_annotations(path)
