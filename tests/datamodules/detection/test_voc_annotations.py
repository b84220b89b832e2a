import json

import pytest

from datamodules.common.errors import DatasetNotFoundError
from datamodules.detection.coco_json import read_annotations
from datamodules.detection.voc_annotations import (
    CLASSES,
    as_json,
    picture_size,
    read_sets,
    set_names,
    voc_objects,
    voc_roots,
)
from tests.helpers.image_files import truncate
from tests.helpers.replicas import write_image, write_text
from tests.helpers.replicas_detection import make_voc_detection
from visionscapes.errors import UserError

BOTH = [("2007", "trainval"), ("2012", "trainval")]


@pytest.fixture
def root(tmp_path):
    return make_voc_detection(tmp_path)


def xml(path, *objects):
    write_text(path, f"<annotation>{''.join(f'<object>{each}</object>' for each in objects)}</annotation>")
    return path


def corners(*numbers):
    names = ("xmin", "ymin", "xmax", "ymax")
    return f"<bndbox>{''.join(f'<{n}>{v}</{n}>' for n, v in zip(names, numbers, strict=True))}</bndbox>"


def test_corners_become_half_open_whatever_their_order(root):
    folder = root / "VOCdevkit" / "VOC2007" / "Annotations"
    first = voc_objects(folder / "000012.xml")
    assert first[0].box == (0, 0, 50, 40)  # touches all borders of a picture of 50 x 40 pixels
    assert first[1].box == (pytest.approx(44.70000076), 9, 48.9, 20)  # decimals stay
    assert [each.box for each in voc_objects(folder / "000005.xml")] == [(10, 0, 30, 20), (1, 2, 9, 9)]  # xmax first


def test_body_parts_do_not_count_and_flags_may_be_missing(root):
    folder = root / "VOCdevkit" / "VOC2007" / "Annotations"
    (only,) = voc_objects(folder / "000021.xml")
    assert (only.name, only.box, only.difficult) == ("dog", (0, 1, 3, 4), False)
    assert [each.difficult for each in voc_objects(folder / "000009.xml")] == [True]
    assert [each.difficult for each in voc_objects(folder / "000012.xml")] == [False, False]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", "no annotation of PASCAL VOC"),
        ("<annotation><object><name>dog</name></object></annotation>", "could not convert string to float"),
        (f"<annotation><object><name>head</name>{corners(1, 1, 5, 5)}</object></annotation>", "called 'head'"),
        (f"<annotation><object>{corners(1, 1, 5, 5)}</object></annotation>", "called ''"),
        ("", "no annotation of PASCAL VOC"),
    ],
)
def test_a_damaged_annotation_is_named(tmp_path, text, message):
    path = tmp_path / "000001.xml"
    path.write_text(text)
    with pytest.raises(UserError, match=message) as error:
        voc_objects(path)
    assert "000001.xml" in str(error.value)
    assert "unpack the data set again" in str(error.value)


def test_sets_become_one_list_with_the_sizes_of_the_files(root):
    coco = read_sets(root, BOTH)
    assert coco.files == (
        *(f"VOC2007/JPEGImages/{stem}.jpg" for stem in ("000012", "000005", "000009", "000021")),
        *(f"VOC2012/JPEGImages/{stem}.jpg" for stem in ("2008_000002", "2011_000003")),
    )
    assert coco.sizes.tolist() == [[40, 50], [60, 40], [30, 20], [30, 30], [36, 48], [50, 36]]
    assert coco.first.tolist() == [0, 2, 4, 5, 6, 8, 9]
    assert [CLASSES[label] for label in coco.labels] == ["dog"] * 6 + ["tvmonitor", "person", "chair"]
    assert coco.ignored.tolist() == [False] * 4 + [True] + [False] * 3 + [True]
    assert coco.boxes[6].tolist() == [10, 0, 38, 36]
    assert coco.areas[6] == 38 * 36


@pytest.mark.parametrize("below", ["", "VOCdevkit", "VOCdevkit/VOC2007"])
def test_every_folder_that_users_call_the_root_is_understood(root, below):
    assert len(read_sets(root / below, BOTH).files) == 6


def test_the_layout_of_one_archive_inside_the_folder_of_its_year(root):
    (root / "VOC2007").mkdir()
    (root / "VOCdevkit").rename(root / "VOC2007" / "VOCdevkit")
    assert root / "VOC2007" / "VOCdevkit" in voc_roots(root)
    assert len(read_sets(root, BOTH).files) == 6


