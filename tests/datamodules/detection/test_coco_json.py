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
            short = each["id"] == 696  # a polygon of four numbers
            assert ours.segmentations[k] == (None if short else each["segmentation"])
            assert ours.segmentations.absent[k] == short
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


ENTRY = r"annotation 700 \(entry 1 of .annotations., character \d+\)"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(images=[], annotations=[]), "it names no picture"),
        (lambda content: content.pop("annotations"), '"annotations" is missing'),
        (lambda content: content.update(categories={}), '"categories" is no list'),
        (lambda content: content.pop("images"), '"images" is missing'),
        (lambda content: first(content).pop("image_id"), ENTRY + r': "image_id" is missing: give it one, or delete'),
        (lambda content: first(content).pop("category_id"), ENTRY + ': "category_id" is missing'),
        (lambda content: first(content).update(id=12.5), r'entry 1 .*: "id" is 12\.5, which is no whole number and no'),
        (lambda content: first(content).update(id=True, area="x"), '"area" is .x., no number: correct it, or leave it'),
        (
            lambda content: first(content).update(id=2**64),
            r'"id" is 1844\d+, which does not fit into 64 bits: write it',
        ),
        (lambda content: first(content).update(image_id=34.5), ENTRY + r': "image_id" is 34\.5, which is no whole'),
        (
            lambda content: first(content).update(category_id=[1]),
            ENTRY + r': "category_id" is \[1\], which is no whole',
        ),
        (lambda content: first(content).update(id="b"), r'entry 2 .*: "id" is 12, a number, and a text in the entries'),
        (lambda content: content["annotations"][1].update(id="b"), 'entry 2 .*: "id" is .b., a text, and a number in'),
        (lambda content: first(content).pop("bbox"), ENTRY + ': "bbox" is missing; it has to be x, y, width, height'),
        (lambda content: first(content).update(bbox=[1, 2, 3]), ENTRY + r': "bbox" is \[1, 2, 3\]; it has to be x, y'),
        (lambda content: first(content).update(bbox=[1, 2, 3, None]), ENTRY + r': "bbox" is \[1, 2, 3, None\]; it'),
        (lambda content: first(content).update(bbox=[1, 2, 3, float("nan")]), r"nan\], which is not finite \(1 of 6 b"),
        (lambda content: first(content).update(iscrowd="yes"), ENTRY + ': "iscrowd" is .yes.: write 0 or 1'),
        (
            lambda content: first(content).update(image_id=77),
            ENTRY + r': "image_id" is 77, which is not in "images" \(1 of 6 annotations are of 1 images that are not '
            r"there\): take them out, or train without them, --data\.init_args\.skip_missing=true",
        ),
        (
            lambda content: first(content).update(category_id=2),
            ENTRY + r': "category_id" is 2, which is not in "categories" \(1 of 6 .*skip_missing',
        ),
        (lambda content: content.update(categories=[]), r'"category_id" is 90, .* \(6 of 6 annotations are of 3 categ'),
        (
            lambda content: first(content, "images").update(id=9),
            r'picture \(entry 2 of "images", character \d+\): "id" is 9, as in picture \(entry 1 of "images", char',
        ),
        (lambda content: first(content, "images").update(id=None), 'entry 1 of "images".*: "id" is missing'),
        (
            lambda content: first(content, "images").update(file_name="000000000009.jpg"),
            r'entry 2 of "images".*"file_name" is .000000000009\.jpg., as in .*make every "file_name" different',
        ),
        (lambda content: first(content, "images").pop("file_name"), 'picture 34 .*"file_name" is missing: write the'),
        (lambda content: first(content, "images").update(height=40.5), r'picture 34 .*"height" is 40\.5; it has to be'),
        (lambda content: first(content).update(id=12), r'entry 2 .*"id" is 12, as in annotation \(entry 1 of "ann'),
        (lambda content: first(content, "categories").update(id=1), r'entry 3 of "categories".*"id" is 1, as in cat'),
        (lambda content: first(content, "categories").pop("name"), 'category 90 .*"name" is missing: give it one'),
        (
            lambda content: first(content, "images").update(neg_category_ids=[7]),
            r"picture 34 .*names the categories \[7\] as neg_category_ids, which are not defined",
        ),
        (lambda content: content["annotations"].append(3), 'entry 7 of "annotations".*: it is 3, no object: take it'),
        (
            lambda content: content.update(annotations=[{"image_id": 9, "segments_info": [{"category_id": 1}]}]),
            '"category_id" is missing; this is a panoptic file: give that of the instances',
        ),
        (lambda content: content.update(images=None, shapes=[]), "a file of labelme, which has one for each picture"),
    ],
)
def test_bad_content_is_named_with_the_entry_the_field_and_what_to_do(path, change, message):
    with pytest.raises(UserError, match=message) as error:
        read_annotations(edit_json(path, change))
    assert str(path) in str(error.value)


