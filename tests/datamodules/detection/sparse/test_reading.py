"""Files that no split can be made of are refused, and nothing is written."""

import json

import pytest

from datamodules.detection.sparse.reading import read_annotations
from tests.datamodules.detection.sparse.cases import coco, failure, write
from visionscapes.errors import UserError

BROKEN = {
    "no_images": (lambda content: content.update(images=[]), "it names no picture"),
    "no_annotations": (lambda content: content.update(annotations=[]), "no annotation that could be removed"),
    "only_crowds": (lambda content: [a.update(iscrowd=1) for a in content["annotations"]], "no annotation that could"),
    "image": (lambda content: content["annotations"][4].update(image_id=1, id=4711), 'annotation 4711 (entry 5 of "an'),
    "category": (lambda content: content["annotations"][4].update(category_id=1), '"category_id" is 1, which is not'),
    "twice": (lambda content: content["annotations"].append(content["annotations"][0]), 'entry 61 of "annotations"'),
    "image_twice": (lambda content: content["images"].append(content["images"][-1]), '"id" is 93, as in picture'),
    "category_twice": (lambda content: content["categories"].insert(0, {"id": 3, "name": "x"}), '"id" is 3, as in'),
    "fraction_id": (lambda content: content["annotations"][0].update(id=1.5), '"id" is 1.5, which is no whole number'),
    "mixed_ids": (lambda content: content["annotations"][0].update(id="12"), "a number, and a text in the entries"),
    "huge_id": (lambda content: content["annotations"][0].update(id=2**70), "does not fit into 64 bits"),
    "list_id": (lambda content: content["annotations"][0].update(image_id=[]), '"image_id" is [], which is no whole'),
    "crowd": (lambda content: content["annotations"][0].update(iscrowd="yes"), "\"iscrowd\" is 'yes': write 0 or 1"),
    "box": (lambda content: content["annotations"][0].update(bbox=[1, 2, float("nan"), 3]), "which is not finite"),
    "no_key": (lambda content: content.pop("annotations"), '"annotations" is missing'),
    "list": (lambda content: content.update(annotations={"a": 1}), '"annotations" is no list'),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_contradicts_itself_is_refused(tmp_path, capsys, name):
    content, (spoil, message) = coco(), BROKEN[name]
    spoil(content)
    source = write(tmp_path / "in.json", content)
    error = failure(capsys, "--split", "siod", source, tmp_path / "out.json")
    assert message in error
    assert str(source) in error
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize("share", [0, 0.01, 0.3, 0.9, 0.999])
def test_a_file_that_was_cut_off_is_refused(source, capsys, share):
    raw = source.read_bytes()
    source.write_bytes(raw[: int(share * len(raw))])
    assert "is no JSON or is cut off" in failure(capsys, "--split", "siod", source, source.with_name("out.json"))
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("raw", [b"\xff\xfe\xfa", b"[]", b"3", b"[" * 100_000])
def test_a_file_of_something_else_is_refused(source, capsys, raw):
    source.write_bytes(raw)
    assert str(source) in failure(capsys, "--split", "siod", source, source.with_name("out.json"))


def test_reading_raises_for_callers_too(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_annotations(tmp_path / "missing.json")


def test_annotations_come_in_the_order_of_the_file(source):
    found = read_annotations(source)
    content = json.loads(source.read_text())
    assert found.content == content
    assert found.ids.tolist() == [each["id"] for each in content["annotations"]]
    assert found.protected.tolist() == [bool(each["iscrowd"]) for each in content["annotations"]]
    names = {each["id"]: each["name"] for each in content["categories"]}
    shown = [found.classes[label] for label in found.labels.tolist()]
    assert shown == [names[each["category_id"]] for each in content["annotations"]]