def test_json_says_the_same(root, tmp_path):
    coco = read_sets(root, BOTH)
    path = tmp_path / "voc.json"
    path.write_text(as_json(coco))
    again = read_annotations(path)
    for name in ("category_ids", "image_ids", "sizes", "first", "ids", "labels", "boxes", "areas", "ignored"):
        assert getattr(again, name).tolist() == getattr(coco, name).tolist(), name
    assert (again.classes, again.files) == (coco.classes, coco.files)
    flags = [
        (each["difficult"], each["ignore"], each["iscrowd"]) for each in json.loads(path.read_text())["annotations"]
    ]
    assert flags == [(int(ignored), int(ignored), 0) for ignored in coco.ignored]


def test_pycocotools_reads_the_json(root, tmp_path):
    from pycocotools.coco import COCO

    (tmp_path / "voc.json").write_text(as_json(read_sets(root, BOTH)))
    theirs = COCO(str(tmp_path / "voc.json"))
    assert len(theirs.getAnnIds(catIds=theirs.getCatIds(catNms=["dog"]))) == 6


@pytest.mark.parametrize(
    ("part", "missing"),
    [
        ("VOC2007/ImageSets/Main/trainval.txt", "VOC2007/ImageSets/Main/trainval.txt"),
        ("VOC2007/Annotations/000005.xml", r"1 files: VOCdevkit/VOC2007/Annotations/000005\.xml"),
        ("VOC2007/JPEGImages/000005.jpg", r"1 files: VOCdevkit/VOC2007/JPEGImages/000005\.jpg"),
    ],
)
def test_a_missing_part_is_named(root, part, missing):
    (root / "VOCdevkit" / part).unlink()
    with pytest.raises(DatasetNotFoundError, match=f"Missing: {missing}") as error:
        read_sets(root, BOTH)
    assert "VOCtrainval_06-Nov-2007.tar" in str(error.value)


def test_a_list_without_names_is_an_error(root):
    (root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / "trainval.txt").write_text("\n")
    with pytest.raises(DatasetNotFoundError, match=r"Missing: a name in ImageSets/Main/trainval\.txt"):
        read_sets(root, BOTH)


def test_sizes_read_as_corners_are_recognised(root):
    folder = root / "VOCdevkit" / "VOC2007"
    sized = [f"<name>dog</name>{corners(*box)}" for box in ((20, 15, 10, 9), (30, 20, 15, 15), (25, 20, 20, 12))]
    xml(folder / "Annotations" / "000012.xml", *sized)
    xml(folder / "Annotations" / "000005.xml", f"<name>cat</name>{corners(20, 30, 10, 20)}")
    with pytest.raises(
        UserError, match=r"4 of 6 boxes make no sense as x1, y1, x2, y2 \(VOC2007/JPEGImages/000012\.jpg"
    ):
        read_sets(root, BOTH[:1])


def test_shares_of_the_pictures_are_recognised_as_they_are_written(root):
    folder = root / "VOCdevkit" / "VOC2007" / "Annotations"
    for path in folder.glob("*.xml"):
        xml(path, f"<name>dog</name>{corners(0.13, 0, 0.5, 1)}", f"<name>cat</name>{corners(0, 0.25, 1, 0.75)}")
    with pytest.raises(
        UserError,
        match=r"8 of 8 boxes lie in \[0, 1\] \(VOC2007/JPEGImages/000012\.jpg: \[0\.13, 0\.0, 0\.5, 1\.0\] .*multiply "
        r"x1 and x2 by the width of the picture \(50\)",
    ):
        read_sets(root, BOTH[:1])


def test_some_shares_among_pixels_are_told_as_they_are_written(root, caplog):
    xml(root / "VOCdevkit" / "VOC2007" / "Annotations" / "000021.xml", f"<name>dog</name>{corners(0.25, 0.5, 0.75, 1)}")
    read_sets(root, BOTH[:1])
    assert "1 of 6 boxes lie in [0, 1] (VOC2007/JPEGImages/000021.jpg: [0.25, 0.5, 0.75, 1.0] in " in caplog.text


@pytest.mark.parametrize(
    ("text", "difficult"),
    [("1", True), ("true", True), ("True", True), (" YES ", True), ("1.0", True)]
    + [(text, False) for text in ("0", "false", "No", "", "Unspecified", "0.0")],
)
def test_flags_are_read_as_tools_write_them(tmp_path, text, difficult):
    path = xml(tmp_path / "a.xml", f"<name>dog</name><difficult>{text}</difficult>{corners(1, 1, 5, 5)}")
    assert [each.difficult for each in voc_objects(path)] == [difficult]


