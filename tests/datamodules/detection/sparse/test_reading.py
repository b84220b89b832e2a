"""Files that no split can be made of are refused, and nothing is written."""

import pytest

from datamodules.detection.sparse.reading import read_annotations
from tests.datamodules.detection.sparse.cases import coco, failure, write
from visionscapes.errors import UserError

BROKEN = {
    "no_images": (lambda content: content.update(images=[]), "which is not in the file"),
    "no_annotations": (lambda content: content.update(annotations=[]), "no annotation that could be removed"),
    "only_crowds": (lambda content: [a.update(iscrowd=1) for a in content["annotations"]], "no annotation that could"),
    "image": (lambda content: content["annotations"][4].update(image_id=1, id=4711), "4711 has the image_id 1,"),
    "category": (lambda content: content["annotations"][4].update(category_id=1), "the category_id 1,"),
    "twice": (
        lambda content: content["annotations"].append(content["annotations"][0]),
        "the id of several annotations",
    ),
    "image_twice": (lambda content: content["images"].append(content["images"][-1]), "have the id 93"),
    "category_twice": (lambda content: content["categories"].insert(0, {"id": 3}), "have the id 3"),
    "no_id": (lambda content: content["annotations"][0].pop("id"), "KeyError: 'id'"),
    "text_id": (lambda content: content["annotations"][0].update(id="12"), "'12' of an annotation is not a whole"),
    "fraction_id": (lambda content: content["annotations"][0].update(id=1.5), "1.5 of an annotation is not a whole"),
    "huge_id": (lambda content: content["annotations"][0].update(id=2**70), "not a file of annotations"),
    "list_id": (lambda content: content["annotations"][0].update(image_id=[]), "not a file of annotations"),
    "crowd": (lambda content: content["annotations"][0].update(iscrowd="yes"), "not a file of annotations"),
    "no_key": (lambda content: content.pop("annotations"), "KeyError: 'annotations'"),
    "list": (lambda content: content.update(annotations={"a": 1}), "not a file of annotations"),
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
    assert "not a file of annotations" in failure(capsys, "--split", "siod", source, source.with_name("out.json"))
    assert list(source.parent.iterdir()) == [source]


@pytest.mark.parametrize("raw", [b"\xff\xfe\xfa", b"[]", b"3", b"[" * 100_000])
def test_a_file_of_something_else_is_refused(source, capsys, raw):
    source.write_bytes(raw)
    assert "not a file of annotations" in failure(capsys, "--split", "siod", source, source.with_name("out.json"))


def test_reading_raises_for_callers_too(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_annotations(tmp_path / "missing.json")