def test_the_line_of_an_entry_is_named_if_there_are_lines(path):
    content = json.loads(path.read_text())
    content["annotations"][3]["bbox"] = [1, 2]
    text = json.dumps(content, indent=1)
    path.write_text(text)
    line = text[: text.index('"id": 698')].count("\n")  # the brace before the field
    with pytest.raises(UserError, match=rf'annotation 698 \(entry 4 of "annotations", line {line}\): "bbox" is'):
        read_annotations(path)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-be"])
def test_every_encoding_of_unicode_is_read(path, encoding, caplog):
    edit_json(path, lambda content: first(content, "categories").update(name="Zahnbürste"))
    text = json.dumps(json.loads(path.read_text()), ensure_ascii=False)
    path.write_text(text, encoding=encoding)
    assert read_annotations(path).classes[2] == "Zahnbürste"
    assert ("is written in UTF-" in caplog.text) == (encoding != "utf-8-sig")


def test_another_encoding_is_named(path):
    path.write_bytes(path.read_bytes().replace(b"person", b"pers\xf6n"))
    with pytest.raises(UserError, match=r"is no UTF-8 text \(byte \d+ is 0xf6\): save it as UTF-8"):
        read_annotations(path)


def uuid(number):
    return f"f81d4fae-7dec-11d0-a765-{number:012x}"


def test_texts_are_ids_as_they_are(path):
    numbers = read_annotations(path, with_masks=True)

    def change(content):
        for entry in content["annotations"]:
            entry.update(id=uuid(entry["id"]), image_id=str(entry["image_id"]), category_id=f"c{entry['category_id']}")
        for entry in content["images"]:
            entry["id"] = str(entry["id"])
        for entry in content["categories"]:
            entry["id"] = f"c{entry['id']}"

    texts = read_annotations(edit_json(path, change), with_masks=True)
    assert texts.category_ids.tolist() == ["c1", "c3", "c90"]
    assert texts.image_ids.tolist() == ["25", "30", "34", "9"]
    assert sorted(texts.ids.tolist()) == sorted(uuid(number) for number in numbers.ids.tolist())
    for place, entry_id in enumerate(texts.ids.tolist()):
        same = [uuid(number) for number in numbers.ids.tolist()].index(entry_id)
        assert texts.boxes[place].tolist() == numbers.boxes[same].tolist()
        assert texts.files[texts.images[place]] == numbers.files[numbers.images[same]]
        assert texts.classes[texts.labels[place]] == numbers.classes[numbers.labels[same]]


def test_texts_of_digits_order_categories_by_their_numbers(path):
    def change(content):
        for entry in [*content["annotations"], *content["categories"]]:
            key = "category_id" if "category_id" in entry else "id"
            entry[key] = str(entry[key])

    edit_json(path, lambda content: first(content, "categories").update(id=100))  # after 1 and 3, and not between
    edit_json(path, lambda content: [e.update(category_id=100) for e in content["annotations"] if e["category_id"] > 9])
    coco = read_annotations(edit_json(path, change))
    assert coco.category_ids.tolist() == ["1", "3", "100"]
    assert coco.classes == ("person", "car", "toothbrush")