def test_another_flag_is_refused(tmp_path):
    path = xml(tmp_path / "a.xml", f"<name>dog</name><difficult>maybe</difficult>{corners(1, 1, 5, 5)}")
    with pytest.raises(UserError, match=r"a\.xml .*difficult is 'maybe'; it has to be 0 or 1"):
        voc_objects(path)


def test_data_with_classes_of_their_own_are_sent_to_the_format_that_takes_them(tmp_path):
    path = xml(tmp_path / "a.xml", f"<name>helmet</name>{corners(1, 1, 5, 5)}")
    with pytest.raises(UserError, match=r"'helmet'.*if the data are your own, convert them .*--data=COCODetection"):
        voc_objects(path)


def test_pictures_of_other_kinds_are_read(root):
    folder = root / "VOCdevkit" / "VOC2007" / "JPEGImages"
    (folder / "000005.jpg").unlink()
    write_image(folder / "000005.PNG", 40, 60)
    coco = read_sets(root, BOTH[:1])
    assert coco.files[:2] == ("VOC2007/JPEGImages/000012.jpg", "VOC2007/JPEGImages/000005.PNG")
    assert coco.sizes[1].tolist() == [60, 40]
    write_image(folder / "000005.bmp", 40, 60)  # which of the two is not guessed
    with pytest.raises(DatasetNotFoundError, match=r"JPEGImages/000005\.jpg.*") as error:
        read_sets(root, BOTH[:1])
    assert "If the data are your own" in str(error.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("000005 -1", r"'000005 -1'.*list of one class.*such as trainval"),
        ("000005   1", r"'000005   1'.*list of one class"),
        ("000005.jpg", r"line 3 is '000005\.jpg'.*write 000005"),
        ("000005.xml", r"line 3 is '000005\.xml'.*write 000005"),
        ("JPEGImages/000005.jpg", r"line 3 is 'JPEGImages/000005\.jpg'.*write 000005"),
        ("000012", r"line 3 is '000012', as line 1: take one out"),
    ],
)
def test_odd_lines_of_a_list_are_named(root, line, message):
    path = root / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / "trainval.txt"
    path.write_text(f"000012\n\n{line}\n")
    with pytest.raises(UserError, match=rf"trainval\.txt: .*{message}"):
        read_sets(root, BOTH[:1])


def test_a_byte_order_mark_and_spaces_in_names_are_no_matter(root):
    folder = root / "VOCdevkit" / "VOC2007"
    for old, new in (
        ("JPEGImages/000005.jpg", "JPEGImages/a 1.jpg"),
        ("Annotations/000005.xml", "Annotations/a 1.xml"),
    ):
        (folder / old).rename(folder / new)
    (folder / "ImageSets" / "Main" / "trainval.txt").write_text("\ufeff000012\na 1\n", encoding="utf-8")
    assert [name[19:] for name in read_sets(root, BOTH[:1]).files] == ["000012.jpg", "a 1.jpg"]


@pytest.mark.parametrize("number", ["nan", "inf"])
def test_numbers_that_are_not_finite_are_an_error(root, number):
    path = root / "VOCdevkit" / "VOC2007" / "Annotations" / "000021.xml"
    xml(path, f"<name>dog</name>{corners(1, number, 5, 5)}")
    with pytest.raises(UserError, match=r"1 of 6 boxes hold numbers that are not finite \(VOC2007/JPEGImages/000021"):
        read_sets(root, BOTH[:1])


@pytest.mark.parametrize("sets", [[], ["trainval"], ["2007"], ["07 trainval"], ["2007 trainval", "2007 trainval"]])
def test_sets_are_year_and_split(sets):
    with pytest.raises(UserError, match=r'train is .* has to list different sets, such as "2007 trainval"'):
        set_names(sets, "train")


def test_spaces_around_sets_do_not_matter():
    assert set_names([" 2007  trainval", "2012 train"], "train") == [("2007", "trainval"), ("2012", "train")]


def test_the_size_of_a_picture_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "a.jpg"
    write_image(path, 36, 24)
    assert picture_size(truncate(path, 0.9)) == (24, 36)
    path.write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"cannot read the image .*a\.jpg"):
        picture_size(path)
