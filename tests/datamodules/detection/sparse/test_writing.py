"""A sparsely annotated copy, the record of what it lacks, and where neither is written."""

import hashlib
import json
import os

import pytest
from pycocotools.coco import COCO

from datamodules.detection.coco_json import read_annotations as read_arrays
from datamodules.detection.records import DrawnSplit, with_removed
from datamodules.detection.sparse.reading import read_annotations
from datamodules.detection.sparse.splits import choose_removed
from datamodules.detection.sparse.writing import make_sparse, record_path
from tests.datamodules.detection.sparse.cases import SPLITS, coco, failure, run, write
from tests.helpers.full_disk import largest_file
from visionscapes.errors import UserError

BOX = {"bbox": [1, 2, 3, 4]}


@pytest.mark.parametrize("words", SPLITS)
def test_the_copy_lacks_what_the_record_says_and_nothing_else(source, tmp_path, words):
    output = tmp_path / "new" / "sparse.json"
    assert run(source, output, *words, "--seed", "3") == 0
    record = json.loads((tmp_path / "new" / "sparse.removed.json").read_text())
    original, sparse = json.loads(source.read_text()), json.loads(output.read_text())
    removed = set(record["removed"])
    assert 0 < len(removed) < 60
    kept = [each for each in original["annotations"] if each["id"] not in removed]
    assert list(sparse) == list(original)
    assert sparse == {**original, "annotations": kept}
    assert not any(each["iscrowd"] for each in original["annotations"] if each["id"] in removed)
    assert sorted(path.name for path in output.parent.iterdir()) == ["sparse.json", "sparse.removed.json"]
    assert sorted(COCO(str(output)).getAnnIds()) == sorted(each["id"] for each in kept)


def test_the_record_is_enough_to_do_it_again(source, tmp_path):
    words = ["--split", "5", "--percent", "40", "--seed", "9", "--rounding", "ceil", "--count", "annotations"]
    assert run(source, tmp_path / "a.json", *words, "--refill") == 0
    record = json.loads((tmp_path / "a.removed.json").read_text())
    removed = record.pop("removed")
    assert record == {
        "source": "in.json",
        "source_sha256": hashlib.sha256(source.read_bytes()).hexdigest(),
        "split": "5",
        "percent": 40.0,
        "seed": 9,
        "options": {"rounding": "ceil", "ensure_one": False, "count": "annotations", "refill": True},
    }
    assert removed == sorted(removed)
    assert run(source, tmp_path / "4.json", "--split", "4", "--level", "easy") == 0
    record = json.loads((tmp_path / "4.removed.json").read_text())
    assert record["level"] == "easy"
    assert "percent" not in record


@pytest.mark.parametrize("words", SPLITS)
def test_the_same_seed_gives_the_same_bytes_and_the_order_in_the_file_does_not_matter(tmp_path, words):
    content = coco()
    source = write(tmp_path / "in.json", content)
    for key in ("images", "categories", "annotations"):
        content[key] = content[key][::-1]
    other = write(tmp_path / "other.json", content)
    for name, path in {"a": source, "b": source, "c": other}.items():
        assert run(path, tmp_path / f"{name}.json", *words) == 0
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.removed.json").read_bytes() == (tmp_path / "b.removed.json").read_bytes()
    removed = [json.loads((tmp_path / f"{name}.removed.json").read_text())["removed"] for name in "ac"]
    assert removed[0] == removed[1]
    assert run(source, tmp_path / "d.json", *words, "--seed", "1") == 0
    assert json.loads((tmp_path / "d.removed.json").read_text())["removed"] != removed[0]


def test_arrays_give_the_same_split_as_the_file(source, tmp_path):
    found = read_annotations(source)
    removed = choose_removed(found.images, found.labels, "3", 50, protected=found.protected, ids=found.ids, seed=4)
    assert run(source, tmp_path / "out.json", "--split", "3", "--percent", "50", "--seed", "4") == 0
    record = json.loads((tmp_path / "out.removed.json").read_text())
    assert sorted(found.ids[removed].tolist()) == record["removed"]


def test_the_table_says_what_was_removed(tmp_path, capsys):
    content = coco(0)
    for number in range(10):  # ten cats, four of them in one image; three dogs alone in another; a crowd of dogs
        content["annotations"].append({"id": number, "image_id": 100 if number < 4 else 99, "category_id": 3, **BOX})
    for number in range(10, 14):
        crowd = {"iscrowd": 1} if number == 13 else {}
        content["annotations"].append({"id": number, "image_id": 98, "category_id": 10, **BOX, **crowd})
    source = write(tmp_path / "in.json", content)
    assert run(source, tmp_path / "out.json", "--split", "1", "--percent", "100") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith(": 1")
    assert lines[1] == "images without any annotation: 5 of 8 before, 8 after"
    assert lines[2].endswith(": 0")
    assert run(source, tmp_path / "easy.json", "--split", "4", "--level", "easy") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "images without any annotation: 5 of 8 before, 5 after"
    assert lines[2].endswith(": 2")
    assert [line.split() for line in lines[4:]] == [
        ["all", "classes", "13", "3", "23.08"],
        ["cat", "10", "2", "20.00"],
        ["dog", "3", "1", "33.33"],
        ["traffic", "light", "0", "0", "-"],
    ]