def test_a_number_that_is_whole_is_taken_and_one_that_names_a_text_finds_it(path):
    before = read_annotations(path)

    def change(content):
        for entry in content["annotations"]:
            entry.update(id=float(entry["id"]), image_id=str(entry["image_id"]), category_id=entry["category_id"] / 1)

    after = read_annotations(edit_json(path, change))
    for name in ("ids", "labels", "boxes", "first", "image_ids"):
        assert getattr(after, name).tolist() == getattr(before, name).tolist()
    assert after.ids.dtype == np.int64


def test_missing_ids_of_annotations_are_numbered_and_told(path, caplog):
    edit_json(path, lambda content: [each.pop("id") for each in content["annotations"]])
    coco = read_annotations(path)
    assert coco.ids.tolist() == (coco.places + 1).tolist()
    assert 'instances_train2017.json: 6 of 6 annotations have no "id"; they are numbered' in caplog.text
    edit_json(path, lambda content: content["annotations"][2].update(id=50))
    assert sorted(read_annotations(path).ids.tolist()) == [50, 51, 52, 53, 54, 55]


@pytest.mark.parametrize("area", [None, float("nan")])
def test_an_area_that_is_null_is_that_of_the_box(path, area):
    edit_json(path, lambda content: content["annotations"][0].update(area=area))
    coco = read_annotations(path)
    assert coco.areas[coco.ids == 700].tolist() == [200]


def test_a_size_that_is_not_there_is_nought(path):
    edit_json(path, lambda content: first(content, "images").pop("height"))
    edit_json(path, lambda content: first(content, "images").update(width=None))
    assert read_annotations(path).sizes[3].tolist() == [0, 0]


def test_orphans_are_left_out_on_request_and_counted(path, caplog):
    edit_json(path, lambda content: first(content).update(image_id=77))
    edit_json(path, lambda content: content["annotations"][1].update(category_id=2))
    coco = read_annotations(path, with_masks=True, skip_orphans=True)
    assert coco.ids.tolist() == [699, 698, 697, 696]
    assert [coco.segmentations[place] is None for place in range(4)] == [False, False, False, True]
    assert 'left out 1 of 6 annotations: their "image_id" is not in "images" (annotation 700 (entry 1' in caplog.text
    assert 'left out 1 of 6 annotations: their "category_id" is not in "categories" (annotation 12' in caplog.text


@pytest.mark.parametrize(
    "segmentation", [None, [], [[]], [[1.0, 2.0, 3.0, 4.0]], [[1, 2], []], {}, [[1, 2, 3, 4, 5, 6, 7]], [1, 2, 3]]
)
def test_what_no_mask_can_be_drawn_of_is_absent(path, segmentation):
    edit_json(path, lambda content: content["annotations"][1].update(segmentation=segmentation))
    masks = read_annotations(path, with_masks=True).segmentations
    assert masks.absent.tolist() == [True, False, False, False, False, True]
    assert masks[0] is None


def test_short_polygons_beside_others_are_counted(path, caplog):
    edit_json(path, lambda content: first(content)["segmentation"].append([1, 2, 3, 4]))
    coco = read_annotations(path, with_masks=True)
    assert not coco.segmentations.absent[coco.ids == 700].any()
    assert "1 polygons have fewer than three corners and are passed over" in caplog.text


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


@pytest.mark.parametrize("raw", [b"\xff\xfe\xfa", b"\x89PNG\r\n", b"[" * 100_000])
def test_bytes_of_something_else_are_an_error(path, raw):
    path.write_bytes(raw)
    with pytest.raises(UserError, match=r"is no (UTF-\w+ text|JSON)"):
        read_annotations(path)