@pytest.mark.parametrize("field", ["iscrowd", "difficult", "ignore"])
def test_crowds_and_difficult_objects_stay_whatever_the_field(tmp_path, field):
    content = coco()
    for each in content["annotations"]:
        del each["iscrowd"]
        each[field] = "1" if each["id"] % 2 else None  # some converters write text
    source = write(tmp_path / "voc.json", content)
    assert run(source, tmp_path / "out.json", "--split", "1", "--percent", "100") == 0
    kept = json.loads((tmp_path / "out.json").read_text())["annotations"]
    assert kept == [each for each in content["annotations"] if each["id"] % 2]


def test_an_image_with_one_box_keeps_it(tmp_path):
    content = coco(0)
    content["annotations"] = [{"id": 5, "image_id": 100, "category_id": 3, **BOX}]
    source = write(tmp_path / "in.json", content)
    for name, words in enumerate([*SPLITS[1:], ["--split", "4", "--level", "extreme"]]):
        assert run(source, tmp_path / f"{name}.json", *words) == 0
        assert json.loads((tmp_path / f"{name}.json").read_text()) == content


def test_no_file_is_replaced_unasked(source, tmp_path, capsys):
    output, record = tmp_path / "out.json", tmp_path / "out.removed.json"
    for path in (output, record):
        path.write_text("precious")
        assert f"{path} exists" in failure(capsys, "--split", "siod", source, output)
        assert path.read_text() == "precious"
        path.unlink()
    output.write_text("old")
    assert run(source, output, "--split", "siod", "--overwrite") == 0
    assert json.loads(output.read_text())["info"]["year"] == 2017


def test_the_source_is_never_replaced(source, tmp_path, capsys):
    raw = source.read_bytes()
    linked = tmp_path / "link.json"
    linked.symlink_to(source)
    hard = tmp_path / "hard.json"
    os.link(source, hard)
    for output in (source, linked, hard, tmp_path / "." / "in.json"):
        assert "would replace" in failure(capsys, "--split", "siod", "--overwrite", source, output)
    record = source.rename(tmp_path / "x.removed.json")
    assert "would replace" in failure(capsys, "--split", "siod", "--overwrite", record, tmp_path / "x.json")
    assert record.read_bytes() == raw


def test_places_that_cannot_be_read_or_written_are_named(source, tmp_path, capsys):
    (tmp_path / "folder.json").mkdir()
    words = ["--split", "siod"]
    assert "No such file" in failure(capsys, *words, tmp_path / "missing.json", tmp_path / "out.json")
    assert "Is a directory" in failure(capsys, *words, tmp_path, tmp_path / "out.json")
    assert "is a folder" in failure(capsys, *words, source, tmp_path / "folder.json")
    assert "ends in .json" in failure(capsys, *words, source, tmp_path / "out.txt")
    assert "cannot be written" in failure(capsys, *words, source, source / "out.json")


@pytest.mark.parametrize("size", [50, 1000])
def test_a_full_disk_leaves_nothing_behind(source, tmp_path, capsys, size):
    with largest_file(size):  # enough for the record in one case, for neither file in the other
        assert "File too large" in failure(capsys, "--split", "siod", source, tmp_path / "out.json")
    assert list(tmp_path.iterdir()) == [source]


def test_from_python_it_is_the_same(source, tmp_path, capsys):
    assert run(source, tmp_path / "a.json", "--split", "3", "--percent", "50", "--seed", "4") == 0
    lines = make_sparse(source, tmp_path / "b.json", "3", percent=50.0, seed=4)
    assert "\n".join(lines) + "\n" == capsys.readouterr().out
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert record_path(tmp_path / "a.json").read_bytes() == record_path(tmp_path / "b.json").read_bytes()
    with pytest.raises(UserError, match=r"b\.json exists"):
        make_sparse(source, tmp_path / "b.json", "3", percent=50)


def uuid(number):
    return f"f81d4fae-7dec-11d0-a765-{number:012x}"


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: [each.pop("id") for each in content["annotations"]],
        lambda content: [each.update(id=uuid(each["id"])) for each in content["annotations"]],
        lambda content: [each.update(image_id=str(each["image_id"])) for each in content["annotations"]],
        lambda content: [each.update(id=f"{each['id']}") for each in content["images"]],
        lambda content: [each.update(id=float(each["id"])) for each in content["annotations"]],
    ],
    ids=["no ids", "UUIDs", "texts for numbers", "numbers for texts", "fractions that are whole"],
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_the_data_modules_read_what_is_written_of_the_same_files(tmp_path, spoil, encoding):
    content = coco()
    spoil(content)
    source = tmp_path / "in.json"
    source.write_text(json.dumps(content), encoding=encoding)
    assert run(source, tmp_path / "out.json", "--split", "3", "--percent", "50") == 0
    sparse, full = (read_arrays(tmp_path / name) for name in ("out.json", "in.json"))
    found, gone = with_removed(sparse, full)
    record = json.loads((tmp_path / "out.removed.json").read_text())["removed"]
    assert 10 < len(record) < 50
    assert sorted(found.ids[gone].tolist()) == record
    drawn = DrawnSplit("3", 50, None, seed=0).removed(full)
    assert sorted(full.ids[drawn].tolist()) == record
